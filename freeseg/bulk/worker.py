"""Segments pieces of the input one after the other, each into its part."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from freeseg.bulk.manifest import Manifest
from freeseg.bulk.parts import PartWriter, part_path
from freeseg.bulk.photos import Photo, photos_of
from freeseg.bulk.records import AllFound, Records
from freeseg.composition import pretrained
from freeseg.images import ImageError
from freeseg.segmenter import Segmenter


@dataclass(frozen=True)
class ModelSettings:
    """What to segment with; small, because it is sent to every process.

    Attributes:
        model: As `Segmenter.from_pretrained` takes it; None where there is a configuration.
        config: File or folder, as `Segmenter.from_config` takes it.
        weights: Checkpoint; None for the model's or the configuration's.
        device: None for the configuration's.
        opts: Overrides KEY VALUE of the configuration.
        task: "panoptic", "instance", "semantic" or "all".
        classes: Of open-vocabulary models; None for the model's own.
        modules: Imported first: they register what the configuration names.
        records: What is kept of a result.
    """

    model: str | None = None
    config: str = ""
    weights: str | None = None
    device: str | None = None
    opts: tuple[str, ...] = ()
    task: str = "panoptic"
    classes: str | None = None
    modules: tuple[str, ...] = ()
    records: Records = field(default_factory=AllFound)

    def build(self) -> Segmenter:
        """Loads the model."""
        for name in self.modules:
            importlib.import_module(name)
        if self.model is None:
            return Segmenter.from_config(self.config, self.weights, self.device, self.opts)
        own = () if self.weights is None else ("MODEL.WEIGHTS", self.weights)
        return pretrained(self.model, self.device, (*self.opts, *own))


class Worker:
    """A model, and where the input and the parts are."""

    def __init__(self, model: ModelSettings, out: str, form: str) -> None:
        self._segmenter = model.build()
        if model.classes is not None:
            self._segmenter.vocabulary = model.classes
        self._records = model.records
        self._task = self._records.begin(self._segmenter) or model.task
        self._out = Path(out)
        self._form = form

    def run(self, chunk: int) -> int:
        """Writes a part and returns the number of its records: one for every photo."""
        writer = PartWriter(part_path(self._out / "parts", chunk, self._form))
        count = 0
        try:
            for count, photo in enumerate(photos_of(Manifest(self._out).read(chunk)), start=1):
                self._add(writer, f"{chunk:08d}-{count:06d}", photo)
        except BaseException:
            writer.abandon()
            raise
        writer.close()
        return count

    def _add(self, writer: PartWriter, key: str, photo: Photo) -> None:
        record: dict[str, object] = {"photo": photo.name, "error": photo.error}
        if photo.content is not None:
            try:
                result = self._segmenter(photo.source, self._task)
                record = {"photo": photo.name, **self._records.record_of(result, key, photo.name)}
                if self._form == "webdataset":
                    record["bytes"] = photo.read()
            except (ImageError, MemoryError, OSError) as error:
                reason = getattr(error, "reason", None) or str(error) or type(error).__name__
                record = {"photo": photo.name, "error": f"{photo.name}: {reason}"}
        writer.write(key, record)


def settings_text(model: ModelSettings, form: str, sources: Sequence[str]) -> str:
    """Everything that decides what the output is, to compare with an earlier run's."""
    own = {name: value for name, value in vars(model).items() if name != "records"}
    content = {"model": own, "format": form, "sources": list(sources), **model.records.settings()}
    return json.dumps(content, indent=1, sort_keys=True) + "\n"
