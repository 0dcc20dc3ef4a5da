"""A job that labels any number of photos, on the engines of `freeseg.bulk`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freeseg.bulk import BulkJob, BulkReport, BulkSettings
from freeseg.bulk.manifest import find_names, is_shard
from freeseg.bulk.worker import ModelSettings
from freeseg.checkpoints import weights_file
from freeseg.composition import parts_of
from freeseg.images import IMAGE_SUFFIXES
from freeseg.labelling.dataset import Dataset
from freeseg.labelling.records import LabelRecords
from freeseg.labelling.review import write_pages
from freeseg.systems.building import read_config
from freeseg.zoo import find_configured, weights_path
from freeseg.zoo.download import digest_of


@dataclass(frozen=True)
class Labelled:
    """What a job has made.

    Attributes:
        report: Of the photos.
        image_root: Folder in which the annotation files name their photos.
        files: The annotation files.
        pages: To review them.
        unknown: What was to be left out and is no photo of the data set.
    """

    report: BulkReport
    image_root: Path
    files: list[Path]
    pages: list[Path]
    unknown: list[str]


class LabelJob:
    """Photos of some sources, a model, and a folder for the data set.

    The folder gets COCO's ``annotations_instances.json`` and, if wanted,
    ``annotations_panoptic.json`` with its PNGs; ``review.html`` with its thumbnails; and ``job/``,
    by which a job that was killed goes on. The annotation files are written when all photos were
    looked at.
    """

    def __init__(
        self,
        sources: Sequence[str],
        model: ModelSettings,
        dataset: Path,
        *,
        min_score: float,
        panoptic: bool = False,
        settings: BulkSettings | None = None,
    ) -> None:
        """Looks which photos there are, and reads none.

        Args:
            sources: Photos, folders with those below, .txt lists.
            model: To label with.
            dataset: Folder to write into.
            min_score: Of the instances that are kept.
            panoptic: Whether panoptic segments are written too; a model that answers instances
                alone has them made of its masks.
            settings: How to run.

        Raises:
            ValueError: The sources hold tar shards, each other or the folder to write into.
        """
        _check_apart(sources)
        self._image_root = _image_root(sources)
        self._dataset = dataset
        target = Path(os.path.abspath(dataset))
        for path in (Path(os.path.abspath(source)) for source in sources):
            holds_photo = path.suffix.lower() in IMAGE_SUFFIXES and target == path.parent
            if target.is_relative_to(path) or holds_photo:
                raise ValueError(
                    f"{dataset} is no folder of its own beside {path}: its thumbnails would be "
                    "photos to label the next time; name another folder"
                )
        records = LabelRecords(dataset, self._image_root, min_score, panoptic)
        model = dataclasses.replace(model, records=records)
        self._job = BulkJob(sources, model, dataset / "job", "jsonl", settings)
        self._panoptic = panoptic

    def run(self, left_out: Collection[str] = ()) -> Labelled:
        """Labels the photos that have no labels yet, and writes all files.

        Args:
            left_out: Photos, as the data set names them, that the annotation files are without.

        Raises:
            ValueError: The folder holds a job of other settings, or another job runs in it.
        """
        report = self._job.run()
        dataset = Dataset(self._dataset, self._job.parts(), frozenset(left_out))
        unknown = sorted(dataset.unknown())
        model = self._job.model
        provenance = {
            **{"model": model.model or model.config, "classes": model.classes},
            **{"overrides": list(model.opts), **model.records.settings()},
            **{"weights": list(_weights(model)), "image_root": str(self._image_root)},
            "left_out": len(left_out) - len(unknown),
        }
        files = dataset.write(provenance, panoptic=self._panoptic)
        pages = write_pages(dataset, report.photos - report.failed)
        return Labelled(report, self._image_root, files, pages, unknown)


def _weights(model: ModelSettings) -> Iterator[dict[str, Any]]:
    """Which weights made the labels: of two models that are composed those of each."""
    own = () if model.weights is None else ("MODEL.WEIGHTS", model.weights)
    if model.model is None:
        configured: Iterable[Any] = [(model.config, [*model.opts, *own])]
    elif len(parts_of(model.model)) > 1:
        configured = [_configured(part, ()) for part in parts_of(model.model)]
    else:
        configured = [_configured(model.model, (*model.opts, *own))]
    for config, opts in configured:
        path = Path(weights_file(weights_path(read_config(config, None, None, opts).MODEL.WEIGHTS)))
        yield {"file": path.name, "sha256": digest_of(path, "sha256")}


def _configured(name: str, opts: Sequence[str]) -> tuple[Any, list[str]]:
    found, overrides = find_configured(name, opts)
    return found.config, overrides


def _image_root(sources: Sequence[str]) -> Path:
    """The folder that holds all photos of the sources: a folder is itself.

    Raises:
        ValueError: There are tar shards, which training does not read.
    """
    root = ""
    for source in sources:
        is_folder = Path(source).is_dir()
        for name in find_names([source]):
            if is_shard(name):
                raise ValueError(f"{name}: a data set names files of photos, unpack the shard")
            if not is_folder:
                root = _common(root, os.path.dirname(os.path.abspath(name)))
        if is_folder:
            root = _common(root, os.path.abspath(source))
    return Path(root or os.sep)


def _check_apart(sources: Sequence[str]) -> None:
    """Refuses a source that lies in another one.

    Raises:
        ValueError: There is one.
    """
    seen: set[Path] = set()
    for path in sorted(Path(os.path.abspath(source)) for source in sources):  # folders first
        if not seen.isdisjoint((path, *path.parents)):
            raise ValueError(
                f"{path} is named twice, or lies in another source: a photo would be in the data "
                "set twice"
            )
        seen.add(path)


def _common(root: str, folder: str) -> str:
    return os.path.commonpath([root, folder]) if root else folder
