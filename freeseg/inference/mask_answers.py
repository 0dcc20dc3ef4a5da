"""From the classified masks of one image to what is asked of it, as Mask2Former and OneFormer do.

Shapes: Q queries, K classes, h w mask size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from freeseg.inference.assemble import Thresholds, semantic_scores
from freeseg.inference.painting import Resizing
from freeseg.inference.resize import crop_and_resize
from freeseg.inference.tiled_assembly import assemble_in_tiles, best_labels
from freeseg.structures import Frame, SegmentationResult, SemanticMap, Task, Vocabulary


@dataclass(frozen=True)
class MaskAnswers:
    """What the post-processing knows beside the masks.

    Attributes:
        thresholds: What is kept.
        resize_masks_first: Resize masks to the output size before pixels are scored; False scores
            at input size and resizes scores, for semantic output of large pictures.
    """

    thresholds: Thresholds
    resize_masks_first: bool

    def __call__(
        self,
        tasks: Sequence[Task],
        class_logits: Tensor,
        mask_logits: Tensor,
        frame: Frame,
        vocabulary: Vocabulary,
        *,
        wants_labels: bool,
    ) -> SegmentationResult:
        """The result of one image on its photo's grid.

        Args:
            tasks: That are asked for.
            class_logits: [Q, K+1], the last column is "no object".
            mask_logits: [Q, h, w], of all that the model saw.
            frame: How that lies in the photo.
            vocabulary: The K classes.
            wants_labels: What is semantic are labels; else scores.
        """
        class_logits, mask_logits = class_logits.float(), mask_logits.float()
        if self.resize_masks_first or tuple(tasks) != (Task.SEMANTIC,):
            mask_size = mask_logits.shape[-2], mask_logits.shape[-1]
            return assemble_in_tiles(
                tasks,
                class_logits,
                mask_logits,
                Resizing.of(mask_size, frame.padded_size, frame.model_size, frame.photo_size),
                vocabulary,
                self.thresholds,
                wants_scores=not wants_labels,
            )
        mask_logits = F.interpolate(
            mask_logits[None], size=frame.padded_size, mode="bilinear", align_corners=False
        )[0]
        class_probs, mask_probs = class_logits.softmax(-1), mask_logits.sigmoid()
        if not wants_labels:
            scores = semantic_scores(class_probs, mask_probs)
            scores = crop_and_resize(scores, frame.model_size, frame.photo_size)
            return SegmentationResult(semantic=SemanticMap(scores=scores))
        resizing = Resizing.of(
            frame.padded_size, frame.padded_size, frame.model_size, frame.photo_size
        )
        labels = best_labels(class_probs[:, :-1], mask_probs, resizing)
        return SegmentationResult(semantic=SemanticMap(labels=labels))
