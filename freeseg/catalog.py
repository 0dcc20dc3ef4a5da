"""Datasets by name: a catalogue of this package's own beside Detectron2's.

Detectron2's catalogues are shared by all that is imported, and other projects register the names of
releases with metadata of their own. So ours are kept here, and those names stay out of Detectron2's
catalogues until `take_dataset_names`. Whoever has registered a name keeps it, here too, but for the
few that come with Detectron2: those mean ours here, whose records and class lists have one form for
all datasets, and stay what they are there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog
from freeseg.structures import Vocabulary

Loader = Callable[[], list[dict[str, Any]]]
Classes = Callable[[], Mapping[str, Any]]

# of Detectron2's own, those that are here too
BUILTIN = (
    *("coco_2017_train", "coco_2017_val", "coco_2017_train_panoptic", "coco_2017_val_panoptic"),
    *("ade20k_sem_seg_train", "ade20k_sem_seg_val", "lvis_v1_train", "lvis_v1_val"),
    *(
        f"cityscapes_fine_{kind}_{split}"
        for kind in ("panoptic", "sem_seg", "instance_seg")
        for split in ("train", "val")
    ),
)


@dataclass(frozen=True)
class Entry:
    """A dataset of ours.

    Attributes:
        load: Makes its records.
        metadata: What is known of it.
        is_of_releases: Whether other projects have the name too, see `held_back`.
        classes: Makes the rest of the metadata, where a file says it; None: there is no rest.
    """

    load: Loader
    metadata: Metadata
    is_of_releases: bool
    classes: Classes | None = None


_own: dict[str, Entry] = {}
_are_held_back: ContextVar[bool] = ContextVar("are_held_back", default=False)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Datasets that are kept inside have names of releases: they are not published at once."""
    token = _are_held_back.set(True)
    try:
        yield
    finally:
        _are_held_back.reset(token)


def keep(
    name: str, load: Loader, values: Mapping[str, Any], classes: Classes | None = None
) -> None:
    """Takes a dataset, in the place of an earlier one of ours of that name, wherever that is.

    It is published at once where its name is free and not `held_back`.

    Args:
        name: Of the dataset.
        load: Makes its records.
        values: Metadata, as Detectron2 has it.
        classes: Makes the rest of it, "thing_classes" among them, when it is first asked for.
    """
    was_published = _is_published(name)
    if was_published:
        DatasetCatalog.remove(name)
    is_of_releases = _are_held_back.get() or name in _names_of_releases()
    _own[name] = Entry(load, Metadata(name=name).set(**values), is_of_releases, classes)
    if (was_published or not is_of_releases) and name not in DatasetCatalog.list():
        _register(name)


def amend(name: str, values: Mapping[str, Any]) -> None:
    """Adds metadata to a dataset of ours."""
    entry = _own[name]
    keep(name, entry.load, {**_values_of(entry.metadata), **values}, entry.classes)


def kept(name: str) -> Entry:
    """The dataset of ours of a name, whoever else has one.

    Raises:
        KeyError: There is none.
    """
    return _own[name]


def take_dataset_names() -> Iterator[tuple[str, str]]:
    """Puts our datasets under the names of releases, where these are free.

    Yields:
        Each name that is taken, and the module that has it.
    """
    for name in _names_of_releases():
        if _is_published(name):
            continue
        if name in DatasetCatalog.list():
            yield name, _holder_of(name)
        elif name in MetadataCatalog.list() and _values_of(MetadataCatalog.get(name)):
            yield name, _UNKNOWN
        else:
            _register(name)


_UNKNOWN = "another project"


def own_entry(name: str) -> Entry | None:
    """The dataset of ours that a name means, None where it is another's or nobody's."""
    entry = _own.get(name)
    if entry is None or _is_published(name):
        return entry
    if name in DatasetCatalog.list():
        is_detectron2s = name in BUILTIN and _holder_of(name).startswith("detectron2.")
        return entry if is_detectron2s else None
    return entry if entry.is_of_releases else None  # others were removed there


def dataset_metadata(name: str) -> Metadata:
    """What is known of a dataset: ours while it is only here, else what Detectron2's catalogue has.

    Once a dataset is published, whoever changes its metadata there is heard. Where a file names the
    classes of one of ours, it is read at the first question.
    """
    entry = own_entry(name)
    if entry is None:
        return MetadataCatalog.get(name)
    metadata = MetadataCatalog.get(name) if _is_published(name) else entry.metadata
    if entry.classes is not None and metadata.get("thing_classes") is None:
        metadata.set(**entry.classes())
    return metadata


def dataset_vocabulary(name: str) -> Vocabulary | None:
    """The classes that a dataset names, in the order of its class numbers; None: it names none."""
    return Vocabulary.of_dataset(dataset_metadata(name))


def listed_vocabulary(name: str) -> Vocabulary:
    """The classes that a dataset names.

    Raises:
        ValueError: It names none.
    """
    listed = dataset_vocabulary(name)
    if listed is None:
        raise ValueError(
            f"dataset {name} names no classes: its metadata needs thing_classes or stuff_classes"
        )
    return listed


def dataset_names() -> list[str]:
    """All names that a dataset is registered under, here or there."""
    return sorted({*DatasetCatalog.list(), *_names_of_releases()})


def _names_of_releases() -> list[str]:
    return [name for name, entry in _own.items() if entry.is_of_releases]


def _holder_of(name: str) -> str:
    """The module of what loads a dataset in Detectron2's catalogue."""
    load = DatasetCatalog[name]
    return str(getattr(getattr(load, "func", load), "__module__", _UNKNOWN))  # of a partial, too


def _is_published(name: str) -> bool:
    if name not in _own or name not in DatasetCatalog.list():
        return False
    return DatasetCatalog[name] is _own[name].load


def _register(name: str) -> None:
    entry = _own[name]
    DatasetCatalog.register(name, entry.load)
    replace_metadata(name, _values_of(entry.metadata))


def replace_metadata(name: str, values: Mapping[str, Any]) -> None:
    """Gives a name of ours these values in Detectron2's catalogue, and none that it had before."""
    if name in MetadataCatalog.list():
        MetadataCatalog.remove(name)
    MetadataCatalog.get(name).set(**values)


def _values_of(metadata: Metadata) -> dict[str, Any]:
    return {key: value for key, value in metadata.as_dict().items() if key != "name"}
