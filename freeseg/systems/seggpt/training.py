"""What SegGPT learns: in-context colouring, the painted half of a canvas after the shown one.

Shapes: B samples, K examples of each, M masks, S side of a square, P side of a patch,
2h = 2S / P and w = S / P rows and columns of patches of a canvas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.structures import Sample, Task
from freeseg.systems.seggpt.canvas_parts import CanvasPixels, Half, crop_box
from freeseg.systems.seggpt.masking import BLOCK_AREA, BLOCK_ASPECT, block_mask, lower_half
from freeseg.systems.seggpt.painting import draw_colours, normalised

SEMANTIC, INSTANCE = 0, 1  # kinds of canvases, each with a type token of its own


@dataclass(frozen=True, eq=False)
class Canvases:
    """A batch of training: examples over queries, photos and paintings.

    Attributes:
        images: [B, 3, 2S, S], normalised.
        targets: [B, 3, 2S, S], normalised; what is to be painted.
        masked: Bool [B, 2h, w], patches of the targets that are hidden.
        weights: [B, 3, 2S, S], how much a pixel counts, wherever it is hidden.
        kinds: int64 [B], `SEMANTIC` or `INSTANCE`.
    """

    images: Tensor
    targets: Tensor
    masked: Tensor
    weights: Tensor
    kinds: Tensor

    def __post_init__(self) -> None:
        (batch, _, height, width), (_, rows, columns) = self.images.shape, self.masked.shape
        if height % rows or width % columns or len(self.kinds) != batch:
            raise ValueError(
                f"{len(self.kinds)} canvases {tuple(self.images.shape)} are not of patches "
                f"{tuple(self.masked.shape)}"
            )

    @property
    def hidden_weights(self) -> Tensor:
        """Weights [B, 3, 2S, S] of `painting_loss`: 0 where a patch is shown."""
        patch = self.images.shape[-1] // self.masked.shape[-1]
        hidden = self.masked.repeat_interleave(patch, 1).repeat_interleave(patch, 2)
        return self.weights * hidden[:, None]

    def to(self, device: torch.device) -> Canvases:
        """The same on another device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


