#!/usr/bin/env python3
"""A project with the releases' names: its own MaskFormer, and freeseg's beside it.

python examples/plugging_in/own_names.py OUTPUT_DIR output/own_names SOLVER.MAX_ITER 200

Shapes: B images, K classes, H W size of the padded image.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from train import HERE, Trainer, load_config

import freeseg
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.modeling import (
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    build_backbone,
    build_sem_seg_head,
)
from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import ImageList


@SEM_SEG_HEADS_REGISTRY.register()
class MaskFormerHead(nn.Module):
    """Class scores [B, K, H/4, W/4] of pixels; freeseg's pixel decoder by its name."""

    def __init__(self, cfg: CfgNode, input_shape: Any) -> None:
        super().__init__()
        decoder = SEM_SEG_HEADS_REGISTRY.get(cfg.MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME)
        self.pixel_decoder = decoder(cfg, input_shape)
        head = cfg.MODEL.SEM_SEG_HEAD
        self.classify = nn.Conv2d(head.MASK_DIM, head.NUM_CLASSES, kernel_size=1)

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        mask_features, _ = self.pixel_decoder(maps)
        return self.classify(mask_features)


@META_ARCH_REGISTRY.register()
class MaskFormer(nn.Module):
    """Per-pixel classification, as many projects that are called so began."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.backbone = build_backbone(cfg)
        self.sem_seg_head = build_sem_seg_head(cfg, self.backbone.output_shape())
        self.register_buffer("pixel_mean", torch.tensor(cfg.MODEL.PIXEL_MEAN).view(-1, 1, 1), False)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        images = [x["image"].to(self.pixel_mean) - self.pixel_mean for x in batched_inputs]
        batch = ImageList.from_tensors(images, 32)
        scores = self.sem_seg_head(self.backbone(batch.tensor / 60))
        scores = F.interpolate(scores, batch.tensor.shape[-2:], mode="bilinear")  # [B, K, H, W]
        if self.training:
            labels = torch.full((len(images), *scores.shape[-2:]), 255, device=scores.device)
            for row, x in zip(labels, batched_inputs):
                for label, mask in zip(x["instances"].gt_classes, x["instances"].gt_masks.tensor):
                    row[: mask.shape[0], : mask.shape[1]][mask.to(row.device)] = label
            return {"loss_sem_seg": F.cross_entropy(scores, labels, ignore_index=255)}
        sizes = [(x.get("height"), x.get("width")) for x in batched_inputs]
        return [
            {"sem_seg": sem_seg_postprocess(row, seen, *wanted)}
            for row, seen, wanted in zip(scores, batch.image_sizes, sizes)
        ]


def main(args: Any) -> None:
    """Trains the project's MaskFormer, and says whose the names are."""
    cfg = load_config(args.opts, str(HERE / "own_names.yaml"))
    default_setup(cfg, args)
    for name, module in freeseg.register_release_names().items():
        sys.stdout.write(f"{name} is {module}'s\n")
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()
    theirs = cfg.clone()
    theirs.defrost()
    theirs.MODEL.META_ARCHITECTURE = "freeseg.MaskFormer"
    for model in (trainer.model, freeseg.build_model(theirs)):
        count = sum(part.numel() for part in model.parameters())
        sys.stdout.write(f"{type(model).__module__} {count}\n")


if __name__ == "__main__":
    arguments = default_argument_parser().parse_args()
    launch(main, arguments.num_gpus, args=(arguments,))
