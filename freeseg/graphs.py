"""What of a system becomes a program: from padded images to logits.

Shapes: B images, Q queries, K classes, H W padded image size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from freeseg.structures import MaskPrediction, PyramidFeatures, Vocabulary


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


def register_graph(system: type, build: Builder) -> None:
    """Makes a system and its subclasses exportable.

    Args:
        system: The class of the model.
        build: Takes a model, the task it is exported for ("" for the model's own), and the class
            list (None for the model's own).
    """
    _builders[system] = build


def build_graph(
    model: nn.Module, task: str = "", vocabulary: Vocabulary | None = None
) -> ExportedGraph:
    """The graph of a model.

    Args:
        model: Of a registered system, or a subclass of one.
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


@dataclass(frozen=True, eq=False)
class TracedFeatures(PyramidFeatures):
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
        prediction = self.decode(TracedFeatures((), tuple(levels), mask_features))
        return prediction.class_logits, prediction.mask_logits

    def decode(self, features: PyramidFeatures) -> MaskPrediction:
        """The final prediction."""
        return self.model.sem_seg_head.final(features)


def refuse_classes(model: Any, vocabulary: Vocabulary | None) -> None:
    """Refuses a class list for a model that has its own.

    Raises:
        ValueError: There is one.
    """
    if vocabulary is not None:
        raise ValueError(f"{type(model).__name__} has classes of its own, it takes no class list")