def painting_loss(
    predicted: Tensor,
    target: Tensor,
    weights: Tensor,
    kind: str = "smooth_l1",
    beta: float = 0.01,
    *,
    total: Tensor | None = None,
) -> Tensor:
    """Weighted mean over pixels and channels; 0 where nothing has a weight.

    Args:
        predicted: [B, 3, 2S, S], normalised.
        target: Likewise.
        weights: Likewise, see `Canvases.hidden_weights`.
        kind: "smooth_l1", "l1", "l2", or "l1l2", half the sum of these two.
        beta: Of smooth L1, the difference up to which it is quadratic.
        total: What the sum is divided by, such as a mean over processes; None: the sum of weights.

    Raises:
        ValueError: The kind is unknown.
    """
    predicted, target = predicted.float(), target.float()
    match kind:
        case "smooth_l1":
            loss = F.smooth_l1_loss(predicted, target, reduction="none", beta=beta)
        case "l1":
            loss = (predicted - target).abs()
        case "l2":
            loss = (predicted - target).square()
        case "l1l2":
            loss = ((predicted - target).abs() + (predicted - target).square()) / 2
        case _:
            raise ValueError(f"kind must be smooth_l1, l1, l2 or l1l2, got {kind!r}")
    total = weights.sum() if total is None else total
    return (loss * weights).sum() / total.clamp(min=torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class ContextTraining:
    """In-context colouring (SegGPT, arXiv 2304.03284, section 3.1).

    Every object that a query shares with its examples gets a colour that is drawn anew for each
    sample, so what a colour means is told by the example alone.

    Attributes:
        side: S.
        patch: P.
        random_colours: Draw an object's colour anew for each sample, so that it is told by the
            example alone; else its id has one for good, which shows what the drawing is worth.
        grid_share: Probability that of four examples or more a square number of them becomes one,
            in a grid (the spatial ensemble, section 3.2); else one of them is drawn.
        lower_half_share: Probability that exactly the query is hidden; else blocks of both halves.
        block_area: Of `block_mask`.
        block_aspect: Of `block_mask`.
        crop_share: Probability that a canvas of classes is cropped across both halves.
        crop_scale: Least and largest share of a canvas of such a crop.
        crop_aspect: Least and largest ratio of its width to its height; a canvas has 0.5.
        background_weight: Of black pixels of canvases of classes that are annotated. In Painter,
            whose colours cover all classes, black is "not annotated" and its code gives it 0.
            Here black is also what was not asked for, which has to be learned: 1.
        balance: How far small objects count as much as large ones: the weight of an object's pixels
            is its share of a canvas's paint, in mean shares, to minus this power. 0: as pixels, as
            in the paper; 1: as objects.
        least_foreground: Canvases of instances that are painted on a smaller share of their pixels
            have no weight; the default is Painter's 300 values of 448 x 896 x 3.
    """

    side: int
    patch: int
    random_colours: bool = True
    grid_share: float = 0.5
    lower_half_share: float = 0.1
    block_area: tuple[float, float] = BLOCK_AREA
    block_aspect: tuple[float, float] = BLOCK_ASPECT
    crop_share: float = 0.9
    crop_scale: tuple[float, float] = (0.3, 1.0)
    crop_aspect: tuple[float, float] = (0.3, 0.7)
    background_weight: float = 1.0
    balance: float = 0.0
    least_foreground: float = 300 / (448 * 896 * 3)

    def __post_init__(self) -> None:
        if self.patch < 1 or self.side < 1 or self.side % self.patch:
            raise ValueError(f"side ({self.side}) must be a multiple of patch ({self.patch})")
        for name in ("grid_share", "lower_half_share", "crop_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")

    @property
    def grid(self) -> tuple[int, int]:
        """(2h, w)."""
        return 2 * self.side // self.patch, self.side // self.patch

    def __call__(self, samples: Sequence[Sample], generator: torch.Generator) -> Canvases:
        """A canvas of every sample.

        Args:
            samples: With examples and ids, S x S.
            generator: Of all chance, on the CPU.

        Raises:
            ValueError: One is without these, or of another size.
        """
        pixels, weights = zip(*(self._canvas(sample, generator) for sample in samples))
        kinds = [_kind(sample) for sample in samples]
        return Canvases(
            normalised(torch.stack([canvas.image for canvas in pixels])),
            normalised(torch.stack([canvas.target for canvas in pixels])),
            torch.stack([self._masked(generator) for _ in samples]),
            torch.stack(weights)[:, None].repeat(1, 3, 1, 1),
            torch.tensor(kinds, dtype=torch.int64),
        )

    def _canvas(self, sample: Sample, generator: torch.Generator) -> tuple[CanvasPixels, Tensor]:
        """Pixels of a canvas and their weights [2S, S]."""
        query, examples = self._read(sample)
        example = self._one_of(examples, generator)
        ids = torch.cat([example.ids, query.ids]).unique()
        colours = draw_colours(len(ids), generator) if self.random_colours else _fixed(ids)
        canvas = CanvasPixels.of(example, query, colours)
        if _kind(sample) == SEMANTIC and _chance(self.crop_share, generator):
            canvas = canvas.cropped(
                crop_box(canvas.size, self.crop_scale, self.crop_aspect, generator)
            )
        return canvas, self._weights(canvas, _kind(sample))

    def _weights(self, canvas: CanvasPixels, kind: int) -> Tensor:
        """How much pixels count [2S, S]."""
        weights = torch.ones(canvas.size)
        if self.balance and canvas.is_painted.any():
            weights[canvas.is_painted] = _balanced(canvas) ** self.balance
        if kind == SEMANTIC:
            weights[~canvas.is_painted] = self.background_weight
        elif canvas.is_painted.float().mean() < self.least_foreground:
            weights.zero_()
        return weights.masked_fill(canvas.is_void, 0.0)

    def _masked(self, generator: torch.Generator) -> Tensor:
        """Bool [2h, w]."""
        if _chance(self.lower_half_share, generator):
            return lower_half(self.grid)
        half = math.prod(self.grid) // 2
        return block_mask(
            self.grid, half, generator, area=self.block_area, aspect=self.block_aspect
        )

    def _one_of(self, examples: Sequence[Half], generator: torch.Generator) -> Half:
        """One of the examples, or several in a grid."""
        across = math.isqrt(len(examples))
        count = across**2 if across > 1 and _chance(self.grid_share, generator) else 1
        order = torch.randperm(len(examples), generator=generator)[:count].tolist()
        return Half.in_grid([examples[number] for number in order])

    def _read(self, sample: Sample) -> tuple[Half, list[Half]]:
        """The query and its examples.

        Raises:
            ValueError: There are none, they say nothing of the query, or the size is another.
        """
        if sample.ids is None or not sample.examples or any(
            example.ids is None for example in sample.examples
        ):  # fmt: skip
            raise ValueError(
                "learning from examples needs samples with examples, whose masks have ids: "
                "INPUT.DATASET_MAPPER_NAME in_context makes them"
            )
        size = (self.side, self.side)
        images = [sample.image, *(example.image for example in sample.examples)]
        sizes = {tuple(image.shape[-2:]) for image in images}
        if sizes != {size}:
            found = ", ".join(f"{height}x{width}" for height, width in sorted(sizes))
            raise ValueError(f"wanted images of {self.side}x{self.side} pixels, got {found}")
        void = sample.void
        if void is None:
            void = torch.zeros(1 + len(sample.examples), *size, dtype=torch.bool)
        masks = sample.target(size, torch.device("cpu")).masks.bool()
        return (
            Half(sample.image, masks, sample.ids, void[0]),
            [
                Half(example.image, example.masks, example.ids, unknown)  # type: ignore[arg-type]
                for example, unknown in zip(sample.examples, void[1:])
            ],
        )


def _kind(sample: Sample) -> int:
    return INSTANCE if sample.task == Task.INSTANCE else SEMANTIC


def _fixed(ids: Tensor) -> Tensor:
    """A colour uint8 [M, 3] of every id, always the same."""
    generators = [torch.Generator().manual_seed(number) for number in ids.tolist()]
    return torch.cat([draw_colours(1, each) for each in generators])


def _balanced(canvas: CanvasPixels) -> Tensor:
    """Of painted pixels [N]: the mean area of a canvas's colours by that of the pixel's own."""
    _, places, areas = canvas.target[:, canvas.is_painted].unique(
        dim=1, return_inverse=True, return_counts=True
    )
    return (areas.float().mean() / areas)[places]


def _chance(share: float, generator: torch.Generator) -> bool:
    """Whether what happens with this probability happens."""
    return bool(torch.rand((), generator=generator) < share)
