"""Small pictures, annotated or not, and configurations of three classes for tests of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.structures import BitMasks, Instances
from freeseg import add_freeseg_config
from freeseg.structures import MaskPrediction, SegmentationTarget

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DATASET = "test_of_three_classes"
SIZE = (48, 64)


def three_classes(config: str) -> CfgNode:
    """A configuration for a dataset of two things and one stuff."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / config))
    MetadataCatalog.get(DATASET).set(
        stuff_classes=["cat", "dog", "sky"], thing_dataset_id_to_contiguous_id={1: 0, 2: 1}
    )
    cfg.DATASETS.TRAIN = (DATASET,)
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    return cfg


def picture(height: int = SIZE[0], width: int = SIZE[1], seed: int = 0) -> dict[str, Any]:
    """A model's input: noise."""
    generator = torch.Generator().manual_seed(seed)
    return {"image": torch.randint(0, 256, (3, height, width), generator=generator).byte()}


def annotated(labels: list[int], seed: int = 0, **more: Any) -> dict[str, Any]:
    """A model's input for training: noise, cut into a horizontal stripe per label."""
    instances = Instances(SIZE)
    instances.gt_classes = torch.tensor(labels, dtype=torch.int64)
    rows = torch.arange(SIZE[0])[None, :, None] // max(SIZE[0] // max(len(labels), 1), 1)
    masks = (rows == torch.arange(len(labels))[:, None, None]).expand(-1, -1, SIZE[1])
    instances.gt_masks = BitMasks(masks.reshape(len(labels), *SIZE))
    return {**picture(seed=seed), "instances": instances, **more}


def constant_batch(
    num_targets: Sequence[int], num_queries: int, num_layers: int, seed: int = 1
) -> tuple[list[MaskPrediction], list[SegmentationTarget]]:
    """Predictions of layers and targets of images, constant over each picture."""
    generator = torch.Generator().manual_seed(seed)
    size = (len(num_targets), num_queries)
    layers = [
        MaskPrediction(
            torch.randn(*size, 4, generator=generator),
            torch.randn(*size, 1, 1, generator=generator).expand(*size, 6, 8),
        )
        for _ in range(num_layers)
    ]
    targets = [
        SegmentationTarget(
            torch.randint(0, 3, (number,), generator=generator),
            (torch.rand(number, 1, 1, generator=generator) > 0.5).expand(number, 24, 32),
        )
        for number in num_targets
    ]
    return layers, targets
