"""How Grounding DINO learns: boxes by L1 and GIoU, words by a focal loss, after every layer.

Shapes: B images, Q queries, T text tokens, N objects of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from fvcore.nn import giou_loss
from torch import Tensor
from torch.nn import functional as F

from freeseg.systems.grounding_dino.boxes import to_corners
from freeseg.training.losses import focal_parts
from freeseg.training.matcher import Assignment, cheapest
from freeseg.training.shares import count_targets, mean_over_processes, parts_of_batch


@dataclass(frozen=True, eq=False)
class BoxTarget:
    """What is to be found in one image under its caption.

    Attributes:
        labels: int64 [N], of the class list or, of a caption, of nothing.
        boxes: [N, 4], (centre x, centre y, width, height) in shares of the picture.
        words: Bool [N, T], the tokens that mean each object.
    """

    labels: Tensor
    boxes: Tensor
    words: Tensor

    def to(self, device: torch.device) -> BoxTarget:
        """On a device."""
        return BoxTarget(*(each.to(device) for each in vars(self).values()))


@dataclass(frozen=True)
class BoxTraining:
    """Matching and losses of predictions.

    Parity: the paper names no term for the focal loss's sum; here, as in Open-GroundingDino, it is
    over all tokens of a caption, and divided by the number of objects.

    Attributes:
        costs: Of a pair in matching.
        weights: Of the losses.
    """

    costs: Mapping[str, float] = field(
        default_factory=lambda: {"loss_ce": 1.0, "loss_bbox": 5.0, "loss_giou": 2.0}
    )
    weights: Mapping[str, float] = field(
        default_factory=lambda: {"loss_ce": 2.0, "loss_bbox": 5.0, "loss_giou": 2.0}
    )

    def __call__(
        self,
        predictions: Mapping[str, tuple[Tensor, Tensor]],
        targets: Sequence[BoxTarget],
        is_token: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted losses by name.

        Args:
            predictions: Word logits [B, Q, T] and boxes [B, Q, 4] by the ending of their losses.
            targets: Of the B images.
            is_token: Bool [B, T], False on padding.
        """
        count = torch.tensor(sum(count_targets(targets)) / parts_of_batch(), device=is_token.device)
        normaliser = mean_over_processes(count).clamp(min=1)
        losses: dict[str, Tensor] = {}
        for ending, (logits, boxes) in predictions.items():
            matches = self.match(logits, boxes, targets)
            for name, loss in _losses(logits, boxes, targets, matches, is_token).items():
                losses[name + ending] = self.weights[name] * loss / normaliser
        return losses

    @torch.no_grad()
    def match(
        self, word_logits: Tensor, boxes: Tensor, targets: Sequence[BoxTarget]
    ) -> list[Assignment]:
        """Queries and objects of every image, on the CPU."""
        found = []
        for logits, box, target in zip(word_logits.float(), boxes.float(), targets):
            cost = (
                self.costs["loss_ce"] * _word_costs(logits, target.words)
                + self.costs["loss_bbox"] * torch.cdist(box, target.boxes, p=1)
                + self.costs["loss_giou"] * _pairwise_giou_loss(box, target.boxes)
            )
            found.append(cheapest(cost))
        return found


def _losses(
    word_logits: Tensor,
    boxes: Tensor,
    targets: Sequence[BoxTarget],
    matches: Sequence[Assignment],
    is_token: Tensor,
) -> dict[str, Tensor]:
    """Sums over images, queries and tokens of the three losses."""
    wanted = torch.zeros_like(word_logits)
    for row, (target, (queries, objects)) in enumerate(zip(targets, matches)):
        wanted[row, queries] = target.words[objects].to(wanted)
    as_word, as_other = focal_parts(word_logits.masked_fill(~is_token[:, None], 0.0).float())
    words = as_word * wanted + as_other * (1 - wanted)
    found = torch.cat([box[queries] for box, (queries, _) in zip(boxes, matches)]).float()
    true = torch.cat([target.boxes[objects] for target, (_, objects) in zip(targets, matches)])
    return {
        "loss_ce": (words * is_token[:, None]).sum(),
        "loss_bbox": F.l1_loss(found, true, reduction="sum"),
        "loss_giou": giou_loss(to_corners(found), to_corners(true), reduction="sum"),
    }


def _word_costs(logits: Tensor, words: Tensor) -> Tensor:
    """Means over the words of every object of what a focal loss would say, [Q, N]."""
    as_word, as_other = focal_parts(logits.clamp(min=torch.finfo(logits.dtype).min))
    weights = words.to(logits) / words.sum(1, keepdim=True).clamp(min=1)
    return (as_word - as_other).nan_to_num() @ weights.mT


def _pairwise_giou_loss(boxes: Tensor, others: Tensor) -> Tensor:
    """[Q, N]."""
    first, second = to_corners(boxes)[:, None], to_corners(others)[None]
    shape = len(boxes), len(others), 4
    loss: Tensor = giou_loss(first.expand(shape), second.expand(shape))
    return loss
