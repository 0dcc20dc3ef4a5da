"""Episodes as model inputs, for models that read texts and for those that look at examples.

Shapes: H W size of the query, S support images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils import data as torch_data

from freeseg.data.few_shot.benchmark import Benchmark
from freeseg.data.few_shot.episodes import Episode, Example
from freeseg.data.few_shot.layouts import read_mask
from freeseg.data.photos import PhotoReader
from freeseg.images import order_channels
from freeseg.structures import LABEL_MAP_KEY, Vocabulary

BACKGROUND = "others"  # what LSeg's release calls all that is not the class
VOID_PIXEL = 255  # of truth: nobody knows
PROTOCOL_SIDE = 480  # the protocol judges at this size, squares whatever the image's shape


@dataclass(frozen=True)
class EpisodeMapper:
    """Turns an episode into one model input.

    Attributes:
        benchmark: Reads masks and names classes.
        image_format: Channel order, "RGB" or "BGR".
        side: Queries and supports are resized to squares of this; 0 leaves them as they are.
        background: Text for all that is not the class.
        uses_release_texts: Call classes as LSeg's release does, for its published weights.
        reader: Reads the photos.
    """

    benchmark: Benchmark
    image_format: str = "RGB"
    side: int = PROTOCOL_SIDE
    background: str = BACKGROUND
    uses_release_texts: bool = False
    reader: PhotoReader = field(default_factory=PhotoReader)

    def __call__(self, episode: Episode) -> dict[str, Any]:
        """``image`` [3, H, W] of the query and its ``truth`` uint8 [H, W] in {0, 1, 255}.

        For models that read, ``vocabulary`` has the background and the class, in this order. For
        models that look, ``supports`` has images [3, H, W] and masks uint8 [H, W].
        """
        class_id = episode.query.class_id
        name = (
            self.benchmark.release_texts[class_id]
            if self.uses_release_texts
            else self.benchmark.text(class_id)
        )
        image, truth = self._read(episode.query)
        supports = [dict(zip(("image", "mask"), self._read(one))) for one in episode.supports]
        return {
            "file_name": str(episode.query.image),
            "class_id": class_id,
            "image": image,
            "height": image.shape[1],
            "width": image.shape[2],
            "truth": truth,
            "supports": supports,
            "vocabulary": Vocabulary((self.background, name), (False, True)),
            "tasks": ("semantic",),
            LABEL_MAP_KEY: True,
        }

    def _read(self, example: Example) -> tuple[Tensor, Tensor]:
        labels = read_mask(self.benchmark, example)
        mask = Image.fromarray(labels)
        photo = self.reader.read_file(example.image, labels.shape[:2])
        pixels = Image.fromarray(order_channels(photo, self.image_format))
        if mask.size != pixels.size:
            raise ValueError(f"{example.mask} is {mask.size} pixels, {example.image} {pixels.size}")
        if self.side:
            pixels = pixels.resize((self.side, self.side), Image.Resampling.BILINEAR)
            mask = mask.resize((self.side, self.side), Image.Resampling.NEAREST)
        image = torch.from_numpy(np.array(pixels).transpose(2, 0, 1).copy())  # [3, H, W]
        return image, torch.from_numpy(np.array(mask))  # [H, W]


class _Episodes(torch_data.Dataset):  # type: ignore[type-arg]
    def __init__(self, episodes: Sequence[Episode], mapper: EpisodeMapper) -> None:
        self._episodes, self._mapper = episodes, mapper

    def __len__(self) -> int:
        return len(self._episodes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._mapper(self._episodes[index])


def build_episode_loader(
    episodes: Sequence[Episode], mapper: EpisodeMapper, num_workers: int = 0
) -> Any:
    """A loader of batches of one episode each, in their order, for ``inference_on_dataset``."""
    return one_by_one(_Episodes(episodes, mapper), num_workers)


def one_by_one(episodes: torch_data.Dataset[Any], num_workers: int = 0) -> Any:
    """A loader of batches of one, in order."""
    return torch_data.DataLoader(episodes, batch_size=1, num_workers=num_workers, collate_fn=list)
