"""How SAM learns: from the answers to clicks at what is annotated, and to clicks at their mistakes.

Shapes: N objects, M masks of each, H W side of the square, h w size of mask logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.ops import mask_areas
from freeseg.structures import SegmentationTarget
from freeseg.structures.marks import ABSENT
from freeseg.systems.sam.mask_decoder import MANY_PROMPTS, DecodedMasks, choose
from freeseg.systems.sam.prompts import PADDING, PointPrompts
from freeseg.training.losses import pairwise_dice, pairwise_sigmoid_focal
from freeseg.training.prompts import Clicks, deepest_error_point, error_point, noisy_box
from freeseg.training.shares import count_targets, mean_over_processes, parts_of_batch

Decode = Callable[[Sequence[int], PointPrompts], DecodedMasks]  # of images by their rows
# unit vectors [N, D] of objects that begin with a phrase, NaN for the others
Describe = Callable[["Objects", torch.Generator], Tensor]


class Objects(NamedTuple):
    """What is annotated and clicked at."""

    rows: list[int]  # the image of each
    masks: Tensor  # bool [N, H, W]
    coverage: Tensor  # [N, h, w], how much of every cell is theirs

    @property
    def truth(self) -> Tensor:
        """Bool [N, h, w]."""
        return self.coverage >= 0.5


@dataclass(frozen=True)
class ClickTraining:
    """Simulated clicks, and losses of the answers (Kirillov et al., appendix A).

    An object begins with a click anywhere on it, its box or a phrase. Then it is clicked at where
    the last answer is wrong, whose logits go back in; two rounds, one of them the last, bring
    nothing but these. Images are encoded once for all objects and rounds.

    Attributes:
        max_masks: Objects of an image; more are drawn from.
        area_range: Least and largest share of the image of an object.
        num_points: Rounds with a new click.
        deepest_share: Probability of a click where an evaluation would click, in the middle of the
            largest mistake; else it is anywhere in what is wrong.
        box_share: Probability that an object begins with its box.
        others_share: What the masks that are not the best of three learn together, as a share of
            what is learned; the paper's 0 can leave a mask that is never the best untrained.
        many_prompts: Of the `MaskDecoder`.
        weights: Of the losses.
    """

    max_masks: int = 64
    area_range: tuple[float, float] = (0.0, 0.9)
    num_points: int = 8
    deepest_share: float = 0.0
    box_share: float = 0.5
    others_share: float = 0.0
    many_prompts: int = MANY_PROMPTS
    weights: Mapping[str, float] = field(
        default_factory=lambda: {"loss_mask": 20.0, "loss_dice": 1.0, "loss_quality": 1.0}
    )

    def __call__(
        self,
        decode: Decode,
        targets: Sequence[SegmentationTarget],
        mask_size: tuple[int, int],
        describe: Describe | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name, means over rounds and objects.

        Args:
            decode: Answers prompts about the images.
            targets: Theirs.
            mask_size: (h, w).
            describe: Phrases of objects that begin with one; None: none does.
        """
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        objects = self.draw(targets, mask_size, generator)
        stride = objects.masks.shape[-1] / mask_size[1]
        truth, boxes = objects.truth, self._first_boxes(objects.masks, generator)
        no_answer = torch.zeros_like(truth)
        clicks = self._click(truth, no_answer, generator)
        points, labels = clicks.points[:, None] * stride, _labels(clicks)[:, None]
        phrases = None if describe is None else describe(objects, generator)
        if phrases is not None:
            is_described = ~phrases.isnan().any(1, keepdim=True)
            boxes = boxes.masked_fill(is_described, torch.nan)
            labels = labels.masked_fill(is_described, PADDING)
        labels = labels.masked_fill(~boxes.isnan().any(1, keepdim=True), PADDING)
        logits, totals = None, torch.zeros(3, device=truth.device)
        rounds = self._rounds(generator)
        for has_click in rounds:
            if logits is not None and has_click:
                clicks = self._click(truth, logits[:, 0] > 0, generator)
                points = torch.cat([points, clicks.points[:, None] * stride], dim=1)
                labels = torch.cat([labels, _labels(clicks)[:, None]], dim=1)
            prompts = PointPrompts.of_marks(points, labels, boxes, logits, phrases=phrases)
            decoded = decode(objects.rows, prompts)
            totals = totals + self._losses(decoded, prompts.num_tokens, objects)
            chosen = choose(decoded.qualities, prompts.num_tokens, self.many_prompts)
            numbers = torch.arange(len(chosen), device=chosen.device)
            logits = decoded.mask_logits[numbers, chosen][:, None].detach()
        means = totals / (len(rounds) * self._normaliser(targets, totals))
        return {name: self.weights[name] * mean for name, mean in zip(_NAMES, means)}

    def draw(
        self,
        targets: Sequence[SegmentationTarget],
        mask_size: tuple[int, int],
        generator: torch.Generator,
    ) -> Objects:
        """What is clicked at: some of the objects that are neither too small nor too large."""
        rows: list[int] = []
        parts: list[tuple[Tensor, Tensor]] = []
        for row, target in enumerate(targets):
            coverage = _coverage(target.masks, mask_size)
            height, width = target.masks.shape[1:]
            share = mask_areas(target.masks) / (height * width)
            least, most = self.area_range
            fits = (coverage.flatten(1) >= 0.5).any(1) & (share >= least) & (share <= most)
            kept = torch.nonzero(fits)[:, 0]
            order = torch.randperm(len(kept), generator=generator)[: self.max_masks]
            kept = kept[order.to(kept.device)]
            parts.append((target.masks[kept], coverage[kept]))
            rows += [row] * len(kept)
        masks, coverages = (torch.cat(each) for each in zip(*parts))
        return Objects(rows, masks, coverages)

    def _first_boxes(self, masks: Tensor, generator: torch.Generator) -> Tensor:
        """Boxes [N, 4] of some objects, NaN for the others."""
        has_box = torch.rand(len(masks), generator=generator) < self.box_share
        boxes = noisy_box(masks, generator)
        return boxes.masked_fill(~has_box[:, None].to(boxes.device), torch.nan)

    def _click(self, truth: Tensor, predicted: Tensor, generator: torch.Generator) -> Clicks:
        clicks = error_point(truth, predicted, generator)
        is_deepest = torch.rand(len(truth), generator=generator) < self.deepest_share
        rows = torch.nonzero(is_deepest)[:, 0].to(truth.device)
        deepest = deepest_error_point(truth[rows], predicted[rows])
        return Clicks(
            clicks.points.index_copy(0, rows, deepest.points),
            clicks.signs.index_copy(0, rows, deepest.signs),
        )

    def _rounds(self, generator: torch.Generator) -> list[bool]:
        """For every round whether it brings a new click."""
        later = [True] * self.num_points
        if later:
            place = int(torch.randint(self.num_points, (), generator=generator))
            later.insert(place, False)
            later.append(False)
        return [True, *later]

    def _losses(self, decoded: DecodedMasks, num_tokens: Tensor, objects: Objects) -> Tensor:
        """Sums over objects of the three losses, [3].

        Of several masks the best one learns most, and the qualities of all.
        """
        has_one = num_tokens >= self.many_prompts  # [N]
        used = slice(1) if has_one.all() else slice(None)
        logits, qualities = decoded.mask_logits[:, used].flatten(2), decoded.qualities[:, used]
        coverage = objects.coverage.flatten(1)[:, None]  # [N, 1, h * w]
        is_used = torch.ones_like(qualities, dtype=torch.bool)
        if qualities.shape[1] > 1:
            is_used[:, 0], is_used[:, 1:] = has_one, ~has_one[:, None]
        focal = pairwise_sigmoid_focal(logits, coverage)[..., 0]  # [N, M]
        dice = pairwise_dice(logits, coverage)[..., 0]
        weighted = self.weights["loss_mask"] * focal + self.weights["loss_dice"] * dice
        best = weighted.detach().masked_fill(~is_used, torch.inf).argmin(1, keepdim=True)
        shares = self._shares(is_used, best)  # [N, M]
        error = (qualities - _overlap(logits > 0, coverage >= 0.5)) ** 2
        quality = (error * is_used).sum(1) / is_used.sum(1)
        return torch.stack([(focal * shares).sum(), (dice * shares).sum(), quality.sum()])

    def _shares(self, is_used: Tensor, best: Tensor) -> Tensor:
        """How much of an object each of its masks [N, M] learns, in all 1."""
        others = is_used.float().scatter(1, best, 0.0)
        count = others.sum(1, keepdim=True)
        shares = self.others_share * others / count.clamp(min=1)
        return shares.scatter(1, best, 1.0 - shares.sum(1, keepdim=True))

    def _normaliser(self, targets: Sequence[SegmentationTarget], like: Tensor) -> Tensor:
        """Objects per process and part of a batch, those too small or too large among them."""
        count = sum(min(count, float(self.max_masks)) for count in count_targets(targets))
        return mean_over_processes(like.new_tensor(count / parts_of_batch())).clamp(min=1)


_NAMES = ("loss_mask", "loss_dice", "loss_quality")


def _coverage(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """How much of every cell [N, h, w] of a grid masks [N, H, W] cover."""
    if not len(masks):  # which interpolate refuses
        return masks.new_zeros(0, *size, dtype=torch.float32)
    return F.interpolate(masks[:, None].float(), size, mode="area")[:, 0]


def _overlap(predicted: Tensor, truth: Tensor) -> Tensor:
    """Intersection by union [N, M] of bool masks [N, M, P] and [N, 1, P]."""
    intersection = (predicted & truth).sum(2)
    return intersection / (predicted | truth).sum(2).clamp(min=1)


def _labels(clicks: Clicks) -> Tensor:
    """int64 [N] of clicks, those that are not there filled up."""
    return torch.where(clicks.signs == ABSENT, PADDING, clicks.signs)
