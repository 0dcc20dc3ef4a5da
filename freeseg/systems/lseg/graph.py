"""The program of LSeg for one class list.

Shapes: B images, K classes, T texts, C channels, H W padded image size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from freeseg.graphs import ExportedGraph
from freeseg.structures import Vocabulary
from freeseg.systems.lseg.system import LSeg


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


def build_graph(model: LSeg, task: str, vocabulary: Vocabulary | None) -> ExportedGraph:
    """Logits of pixels, of the model's own classes where no list is given.

    Raises:
        ValueError: For another task.
    """
    if task not in ("", "semantic"):
        raise ValueError(f"{type(model).__name__} answers semantic, not {task}")
    return PixelGraph(model, vocabulary or model.vocabulary)
