"""A model's output of every task for one photo, made by hand."""

from __future__ import annotations

import numpy as np
import torch

from detectron2.structures import Boxes, Instances
from freeseg.structures import Vocabulary
from freeseg.visualization import Segmentation

NAMES = ("car", "tree", "dog", "road")
IS_THING = (True, False, True, False)
CATEGORY_IDS = (3, 184, 18, 149)
HEIGHT, WIDTH = 48, 64


def model_output() -> dict:
    """Two cars, a dog over one of them, tree above road, and a part without a segment."""
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    ids[:20], ids[20:44] = 70001, 2
    ids[24:40, 4:24], ids[24:40, 40:60] = 256, 65536
    ids[30:38, 10:20] = 5
    infos = [
        {"id": 70001, "category_id": 1, "isthing": False, "score": 0.75, "area": 1},
        {"id": 2, "category_id": 3, "isthing": False, "area": 1},
        {"id": 256, "category_id": 0, "isthing": True, "score": 0.5},
        {"id": 65536, "category_id": 0, "isthing": True, "score": 0.25},
        {"id": 5, "category_id": 2, "isthing": True, "score": 1.0},
    ]
    masks = np.zeros((3, HEIGHT, WIDTH), dtype=bool)
    masks[0, 24:40, 4:24] = masks[1, 24:40, 40:60] = masks[2, 30:38, 10:20] = True
    semantic = torch.zeros(4, HEIGHT, WIDTH)
    for label, rows in ((1, slice(0, 20)), (3, slice(20, 48))):
        semantic[label, rows] = 0.5
    semantic[0][torch.from_numpy(masks[0] | masks[1])] = 0.75
    instances = Instances(
        (HEIGHT, WIDTH),
        pred_masks=torch.from_numpy(masks),
        pred_boxes=Boxes(torch.tensor([[4.0, 24, 24, 40], [40, 24, 60, 40], [10, 30, 20, 38]])),
        scores=torch.tensor([0.75, 0.25, 1.0]),
        pred_classes=torch.tensor([0, 0, 2]),
    )
    return {
        "sem_seg": semantic,
        "instances": instances,
        "panoptic_seg": (torch.from_numpy(ids), infos),
    }


def sample_result() -> Segmentation:
    photo = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Segmentation.from_detectron2(
        photo, model_output(), Vocabulary(NAMES, IS_THING), CATEGORY_IDS
    )
