"""FreeSeg's prompt stage: CLIP classifies annotated segments, and only the prompts learn.

Shapes: N segments, K classes, D feature width, h w picture size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.classes import closed_vocabulary
from freeseg.config import completed
from freeseg.modeling import class_logits
from freeseg.names import register
from freeseg.structures import Vocabulary, read_sample
from freeseg.systems.freeseg.crops import paint_background, require_image_tower
from freeseg.systems.freeseg.questions import task_of
from freeseg.systems.freeseg.text_side import build_clip_adapter
from freeseg.text import ClipAdapter, TextEncoder
from freeseg.training import VOID


@register(META_ARCH_REGISTRY)
class FreeSegPrompts(nn.Module):
    """Learned prompts, trained on pictures of single segments, for `FreeSeg` to use frozen."""

    new_label: Tensor

    takes_classes = True  # its classes are those of the training set, NUM_CLASSES is not read

    @configurable
    def __init__(self, *, clip_adapter: ClipAdapter, vocabulary: Vocabulary) -> None:
        """Puts the parts together.

        Args:
            clip_adapter: With an image tower; only its prompts are trained.
            vocabulary: Of the annotation; classes that are not seen are left out.
        """
        super().__init__()
        self.clip_adapter = clip_adapter
        classes = vocabulary.seen_classes()
        self.vocabulary = vocabulary.select(classes)
        new_label = torch.full((len(vocabulary),), -1)
        new_label[classes] = torch.arange(len(classes))
        self.register_buffer("new_label", new_label, persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode, clip_model: TextEncoder | None = None) -> dict[str, Any]:
        cfg = completed(cfg)
        return {
            "clip_adapter": build_clip_adapter(cfg, clip_model, has_void=False),
            "vocabulary": closed_vocabulary(cfg),
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Detectron2's contract: losses when training, else class scores.

        Args:
            batched_inputs: Each has ``image`` RGB [3, h, w], 0..255, the crop of a segment, and
                ``instances`` with the segment's one mask and class; all have one ``task``.

        Returns:
            {"loss_cls": cross-entropy}, or for each input {"class_logits": [K]} over the seen
            classes of the vocabulary.
        """
        device = self.new_label.device
        samples = [read_sample(x, VOID) for x in batched_inputs]
        targets = [
            sample.target((sample.image.shape[-2], sample.image.shape[-1]), device)
            for sample in samples
        ]
        encoder = require_image_tower(self.clip_adapter.clip_model)
        pictures = [
            paint_background(encoder, sample.image.to(device), target.masks.any(0))
            for sample, target in zip(samples, targets)
        ]
        with torch.no_grad():
            crops = encoder.encode_image(torch.stack(pictures))  # [N, D]
        text = self.clip_adapter.class_features(self.vocabulary.texts, task_of(samples))
        logits = class_logits(self.vocabulary, crops, text)  # [N, K]
        if not self.training:
            return [{"class_logits": row} for row in logits]
        labels = self.new_label[torch.cat([target.labels for target in targets])]
        return {"loss_cls": F.cross_entropy(logits, labels)}
