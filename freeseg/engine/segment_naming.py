"""Runs `freeseg.evaluation.segment_naming` on a test set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from detectron2.config import CfgNode
from detectron2.data.transforms import NoOpTransform
from freeseg.catalog import listed_vocabulary
from freeseg.data import evenly_spread
from freeseg.data.annotation_files import read_annotation
from freeseg.data.datasets.catalog import ignore_label_of
from freeseg.data.photos import PhotoReader
from freeseg.data.records import dataset_records
from freeseg.evaluation.segment_naming import measure_naming
from freeseg.systems.freeseg.config import crop_arguments
from freeseg.systems.freeseg.crops import MaskCrops
from freeseg.systems.freeseg.text_side import build_clip_adapter


def run_naming(cfg: CfgNode, limit: int = 0) -> dict[str, dict[str, float]]:
    """Percentages on the first of DATASETS.TEST, see `measure_naming`.

    Args:
        cfg: Of `FreeSeg`, with MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT or templates.
        limit: Photos, evenly spread over the set; 0: all.

    Raises:
        ValueError: There are no trained prompts or no classes.
    """
    node = cfg.MODEL.CLIP_ADAPTER
    if node.PROMPT_LEARNER == "learnable" and not node.PROMPT_CHECKPOINT:
        raise ValueError("the prompts are not trained: name MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT")
    if not cfg.DATASETS.TEST:
        raise ValueError("DATASETS.TEST names no set of annotated photos")
    name = cfg.DATASETS.TEST[0]
    vocabulary = listed_vocabulary(name)
    adapter = build_clip_adapter(cfg, has_void=False).to(cfg.MODEL.DEVICE).eval()
    crops = MaskCrops(**crop_arguments(cfg))
    with torch.no_grad():
        return measure_naming(adapter, crops, _photos(cfg, name, limit), vocabulary)


def _photos(cfg: CfgNode, name: str, limit: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    reader, device = PhotoReader.from_config(cfg), cfg.MODEL.DEVICE
    ignore_label = ignore_label_of(name)
    for record in evenly_spread(dataset_records(name), limit):
        image = np.ascontiguousarray(reader.read(record).transpose(2, 0, 1))
        annotation, tasks = read_annotation(record, image.shape[1:], ignore_label)
        segments = annotation.apply(NoOpTransform(), image.shape[1:])
        classes, masks = segments.targets("panoptic" if "panoptic" in tasks else tasks[0])
        yield tuple(torch.from_numpy(each).to(device) for each in (image, masks, classes))  # type: ignore[misc]
