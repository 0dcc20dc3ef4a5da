"""A meta-architecture of one's own around freeseg's `OneFormerDecoder`: a token says how fine.

Shapes: B images, C channels of queries, K classes, H W output size.
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
from freeseg.config import criterion_arguments
from freeseg.inference import Thresholds, assemble
from freeseg.modeling import MSDeformAttnPixelDecoder, OneFormerDecoder
from freeseg.structures import ImageFeatures, SegmentationTarget, Vocabulary
from freeseg.training import SetCriterion


@META_ARCH_REGISTRY.register()
class DomainSegmenter(nn.Module):
    """Segments under the token of an image's domain, "day" or "night": OneFormer's idea, reused.

    Input dicts have ``domain`` beside Detectron2's keys; results are Detectron2's.
    """

    DOMAINS = ("day", "night")

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.backbone = build_backbone(cfg, ShapeSpec(channels=3))
        self.pixel_decoder = MSDeformAttnPixelDecoder(cfg, self.backbone.output_shape())
        self.decoder = OneFormerDecoder(cfg)
        self.domain_tokens = nn.Embedding(len(self.DOMAINS), cfg.MODEL.ONE_FORMER.HIDDEN_DIM)
        self.criterion = SetCriterion(**criterion_arguments(cfg))
        num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        names = tuple(f"class {index}" for index in range(num_classes))
        self.vocabulary = Vocabulary(names, (False,) * num_classes)
        self.thresholds = Thresholds(min_score=0.5, min_visible_share=0.5, max_instances=10)
        self.register_buffer("pixel_mean", torch.tensor(cfg.MODEL.PIXEL_MEAN).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(cfg.MODEL.PIXEL_STD).view(-1, 1, 1), False)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses in training, else one result dict per image."""
        features = self.encode([x["image"] for x in batched_inputs])
        domains = [self.DOMAINS.index(x.get("domain", "day")) for x in batched_inputs]
        tokens = self.domain_tokens(torch.tensor(domains, device=self.pixel_mean.device))  # [B, C]
        if self.training:
            predictions = self.decoder(features, tokens).predictions
            return self.criterion(predictions, self.targets(batched_inputs, features))
        final = self.decoder.final(features, tokens)
        outputs = []
        for index, (wanted, size) in enumerate(zip(batched_inputs, features.image_sizes)):
            masks = F.interpolate(
                final.mask_logits[index, None], features.padded_size, mode="bilinear"
            )[0]
            output_size = wanted.get("height", size[0]), wanted.get("width", size[1])
            masks = sem_seg_postprocess(masks, size, *output_size)
            result = assemble(
                ["semantic"], final.class_logits[index], masks, self.vocabulary, self.thresholds
            )
            outputs.append(result.to_detectron2())
        return outputs

    def encode(self, images: list[Tensor]) -> ImageFeatures:
        """Encodes a batch of images [3, h, w] once."""
        normalised = [(x.to(self.pixel_mean) - self.pixel_mean) / self.pixel_std for x in images]
        batch = ImageList.from_tensors(normalised, 32)
        mask_features, levels = self.pixel_decoder(self.backbone(batch.tensor))
        return ImageFeatures(
            tuple(levels),
            mask_features,
            tuple(batch.tensor.shape[-2:]),
            tuple((int(height), int(width)) for height, width in batch.image_sizes),
        )

    def targets(
        self, batched_inputs: list[dict[str, Any]], features: ImageFeatures
    ) -> list[SegmentationTarget]:
        """Ground truth at the padded size."""
        device = self.pixel_mean.device
        return [
            SegmentationTarget.from_instances(x["instances"].to(device), features.padded_size)
            for x in batched_inputs
        ]
