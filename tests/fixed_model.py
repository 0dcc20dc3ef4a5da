"""A model without learning for tests: every pixel belongs to its strongest colour channel."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances

NAMES = ("green field", "red ball", "blue sky")  # contiguous order, one thing between stuff
CATEGORY_IDS = (70, 5, 90)
CHANNEL = (1, 0, 2)  # of RGB, by class
RED_SCORE, BLUE_SCORE = 0.875, 0.25  # exact in float32
DATASET = "fixed_colors_val"


@META_ARCH_REGISTRY.register()
class StrongestChannel(nn.Module):
    """Keeps Detectron2's contract; the weight `gain` multiplies the class scores."""

    def __init__(self, cfg) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.is_bgr = cfg.INPUT.FORMAT == "BGR"

    def forward(self, inputs):
        assert not self.training
        return [self._segment(**one) for one in inputs]

    def _segment(self, image, height, width, tasks, **_):
        assert image.dtype == torch.uint8
        rgb = (image.flip(0) if self.is_bgr else image).float()
        scores = rgb[list(CHANNEL)] * self.gain[:, None, None]
        scores = F.interpolate(scores[None], (height, width), mode="bilinear")[0]
        labels = scores.argmax(0)
        output = {}
        if "semantic" in tasks:
            output["sem_seg"] = scores
        if "panoptic" in tasks:
            ids = (labels + 300).to(torch.int32)  # beyond one byte
            output["panoptic_seg"] = (ids, [_info(ids, label) for label in labels.unique()])
        if "instance" in tasks:
            masks = torch.stack([labels == 1, labels == 2])
            output["instances"] = Instances(
                (height, width),
                pred_masks=masks,
                pred_boxes=Boxes(torch.tensor([[0.0, 0.0, width, height]] * 2)),
                scores=torch.tensor([RED_SCORE, BLUE_SCORE]),
                pred_classes=torch.tensor([1, 1]),
            )
        return output


@META_ARCH_REGISTRY.register()
class EchoedVocabulary(StrongestChannel):
    """Remembers the class list it was asked for."""

    takes_classes = True

    def forward(self, inputs):
        self.asked_for = inputs[0]["vocabulary"]
        return super().forward(inputs)


def _info(ids, label):
    segment_id = int(label) + 300
    return {
        "id": segment_id,
        "category_id": int(label),
        "isthing": int(label) == 1,
        "score": 0.5,
        "area": int((ids == segment_id).sum()),
    }


def write_config(folder: Path, **extra: str) -> Path:
    """Writes a configuration of the model and registers its classes."""
    MetadataCatalog.pop(DATASET, None)
    if DATASET not in DatasetCatalog.list():
        DatasetCatalog.register(DATASET, list)  # without images
    MetadataCatalog.get(DATASET).set(
        stuff_classes=list(NAMES),
        thing_classes=[NAMES[1]],
        thing_dataset_id_to_contiguous_id={CATEGORY_IDS[1]: 1},
        stuff_dataset_id_to_contiguous_id={number: i for i, number in enumerate(CATEGORY_IDS)},
    )
    path = folder / "fixed.yaml"
    lines = {
        "MODEL": "{META_ARCHITECTURE: StrongestChannel, SEM_SEG_HEAD: {NUM_CLASSES: 3}}",
        "DATASETS": f"{{TEST: ['{DATASET}']}}",
        "INPUT": "{FORMAT: RGB, MIN_SIZE_TEST: 40, MAX_SIZE_TEST: 120}",
        **extra,
    }
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path


def write_weights(folder: Path, gain=(1.0, 1.0, 1.0)) -> Path:
    path = folder / "fixed.pth"
    torch.save({"model": {"gain": torch.tensor(gain)}}, path)
    return path
