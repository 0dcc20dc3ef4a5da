"""A training job small enough for tests: a two-layer model on a dozen 32x32 pictures.

Run as a script it takes the arguments of tools/train_net.py. Its model uses everything that an
exact resume must carry: batch norm, dropout, random augmentation, momentum and a schedule.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import freeseg  # noqa: F401  (registers freeseg's parts)
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from freeseg.engine import start_job

SIZE, NUM_IMAGES, CLASSES = 32, 12, ["left", "right", "disc"]

OPTIONS = [
    *("MODEL.META_ARCHITECTURE", "TinySegmenter", "MODEL.DEVICE", "cpu"),
    *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", str(len(CLASSES)), "DATALOADER.NUM_WORKERS", "0"),
    *("DATASETS.TRAIN", "('tiny_train',)", "DATASETS.TEST", "('tiny_val',)"),
    *("INPUT.DATASET_MAPPER_NAME", "mask_former_semantic", "INPUT.COLOR_AUG_SSD", "True"),
    *("INPUT.MIN_SIZE_TRAIN", "(32, 40)", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "choice"),
    *("INPUT.MIN_SIZE_TEST", "32", "INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute"),
    *("INPUT.CROP.SIZE", "(24, 24)", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.BASE_LR", "0.01"),
    *("SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", "SOLVER.WARMUP_ITERS", "5", "SEED", "7"),
]


@META_ARCH_REGISTRY.register()
class TinySegmenter(nn.Module):
    """Classifies pixels; Detectron2's contract for inputs, losses and results."""

    def __init__(self, cfg):
        super().__init__()
        self.is_plain = os.environ.get("TINY_PLAIN") == "1"  # nothing that depends on the split
        self.backbone = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8) if self.is_plain else nn.BatchNorm2d(8, momentum=0.9)
        self.classifier = nn.Conv2d(8, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, 1)

    def forward(self, inputs):
        if not self.training:
            return [self.segment(item) for item in inputs]
        losses, weight = 0.0, 0.0
        batch = self.logits(torch.stack([item["image"] for item in inputs]))
        for item, logits in zip(inputs, batch):
            instances = item["instances"]
            for label, mask in zip(instances.gt_classes.tolist(), instances.gt_masks.tensor):
                errors = F.cross_entropy(
                    logits.movedim(0, -1)[mask],
                    logits.new_full((int(mask.sum()),), label, dtype=torch.long),
                    reduction="sum",
                )
                losses, weight = losses + errors, weight + float(mask.sum())
        weight = np.mean(comm.all_gather(weight))
        return {"loss_pixels": losses / weight, "loss_size": 1e-3 * batch.square().mean()}

    def segment(self, item):
        logits = self.logits(item["image"][None])
        scores = F.interpolate(logits, (item["height"], item["width"]), mode="bilinear")[0]
        return {"sem_seg": scores.softmax(dim=0)}

    def logits(self, images):
        features = self.norm(self.backbone(images / 255.0)).relu()
        return self.classifier(
            features if self.is_plain else F.dropout(features, 0.2, self.training)
        )


def picture(index):
    """A picture with a disc over two halves, and its labels."""
    random = np.random.default_rng(index)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = (columns >= SIZE // 2).astype(np.uint8)
    centre = random.integers(8, SIZE - 8, size=2)
    labels[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 40] = 2
    colors = np.array([[200, 60, 40], [40, 180, 60], [60, 60, 220]])
    noise = random.integers(-40, 40, size=(SIZE, SIZE, 3))
    return np.clip(colors[labels] + noise, 0, 255).astype(np.uint8), labels


def register(root):
    """Makes the pictures under `root` once, and the two sets."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    records = []
    for index in range(NUM_IMAGES):
        image_file, label_file = root / f"{index}.png", root / f"{index}_labels.png"
        if not label_file.exists():
            image, labels = picture(index)
            Image.fromarray(image).save(image_file)
            Image.fromarray(labels).save(label_file)
        records.append(
            {
                "file_name": str(image_file),
                "sem_seg_file_name": str(label_file),
                "image_id": index,
                "height": SIZE,
                "width": SIZE,
            }
        )
    for name, part in (("tiny_train", records[:8]), ("tiny_val", records[8:])):
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        DatasetCatalog.register(name, lambda part=part: [dict(record) for record in part])
        MetadataCatalog.get(name).set(
            stuff_classes=CLASSES,
            stuff_colors=[(200, 60, 40), (40, 180, 60), (60, 60, 220)],
            ignore_label=255,
            evaluator_type="sem_seg",
            thing_classes=[],
        )


def die_while_saving(number):
    """Kills this process in the middle of the `number`-th checkpoint."""
    save, calls = torch.save, []

    def half_save(content, file):
        calls.append(file)
        if len(calls) == number:
            file.write(b"half a checkpoint")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        save(content, file)

    torch.save = half_save


if "TINY_ROOT" in os.environ:
    register(os.environ["TINY_ROOT"])

if __name__ == "__main__":
    if "TINY_DIE_SAVING" in os.environ:
        die_while_saving(int(os.environ["TINY_DIE_SAVING"]))
    args = default_argument_parser().parse_args()
    args.opts = [*OPTIONS, *args.opts]
    start_job(args)
    sys.exit(0)
