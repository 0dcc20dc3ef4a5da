"""SegGPT (Wang et al., ICCV 2023, arXiv 2304.03284): what examples show, painted into a photo.

Shapes: B images, R objects, n examples, S side of a square, H W photo size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.config import completed
from freeseg.inference import PhotoInput
from freeseg.inference.objects import objects_of_masks
from freeseg.names import register
from freeseg.structures import (
    Frame,
    Prompt,
    Request,
    Sample,
    SegmentationResult,
    Takes,
    Task,
)
from freeseg.systems.seggpt.colours import MOST_COLOURS, read_colours
from freeseg.systems.seggpt.config import context_training, painting_sizes, seggpt_settings
from freeseg.systems.seggpt.examples import (
    AnyExample,
    ObjectBook,
    PaintedExamples,
    PaintedPass,
    Painter,
)
from freeseg.systems.seggpt.features import CanvasFeatures
from freeseg.systems.seggpt.network import PaintingNetwork, PaintingSizes, mean_edge
from freeseg.systems.seggpt.training import INSTANCE, SEMANTIC, ContextTraining, painting_loss
from freeseg.systems.system import PreparedImages, SegmentationSystem

ENSEMBLES = ("feature", "spatial")


@register(META_ARCH_REGISTRY)
class SegGPT(SegmentationSystem[CanvasFeatures]):
    """A network that paints the photo below as the example above it is painted."""

    vocabulary = None
    answers: Mapping[Task, Takes] = {Task.OBJECT: Takes(needs=frozenset({"examples"}))}

    @configurable
    def __init__(
        self,
        *,
        sizes: PaintingSizes,
        photo_input: PhotoInput,
        training: ContextTraining,
        ensemble: str = "feature",
        max_colours: int = 8,
        loss: str = "smooth_l1",
        ignore_label: int = 255,
    ) -> None:
        """Builds it.

        Args:
            sizes: Of the network.
            photo_input: How photos become squares.
            training: How canvases are made of annotated pairs.
            ensemble: How several examples are shown: "feature", each above a canvas, the canvases
                averaged in every block, or "spatial", in a grid above one.
            max_colours: Objects that are painted at once.
            loss: See `painting_loss`.
            ignore_label: Of pixels without annotation in ``sem_seg``.

        Raises:
            ValueError: The ensemble is unknown, there are no or not so many colours, or photos are
                not RGB.
        """
        super().__init__(photo_input=photo_input, tasks=(Task.OBJECT,), ignore_label=ignore_label)
        if ensemble not in ENSEMBLES:
            raise ValueError(f"an ensemble is {' or '.join(ENSEMBLES)}, got {ensemble!r}")
        if photo_input.image_format != "RGB":
            raise ValueError("SegGPT tells colours apart in RGB: INPUT.FORMAT must say so")
        if not 1 <= max_colours <= MOST_COLOURS:
            raise ValueError(f"max_colours must be from 1 to {MOST_COLOURS}, got {max_colours}")
        network = PaintingNetwork(sizes)
        for name, part in (*network.named_children(), *network.named_parameters(recurse=False)):
            setattr(self, name, part)  # under the release's names
        self._networks = [network]  # a list: it is no part beside its parts
        self.context_training = training
        self.ensemble = ensemble
        self.max_colours = max_colours
        self.loss = loss

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = completed(cfg)
        return {
            "sizes": painting_sizes(cfg),
            "photo_input": PhotoInput.from_config(cfg),
            "training": context_training(cfg),
            "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
            **seggpt_settings(cfg),
        }

    @property
    def network(self) -> PaintingNetwork:
        """All that has weights."""
        return self._networks[0]

    def check(self, requests: Sequence[Request]) -> None:
        """Refuses what SegGPT does not answer, and objects that no example shows.

        Raises:
            ValueError: See above.
        """
        super().check(requests)
        for prompt in (request.prompt for request in requests):
            enrolled = prompt.enrolled
            if enrolled is not None and not isinstance(enrolled, PaintedExamples):
                raise ValueError(f"these examples were enrolled by {enrolled.system}, not SegGPT")
            ids = ObjectBook.read(prompt.examples).ids if enrolled is None else enrolled.ids
            for row, number in enumerate(prompt.example_ids or ()):
                if number not in ids:
                    raise ValueError(f"object {row} has no example: no mask has the id {number}")

    def prepare(
        self, images: Sequence[Tensor], frames: Sequence[Frame] | None = None
    ) -> PreparedImages:
        """Squeezes images that are no squares of the right size, and normalises them.

        Raises:
            ValueError: A frame is of a part of a photo.
        """
        frames = frames or [Frame.of_whole((x.shape[-2], x.shape[-1])) for x in images]
        squares = [self._square(image) for image in images]
        side = self.network.sizes.side
        whole = [
            Frame(frame.photo_size, (side, side), (side, side), frame.window) for frame in frames
        ]
        return super().prepare(squares, whole)

    def encode(self, prepared: PreparedImages) -> CanvasFeatures:
        """Embedded patches; a photo sees the examples from the first block on."""
        return CanvasFeatures(prepared.frames, self.network.patches(prepared.pixels))

    def enroll(self, examples: Sequence[AnyExample]) -> PaintedExamples:
        """What is the same of examples for all photos: their patches, and the target stream.

        Args:
            examples: Any number of them; the order does not count.

        Raises:
            ValueError: They do not go together.
        """
        book, painter = ObjectBook.read(examples), self._painter()
        kind = INSTANCE if book.vocabulary is None else SEMANTIC
        passes = []
        for objects in painter.passes(examples, book):
            colours = painter.colours(examples, book, objects)
            photos, targets = painter.pictures(examples, book, objects, colours)
            passes.append(self._enrolled_pass(objects, colours, photos, targets, kind))
        return PaintedExamples("SegGPT", book.ids, book.labels, book.vocabulary, tuple(passes))

    def _enrolled_pass(
        self, objects: tuple[int, ...], colours: Tensor, photos: Tensor, targets: Tensor, kind: int
    ) -> PaintedPass:
        patches, stream = self.network.patches(photos), self.network.target_stream(targets, kind)
        return PaintedPass(objects, colours, patches, stream, kind)

    def paint(self, painted: PaintedPass, patches: Tensor) -> Tensor:
        """Paintings [B, 3, S, S], RGB 0..255 and a little beyond, of photos under one set.

        Args:
            painted: Of `enroll`.
            patches: Of B photos, [B, h, w, C]; they do not feel each other.
        """
        network = self.network
        photos = network.photo_stream(painted.photos, patches[:, None], painted.kind)
        taps = network.after_merge(network.merged(painted.targets, photos), upper_rows=1)
        found = network.decode(taps.lower[:, 0], mean_edge(taps))
        return self.colours_of(found)

    def colours_of(self, normalised: Tensor) -> Tensor:
        """RGB 0..255 [..., 3, S, S] of what the network paints, not cut off."""
        return normalised * self.pixel_std + self.pixel_mean

    def answer(
        self, features: CanvasFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Results of requests about encoded images; those with the same examples go together."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, request in enumerate(requests):
            prompt = request.prompt
            shown = (prompt.enrolled,) if prompt.enrolled is not None else prompt.examples
            groups.setdefault(tuple(map(id, shown)), []).append(number)
        results: dict[int, SegmentationResult] = {}
        for numbers in groups.values():
            some = [requests[number] for number in numbers]
            results.update(zip(numbers, self._answer_alike(features, some)))
        return [results[number] for number in range(len(requests))]

    def _answer_alike(
        self, features: CanvasFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Of requests with one set of examples."""
        prompt = requests[0].prompt
        enrolled = prompt.enrolled or self.enroll(prompt.examples)
        assert isinstance(enrolled, PaintedExamples)
        patches = features.patches[[request.index for request in requests]]
        paintings = [self.paint(each, patches) for each in enrolled.passes]
        return [
            self._result(enrolled, [each[row] for each in paintings], features, request)
            for row, request in enumerate(requests)
        ]

    def _result(
        self,
        enrolled: PaintedExamples,
        paintings: Sequence[Tensor],
        features: CanvasFeatures,
        request: Request,
    ) -> SegmentationResult:
        """Objects of one photo, from a painting of every pass."""
        size = features.frames[request.index].photo_size
        places, scores = _read_passes(enrolled, paintings, size)
        ids = _wanted(request.prompt, enrolled)
        rows = torch.tensor([enrolled.ids.index(number) for number in ids], device=places.device)
        masks = places == rows.view(-1, 1, 1)
        areas = masks.flatten(1).sum(1)
        sums = (scores * masks).flatten(1).sum(1)
        labels = None
        if enrolled.labels is not None:
            labels = torch.tensor(enrolled.labels, device=places.device)[rows.long()]
        found = objects_of_masks(masks, sums / areas.clamp(min=1), labels)
        certainty = float(scores.mean()) if request.wants.certainty else None
        return SegmentationResult(
            objects=found, vocabulary=enrolled.vocabulary, certainty=certainty
        )

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Of pairs that are painted in colours drawn anew for each; see `ContextTraining`."""
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        canvases = self.context_training(samples, generator).to(self.device)
        painted = self.network(canvases.images, canvases.targets, canvases.masked, canvases.kinds)
        weights = canvases.hidden_weights
        return {"loss_paint": painting_loss(painted, canvases.targets, weights, self.loss)}

    def _square(self, image: Tensor) -> Tensor:
        """An image [3, h, w] as the network reads it: [3, S, S]."""
        side = self.network.sizes.side
        if image.shape[-2:] == (side, side):
            return image
        pixels = image.detach().cpu().float().round().clamp(0, 255).to(torch.uint8)
        photo = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        square = photo.resize((side, side), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(square).transpose(2, 0, 1).copy())

    def _painter(self) -> Painter:
        return Painter(
            type(self).__name__,
            self.network.sizes.side,
            self._square,
            lambda pixels: (pixels.to(self.device) - self.pixel_mean) / self.pixel_std,
            self.device,
            self.max_colours,
            self.ensemble == "spatial",
        )


def _read_passes(
    enrolled: PaintedExamples, paintings: Sequence[Tensor], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Object int64 [H, W] of every pixel, -1 for none, and its score; of passes the surest says.

    Where every pass sees background, the score is that of the least sure one.
    """
    places, scores = [], []
    for painted, painting in zip(enrolled.passes, paintings):
        large = F.interpolate(painting[None], size, mode="bilinear", align_corners=False)[0]
        found, score = read_colours(large, painted.colours)
        of_colour = torch.tensor([*painted.objects, -1], device=found.device)
        places.append(of_colour[found])
        scores.append(score)
    if not places:  # examples that show nothing
        return torch.full(size, -1), torch.ones(size)
    place, score = torch.stack(places), torch.stack(scores)
    is_object = place >= 0
    best = torch.where(is_object, score, -score).argmax(0, keepdim=True)
    return place.gather(0, best)[0], score.gather(0, best)[0]


def _wanted(prompt: Prompt, enrolled: PaintedExamples) -> Sequence[int]:
    """The id of every row."""
    if prompt.example_ids is None:
        return enrolled.ids
    return [number for number in prompt.example_ids if number is not None]
