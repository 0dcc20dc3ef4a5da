"""What predictions are compared with: a dataset's records in the class numbers of the model.

All ground truth is made of the records that training reads, by the same readers; the files of
annotation are not read a second time.

Shapes: K classes of the model, H W image size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import Metadata
from detectron2.utils import comm
from freeseg.catalog import dataset_metadata, listed_vocabulary
from freeseg.class_matching import with_dataset_ids
from freeseg.classes import fixed_vocabulary
from freeseg.data.categories import Category, palette
from freeseg.data.categories import metadata as categories_metadata
from freeseg.data.coco_writer import write_json
from freeseg.data.datasets.catalog import IGNORE_LABEL, Records, ignore_label_of
from freeseg.data.datasets.instances import load_instances
from freeseg.data.problems import Problems
from freeseg.data.records import dataset_records, match_or_refuse, renumbered
from freeseg.structures import Vocabulary

UNKNOWN_REMEDY = "rename or remove them, or leave them out by DATASETS.IGNORE_UNKNOWN True"


@dataclass(frozen=True, eq=False)
class Truth:
    """A dataset to evaluate on.

    Attributes:
        name: Of the dataset.
        records: In the model's class numbers.
        vocabulary: The model's K classes. `dataset_ids` are the dataset's, None for a class that it
            does not list: nothing can be said about such a class here.
        ignore_label: Void in the class maps that are read from the records.
        is_renumbered: Whether the model's numbers are others than the dataset's.
    """

    name: str
    records: Records
    vocabulary: Vocabulary
    ignore_label: int
    is_renumbered: bool = False

    @classmethod
    def of(cls, cfg: CfgNode, name: str) -> Truth:
        """The truth for the configured model.

        Raises:
            ValueError: The dataset has classes that the model does not know, and
                DATASETS.IGNORE_UNKNOWN is off; or it names none.
            DataError: Something is wrong with its annotation.
        """
        records = dataset_records(name, merge_twins=cfg.DATASETS.MERGE_TWINS)
        listed = listed_vocabulary(name)
        void = ignore_label_of(name)
        known = fixed_vocabulary(cfg)
        if known is None or known.names == listed.names:
            return cls(name, records, listed, void)
        ignores = cfg.DATASETS.IGNORE_UNKNOWN
        match = match_or_refuse(name, listed, known, UNKNOWN_REMEDY, ignores_unknown=ignores)
        new_void = max(IGNORE_LABEL, len(known))
        vocabulary = with_dataset_ids(known, listed, match)
        if match.is_identity:
            return cls(name, records, vocabulary, void)
        moved = renumbered(records, match.labels, void, new_void)
        return cls(name, moved, vocabulary, new_void, is_renumbered=True)

    @property
    def is_listed(self) -> tuple[bool, ...]:
        """For every class of the model whether the dataset has it."""
        ids = self.vocabulary.dataset_ids
        return tuple(ids is None or each is not None for each in ids or [0] * len(self.vocabulary))

    @property
    def things(self) -> list[int]:
        """Class numbers of the things that the dataset lists; without one there is no AP."""
        flags = enumerate(zip(self.vocabulary.is_thing, self.is_listed))
        return [label for label, (is_thing, is_listed) in flags if is_thing and is_listed]

    @property
    def category_ids(self) -> tuple[int | None, ...]:
        """The dataset's id of every class; the class number where the dataset has no ids."""
        return self.vocabulary.dataset_ids or tuple(range(len(self.vocabulary)))

    def metadata(self) -> Metadata:
        """Names and colours of the classes that records and predictions have, for drawing."""
        if not self.is_renumbered:
            return dataset_metadata(self.name)
        colors = palette(len(self.vocabulary))
        known = zip(self.vocabulary.names, self.vocabulary.is_thing, colors)
        categories = [Category(label, *values) for label, values in enumerate(known)]
        values = {"ignore_label": self.ignore_label, **categories_metadata(categories)}
        return Metadata(name=f"{self.name}/drawn").set(**values)

    def thing_records(self) -> Records | None:
        """Records of the dataset's own instance annotation, None where it has none.

        A panoptic dataset may have a JSON of instances beside its PNGs, as COCO's.
        """
        if self.records and "annotations" in self.records[0]:
            return self.records
        metadata = dataset_metadata(self.name)
        source = metadata.get("json_file")
        if not source or not Path(source).is_file():
            return None
        labels, things = [], []
        for label, (category, name) in enumerate(zip(self.category_ids, self.vocabulary.names)):
            if category is not None and self.vocabulary.is_thing[label]:
                labels.append(label)
                things.append(Category(category, name, is_thing=True, color=(0, 0, 0)))
        root = Path(metadata.get("image_root") or ".")
        problems = Problems()
        records = load_instances(
            Path(source), root, things, "see 'Datasets' in the documentation", problems
        )
        problems.raise_errors()
        return renumbered(records, labels, self.ignore_label, self.ignore_label)


def write_truth(path: Path, content: Callable[[], dict[str, Any]]) -> str:
    """Writes ground truth in COCO's form, in the main process alone; returns the path."""
    if comm.is_main_process():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content())
    comm.synchronize()
    return str(path)
