"""Classes of a model in Hugging Face's folder layout: names, which are things, and who says so.

What says most about this very model goes first: classes.json beside config.json, as `freeseg
convert` writes it; then the dataset whose names they are; then the image processor's metadata.
Where nothing does, all classes are things, as for the port's post-processing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freeseg.catalog import dataset_vocabulary, replace_metadata
from freeseg.checkpoints.hugging_face_processor import ProcessorSettings
from freeseg.checkpoints.json_object import read_json_object
from freeseg.structures import CLASSES_FILE, read_class_rows

# Datasets by their number of classes, as (train, test): the ports keep no more than names.
_DATASETS = {
    8: ("cityscapes_fine_instance_seg_train", "cityscapes_fine_instance_seg_val"),
    19: ("cityscapes_fine_panoptic_train", "cityscapes_fine_panoptic_val"),
    65: ("mapillary_vistas_panoptic_train", "mapillary_vistas_panoptic_val"),
    80: ("coco_2017_train", "coco_2017_val"),
    100: ("ade20k_instance_train", "ade20k_instance_val"),
    133: ("coco_2017_train_panoptic", "coco_2017_val_panoptic"),
    150: ("ade20k_panoptic_train", "ade20k_panoptic_val"),
}
# of a class list are enough: the ports call some classes by another of their words
_MIN_SAME_NAMES = 0.5
OWN_CLASSES = "classes of "  # how the name begins under which classes of a model's own are known
_NUMBERED = "LABEL_"  # transformers' names for labels that nobody named
_NUM_LABELS = 2  # of a configuration that says nothing, as in transformers


@dataclass(frozen=True)
class Labels:
    """The classes of a model.

    Attributes:
        names: Of every class.
        things: Labels of those that are things.
        ids: The owner's id of every class.
        datasets: (train, test) that has these classes; None where they are the model's own.
        names_from: Where the names are from.
        things_from: Where it says which are things; empty where nothing does.
    """

    names: tuple[str, ...]
    things: frozenset[int]
    ids: tuple[int, ...]
    names_from: str
    things_from: str
    datasets: tuple[str, str] | None = None

    def register(self, name: str) -> tuple[str, str]:
        """Returns the datasets that have the classes: a known one's, else all under `name`."""
        if self.datasets is not None:
            return self.datasets
        ids = {self.ids[label]: label for label in range(len(self.names))}
        values = {
            "stuff_classes": list(self.names),
            "thing_classes": list(self.names),
            "stuff_dataset_id_to_contiguous_id": ids,
            "thing_dataset_id_to_contiguous_id": {
                id_: label for id_, label in ids.items() if label in self.things
            },
        }
        replace_metadata(name, values)
        return name, name

    def doubts(self) -> str:
        """What a user should know of the classes, on one line; empty where all is said."""
        doubts = []
        if self.names and all(name.startswith(_NUMBERED) for name in self.names):
            doubts.append(f"does not name its {len(self.names)} classes")
        if not self.things_from:
            doubts.append("does not say which classes are things: all are taken for things")
        return " and ".join(doubts)


def read_labels(folder: Path, port: Mapping[str, Any], processor: ProcessorSettings) -> Labels:
    """Reads the classes of a folder.

    Raises:
        ValueError: A file has too few or too many, or contradicts itself.
    """
    own = folder / CLASSES_FILE
    if own.is_file():
        return _from_rows(own, _count(port))
    names = _names(folder / "config.json", port)
    everything, ids = frozenset(range(len(names))), tuple(range(len(names)))
    found = _thing_metadata(folder, processor)
    if found is not None:
        things, source = found
        if not things <= everything:
            wrong = _listed(things - everything)
            raise ValueError(f"{source} has things {wrong}, there are {len(names)} classes")
        known = _dataset_of(names, things)
        return known or Labels(names, things, ids, "config.json", source)
    return _dataset_of(names) or Labels(names, everything, ids, "config.json", "")


