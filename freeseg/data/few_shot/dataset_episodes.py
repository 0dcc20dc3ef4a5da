"""Episodes out of any annotated data set: a class, a photo that shows it, and others that do.

Shapes: H W size of a query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils import data as torch_data

from detectron2.data import transforms as T
from freeseg.data.context_views import View, read_view
from freeseg.data.few_shot.loader import BACKGROUND, VOID_PIXEL
from freeseg.data.pairs import Pair, PairDataset, PairSet
from freeseg.data.photos import PhotoReader
from freeseg.images import order_channels
from freeseg.structures import LABEL_MAP_KEY, Vocabulary

LEAST_PHOTOS = 2  # that show a class


@dataclass(frozen=True)
class PairEpisodes:
    """Turns a pair of `freeseg.data.pairs` into an input of few-shot evaluations.

    Attributes:
        image_format: Channel order, "RGB" or "BGR".
        side: Photos are resized to squares of this; 0 leaves them as they are.
        background: Text for all that is not the class.
        ignore_label: Of semantic maps.
        reader: Reads the photos.
    """

    image_format: str = "RGB"
    side: int = 0
    background: str = BACKGROUND
    ignore_label: int = 255
    reader: PhotoReader = field(default_factory=PhotoReader)

    def __call__(self, pair: Pair) -> dict[str, Any]:
        """As `freeseg.data.few_shot.EpisodeMapper` gives it."""
        image, truth = self._read(pair.record, pair.label)
        name = pair.vocabulary.names[pair.label]
        supports = [
            dict(zip(("image", "mask"), self._read(r, pair.label))) for r in pair.references
        ]
        return {
            "file_name": pair.record["file_name"],
            "class_id": pair.label,
            "image": image,
            "height": image.shape[1],
            "width": image.shape[2],
            "truth": truth,
            "supports": supports,
            "vocabulary": Vocabulary((self.background, name), (False, True)),
            "tasks": ("semantic",),
            LABEL_MAP_KEY: True,
        }

    def _read(self, record: Mapping[str, Any], label: int) -> tuple[torch.Tensor, torch.Tensor]:
        augmentations = [T.Resize((self.side, self.side))] if self.side else []
        view: View = read_view(
            record,
            "semantic",
            augmentations=T.AugmentationList(augmentations),
            reader=self.reader,
            ignore_label=self.ignore_label,
        )
        truth = view.masks[view.labels == label].any(0).astype(np.uint8)
        truth[view.is_void] = VOID_PIXEL
        pixels = order_channels(view.image, self.image_format).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(truth)


class DatasetEpisodes(torch_data.Dataset):  # type: ignore[type-arg]
    """Episodes of a data set: of a class, a photo that shows it, then others that do.

    The same arguments give the same episodes.
    """

    def __init__(
        self,
        pairs: PairSet,
        mapper: PairEpisodes,
        *,
        shots: int,
        count: int,
        seed: int,
        walks: bool = False,
    ) -> None:
        """Defines them.

        Args:
            pairs: The set; only classes are drawn that more than `shots` photos show.
            mapper: From a pair to an episode.
            shots: Supports of an episode.
            count: Episodes.
            seed: Of all draws.
            walks: Go through the classes in turn; else each episode draws one.

        Raises:
            ValueError: No class has as many photos.
        """
        usable = with_photos(pairs, shots)
        self.classes = {label: pairs.vocabulary.names[label] for label in usable.places}
        self._count, self._shots = count, shots
        sets = [usable]
        if walks:
            sets = [replace(usable, places={label: usable.places[label]}) for label in self.classes]
        self._pairs = [
            PairDataset(
                [each], mapper, seed, num_references=max(shots, 1), same_photo_probability=0.0
            )
            for each in sets
        ]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> dict[str, Any]:
        if not 0 <= position < self._count:
            raise IndexError(position)
        episode: dict[str, Any] = self._pairs[position % len(self._pairs)][position]
        return {**episode, "supports": episode["supports"][: self._shots]}


def with_photos(pairs: PairSet, shots: int) -> PairSet:
    """A set by those classes that more than `shots` photos show, and two at least.

    Raises:
        ValueError: There is none.
    """
    needed = max(shots + 1, LEAST_PHOTOS)
    places = {label: rows for label, rows in pairs.places.items() if len(rows) >= needed}
    if not places:
        raise ValueError(f"{pairs.name}: no class has the {needed} photos of an episode")
    return replace(pairs, places=places)


def class_numbers(vocabulary: Vocabulary, names: Sequence[str]) -> list[int] | None:
    """Labels of classes by their names; None, which is all, of none.

    Raises:
        ValueError: The set has no such class; lists those that it has.
    """
    unknown = [name for name in names if name not in vocabulary.names]
    if unknown:
        raise ValueError(
            f"no class {', '.join(map(repr, unknown))}; there are {', '.join(vocabulary.names)}"
        )
    return [vocabulary.names.index(name) for name in names] or None
