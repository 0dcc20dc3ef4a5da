"""Prediction pictures during training: ground truth beside prediction, for the same few images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detectron2.data import Metadata
from detectron2.engine import HookBase
from detectron2.evaluation import inference_context
from detectron2.utils.visualizer import ColorMode, Visualizer
from freeseg.data.annotation_files import drawable_record
from freeseg.data.photos import PhotoReader, unique_stems
from freeseg.evaluation.truth import Truth
from freeseg.files import write_bytes
from freeseg.images import RgbImage
from freeseg.visualization.export import png_bytes


class PredictionPictures(HookBase):
    """Writes ``iter_NNNNNNN_NAME.png`` into a folder and to TensorBoard every `period` iterations.

    Register it on the main process only; it runs the bare model there and talks to nobody.

    Args:
        read_truth: what predictions are compared with; its first images are drawn.
        build_loader: makes the test loader of the same dataset.
        num_images: pictures per round.
        folder: where the PNG files go; made when needed.
        reader: reads the photos; None: as INPUT's defaults say.
    """

    def __init__(
        self,
        *,
        read_truth: Callable[[], Truth],
        build_loader: Callable[[], Iterable[Sequence[Mapping[str, Any]]]],
        period: int,
        num_images: int,
        folder: Path,
        reader: PhotoReader | None = None,
    ) -> None:
        self._read_truth = read_truth
        self._build_loader = build_loader
        self._period = period
        self._num_images = num_images
        self._folder = folder
        self._reader = reader or PhotoReader()
        self._inputs: list[Mapping[str, Any]] = []

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self._period == 0 or done == self.trainer.max_iter:
            self._draw_all()

    def _draw_all(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        truth = self._read_truth()
        truths, metadata = self._annotations(truth), truth.metadata()
        model = getattr(self.trainer.model, "module", self.trainer.model)
        with inference_context(model), torch.no_grad():
            shown = [truths[_identity(inputs)] for inputs in self._first_inputs()]
            stems = unique_stems([Path(record["file_name"]) for record in shown])
            for inputs, record, stem in zip(self._first_inputs(), shown, stems):
                photo = self._reader.read(record)
                record = drawable_record(record, truth.ignore_label)
                picture = truth_beside_prediction(photo, record, model([inputs])[0], metadata)
                name = f"iter_{self.trainer.iter:07d}_{stem}.png"
                write_bytes(self._folder / name, png_bytes(picture))
                self.trainer.storage.put_image(f"prediction/{stem}", picture.transpose(2, 0, 1))

    def _first_inputs(self) -> list[Mapping[str, Any]]:
        if not self._inputs:
            images = itertools.chain.from_iterable(self._build_loader())
            self._inputs = list(itertools.islice(images, self._num_images))
        return self._inputs

    def _annotations(self, truth: Truth) -> dict[Any, Mapping[str, Any]]:
        wanted = {_identity(inputs) for inputs in self._first_inputs()}
        found = ((_identity(record), record) for record in truth.records)
        return {identity: record for identity, record in found if identity in wanted}


def _identity(record: Mapping[str, Any]) -> Any:
    return record.get("image_id", record["file_name"])


def truth_beside_prediction(
    image: RgbImage, record: Mapping[str, Any], prediction: Mapping[str, Any], metadata: Metadata
) -> np.ndarray:
    """Draws a dataset record's annotation (left) and a model's prediction (right).

    Args:
        image: the photo in the frame of its annotation.
        record: Detectron2 dataset dictionary of the image.
        prediction: the model's output for it, at the image's size.
        metadata: of the dataset; names and colours.

    Returns:
        uint8 RGB picture [H, 2W, 3].
    """
    truth = Visualizer(image, metadata).draw_dataset_dict(dict(record))
    drawn = _draw_prediction(Visualizer(image, metadata, instance_mode=ColorMode.IMAGE), prediction)
    return np.concatenate([truth.get_image(), drawn.get_image()], axis=1)


def _draw_prediction(canvas: Visualizer, prediction: Mapping[str, Any]) -> Any:
    """Draws the richest of the results that the model gave."""
    if "panoptic_seg" in prediction:
        panoptic, segments = prediction["panoptic_seg"]
        return canvas.draw_panoptic_seg(panoptic.cpu(), segments)
    if "instances" in prediction:
        return canvas.draw_instance_predictions(prediction["instances"].to("cpu"))
    return canvas.draw_sem_seg(prediction["sem_seg"].argmax(dim=0).cpu())
