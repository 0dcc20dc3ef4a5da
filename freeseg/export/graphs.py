"""What of a meta-architecture becomes a program: from normalised, padded images to logits.

Shapes: B images, Q queries, K classes, T texts, C channels, H W padded image size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from freeseg.meta_arch import LSeg, Mask2Former, OneFormer
from freeseg.structures import ImageFeatures, MaskPrediction, Vocabulary


class ExportedGraph(nn.Module):
    """A model as a function of images [B, 3, H, W], 0..255, to tensors in a fixed order.

    H and W are multiples of the model's size divisibility. Subclasses say what the tensors are.

    Attributes:
        output_names: Of the tensors.
    """

    output_names: tuple[str, ...] = ()

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def size_divisibility(self) -> int:
        return max(int(getattr(self.model, "size_divisibility", 1)), 1)

    def encode(self, images: Tensor) -> Mapping[str, Tensor]:
        """Backbone maps of images."""
        return self.model.backbone((images - self.model.pixel_mean) / self.model.pixel_std)


Builder = Callable[[Any, str, Vocabulary | None], ExportedGraph]
_builders: dict[type, Builder] = {}


def register_graph(meta_arch: type, build: Builder) -> None:
    """Makes a meta-architecture and its subclasses exportable.

    Args:
        meta_arch: The class of the model.
        build: Takes a model, the task it is exported for ("" for the model's own), and the class
            list (None for the model's own).
    """
    _builders[meta_arch] = build


def build_graph(
    model: nn.Module, task: str = "", vocabulary: Vocabulary | None = None
) -> ExportedGraph:
    """The graph of a model.

    Args:
        model: Of a registered meta-architecture, or a subclass of one.
        task: Of models that are told one: "semantic", "instance" or "panoptic".
        vocabulary: Of models that take class lists; None for the model's own.

    Raises:
        ValueError: When its kind is not registered, or cannot do what is asked.
    """
    for kind in type(model).__mro__:
        if kind in _builders:
            return _builders[kind](model, task, vocabulary).eval()
    known = ", ".join(sorted(kind.__name__ for kind in _builders))
    raise ValueError(
        f"{type(model).__name__} has no graph to export, known are {known}; "
        "freeseg.export.register_graph adds one"
    )


@dataclass(frozen=True)
class TracedFeatures(ImageFeatures):
    """Image features whose batch size may be a symbol."""

    def __post_init__(self) -> None:
        """Compares nothing: a symbol cannot be in a set."""

    @property
    def batch_size(self) -> int:
        return self.mask_features.shape[0]


class MaskGraph(ExportedGraph):
    """Mask2Former's final prediction: classes of queries, and their masks at a quarter size."""

    output_names = ("class_logits", "mask_logits")  # [B, Q, K+1], [B, Q, H/4, W/4]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of images [B, 3, H, W]."""
        head = self.model.sem_seg_head
        mask_features, levels = head.pixel_decoder(self.encode(images))
        size = (images.shape[-2], images.shape[-1])
        prediction = self.decode(TracedFeatures(tuple(levels), mask_features, size, ()))
        return prediction.class_logits, prediction.mask_logits

    def decode(self, features: ImageFeatures) -> MaskPrediction:
        """The final prediction."""
        return self.model.sem_seg_head.final(features)


class TaskGraph(MaskGraph):
    """OneFormer's under one task, whose token is part of the program."""

    task_token: Tensor

    def __init__(self, model: OneFormer, task: str) -> None:
        super().__init__(model)
        token = model.embed_tasks([task or "panoptic"]).detach()  # [1, C]
        self.register_buffer("task_token", token)

    def decode(self, features: ImageFeatures) -> MaskPrediction:
        tokens = self.task_token.expand(features.batch_size, -1)
        return self.model.sem_seg_head.final(features, tokens)


class PixelGraph(ExportedGraph):
    """LSeg's logits of one class list, which is part of the program; the text encoder is not."""

    output_names = ("class_logits",)  # [B, K, H/2, W/2]

    text_matrix: Tensor
    length_matrix: Tensor

    def __init__(self, model: LSeg, vocabulary: Vocabulary) -> None:
        super().__init__(_ImageSide(model))
        head = model.sem_seg_head
        self.rows = [vocabulary.text_rows([label]) for label in range(len(vocabulary))]
        with torch.no_grad():
            self.register_buffer("text_matrix", head.text_matrix(model.text(vocabulary)))
            self.register_buffer("length_matrix", head.length_matrix())

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Logits of images [B, 3, H, W]."""
        head = self.model.sem_seg_head
        pixels = head.pixels(self.encode(images))  # [B, C+1, H/4, W/4]
        lengths = head.lengths(pixels, self.length_matrix)
        logits = head.cosines(pixels, lengths, self.text_matrix)  # [B, T, H/2, W/2]
        if len(self.rows) < logits.shape[1]:  # a class with synonyms has its best one's
            logits = torch.stack([logits[:, rows].amax(1) for rows in self.rows], dim=1)
        return (head.regularise(logits),)  # [B, K, H/2, W/2]


class _ImageSide(nn.Module):
    """What of a model a program of images needs."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model: LSeg) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.sem_seg_head = model.sem_seg_head
        self.size_divisibility = model.size_divisibility
        self.register_buffer("pixel_mean", model.pixel_mean)
        self.register_buffer("pixel_std", model.pixel_std)


def _queries(model: Any, task: str, vocabulary: Vocabulary | None) -> ExportedGraph:
    if getattr(model, "takes_vocabulary", False):
        raise ValueError(f"{type(model).__name__} takes class lists, which cannot be exported yet")
    if vocabulary is not None:
        raise ValueError(f"{type(model).__name__} has classes of its own, it takes no class list")
    return TaskGraph(model, task) if isinstance(model, OneFormer) else MaskGraph(model)


def _pixels(model: LSeg, task: str, vocabulary: Vocabulary | None) -> ExportedGraph:
    if task not in ("", "semantic"):
        raise ValueError(f"{type(model).__name__} answers semantic, not {task}")
    return PixelGraph(model, vocabulary or model.vocabulary)


register_graph(Mask2Former, _queries)
register_graph(OneFormer, _queries)
register_graph(LSeg, _pixels)
