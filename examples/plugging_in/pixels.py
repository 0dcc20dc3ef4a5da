"""A second meta-architecture of one's own, around freeseg's `LSegHead`: words choose the classes.

Shapes: B images, K classes, H W padded size, T texts, D their width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import ImageList
from freeseg.modeling import LSegHead
from freeseg.structures import ImageFeatures, SegmentationTarget, Vocabulary
from freeseg.text import TemplatePrompts, build_text_encoder
from freeseg.training import VOID, PixelCriterion


@META_ARCH_REGISTRY.register()
class WordSegmenter(nn.Module):
    """Compares pixels with words: an input's ``vocabulary``, or what the trained classes are.

    The text encoder is frozen; results are Detectron2's.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.backbone = build_backbone(cfg, ShapeSpec(channels=3))
        self.head = LSegHead(cfg, self.backbone.output_shape())
        self.prompts = TemplatePrompts(cfg.MODEL.LSEG.TEMPLATES)
        self.text_encoder = build_text_encoder(cfg).requires_grad_(False)
        self.vocabulary = Vocabulary.from_classes(["dark ground", "light square"])
        self.criterion = PixelCriterion()
        self.register_buffer("pixel_mean", torch.tensor(cfg.MODEL.PIXEL_MEAN).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(cfg.MODEL.PIXEL_STD).view(-1, 1, 1), False)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses in training, else one result dict per image."""
        features = self.encode([x["image"] for x in batched_inputs])
        if self.training:
            logits = self.head(features, self.text(self.vocabulary), self.vocabulary)
            logits = F.interpolate(logits, features.padded_size, mode="bilinear")
            return self.criterion([logits], [self.labels(batched_inputs, features)])
        outputs = []
        for index, (wanted, size) in enumerate(zip(batched_inputs, features.image_sizes)):
            vocabulary = wanted.get("vocabulary", self.vocabulary)
            logits = self.head(features.select([index]), self.text(vocabulary), vocabulary)
            logits = F.interpolate(logits, features.padded_size, mode="bilinear")[0]  # [K, H, W]
            output_size = wanted.get("height", size[0]), wanted.get("width", size[1])
            outputs.append({"sem_seg": sem_seg_postprocess(logits, size, *output_size)})
        return outputs

    def encode(self, images: list[Tensor]) -> ImageFeatures:
        """Encodes a batch of images [3, h, w] once."""
        normalised = [(x.to(self.pixel_mean) - self.pixel_mean) / self.pixel_std for x in images]
        batch = ImageList.from_tensors(normalised, 32)
        sizes = [(int(height), int(width)) for height, width in batch.image_sizes]
        maps = self.backbone(batch.tensor)
        return self.head.encode_image(maps, tuple(batch.tensor.shape[-2:]), sizes)

    def text(self, vocabulary: Vocabulary) -> Tensor:
        """Unit vectors [T, D] of words."""
        with torch.no_grad():
            return self.prompts(self.text_encoder, vocabulary.texts, "semantic")

    def labels(self, batched_inputs: list[dict[str, Any]], features: ImageFeatures) -> Tensor:
        """Class of every pixel [B, H, W]."""
        maps = []
        for x in batched_inputs:
            instances = x["instances"].to(self.pixel_mean.device)
            target = SegmentationTarget.from_instances(instances, features.padded_size)
            maps.append(target.label_map(VOID))
        return torch.stack(maps)