def _dataset_of(names: tuple[str, ...], things: frozenset[int] | None = None) -> Labels | None:
    """The dataset with these names, and with these things where they are known."""
    datasets = _DATASETS.get(len(names))
    if datasets is None:
        return None
    vocabulary = dataset_vocabulary(datasets[1])
    if vocabulary is None or not _are_alike(names, vocabulary.names):
        return None
    own = frozenset(label for label, is_thing in enumerate(vocabulary.is_thing) if is_thing)
    if things is not None and things != own:
        return None
    ids = tuple(range(len(names)))  # the dataset has its own
    source = f"config.json, the dataset {datasets[1]}"
    return Labels(vocabulary.names, own, ids, source, f"the dataset {datasets[1]}", datasets)


def _are_alike(names: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether most names are the others at the same places, up to synonyms."""
    same = [_first_word(a) == _first_word(b) for a, b in zip(names, others)]
    return sum(same) >= _MIN_SAME_NAMES * len(names)


def _first_word(name: str) -> str:
    """A name without its synonyms: "road, route" -> "road"."""
    return name.split(",")[0].strip().lower()


def _count(port: Mapping[str, Any]) -> int:
    return int(port.get("num_labels") or len(port.get("id2label") or ()) or _NUM_LABELS)


def _names(file: Path, port: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of id2label, which must be those of the classes from 0 on."""
    count = _count(port)
    by_label = port.get("id2label") or {str(label): f"{_NUMBERED}{label}" for label in range(count)}
    wanted = {str(label) for label in range(count)}
    if not isinstance(by_label, dict) or set(by_label) != wanted:
        has = set(by_label) if isinstance(by_label, dict) else set()
        missing, more = _listed(wanted - has), _listed(has - wanted)
        parts = [f"no name for {missing}"] if missing else []
        parts += [f"names for {more}"] if more else []
        raise ValueError(
            f"{file}: id2label has {' and '.join(parts)}, wanted one for each label from 0 to "
            f"{count - 1}; mend it, or name all classes in {CLASSES_FILE} beside it"
        )
    return tuple(str(by_label[str(label)]) for label in range(count))


def _thing_metadata(
    folder: Path, processor: ProcessorSettings
) -> tuple[frozenset[int], str] | None:
    """Things by the metadata of OneFormer's processor, or by the file that it names, and which."""
    metadata = processor.values.get("metadata")
    if isinstance(metadata, dict) and "thing_ids" in metadata:
        things, source = metadata["thing_ids"], f"metadata of {processor.source}"
        if isinstance(things, list) and all(isinstance(label, int) for label in things):
            return frozenset(things), source
        raise ValueError(f"{source}: thing_ids is a list of labels, got {things!r}")
    name = processor.values.get("class_info_file")
    if not name or not (folder / name).is_file():  # others lie on the hub
        return None
    rows = read_json_object(folder / name)
    if not all(label.isdigit() and isinstance(row, dict) for label, row in rows.items()):
        raise ValueError(f'{folder / name} holds no rows "0": {{"isthing": 1, "name": ...}}')
    return frozenset(int(label) for label, row in rows.items() if row.get("isthing")), name


def _from_rows(file: Path, count: int) -> Labels:
    """The classes of a file as `freeseg convert` writes it."""
    classes = read_class_rows(file)
    if len(classes) != count:
        raise ValueError(f"{file} names {len(classes)} classes, config.json has {count}")
    things = frozenset(label for label, is_thing in enumerate(classes.is_thing) if is_thing)
    ids = tuple(int(each or 0) for each in classes.dataset_ids or ())  # never None in a file
    return Labels(classes.names, things, ids, CLASSES_FILE, CLASSES_FILE)


def _listed(labels: Iterable[object], most: int = 5) -> str:
    """Up to `most` labels as text, in order."""
    texts = sorted(map(str, labels), key=lambda text: (len(text), text))
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest
