"""What of a meta-architecture becomes a program: from normalised, padded images to logits.

Shapes: B images, Q queries, K classes, H W padded image size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from torch import Tensor, nn

from freeseg.meta_arch import Mask2Former, OneFormer
from freeseg.structures import ImageFeatures, MaskPrediction


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


Builder = Callable[[Any, str], ExportedGraph]
_builders: dict[type, Builder] = {}


def register_graph(meta_arch: type, build: Builder) -> None:
    """Makes a meta-architecture and its subclasses exportable.

    Args:
        meta_arch: The class of the model.
        build: Takes a model and the task it is exported for ("" for the model's own).
    """
    _builders[meta_arch] = build


def build_graph(model: nn.Module, task: str = "") -> ExportedGraph:
    """The graph of a model.

    Args:
        model: Of a registered meta-architecture, or a subclass of one.
        task: Of models that are told one: "semantic", "instance" or "panoptic".

    Raises:
        ValueError: When its kind is not registered.
    """
    for kind in type(model).__mro__:
        if kind in _builders:
            return _builders[kind](model, task).eval()
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


def _closed_set(model: Any, task: str) -> ExportedGraph:
    if getattr(model, "takes_vocabulary", False):
        raise ValueError(f"{type(model).__name__} takes class lists, which cannot be exported yet")
    return MaskGraph(model)


register_graph(Mask2Former, _closed_set)
register_graph(OneFormer, TaskGraph)
