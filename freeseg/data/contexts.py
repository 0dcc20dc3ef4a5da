"""In-context samples: a query, examples that show what it shows, and which of that is asked for.

As in SegGPT's recipe (arXiv 2304.03284, section 3.1): classes are shared by two photos, or by two
views of one; instances by two views. A random part of what is shared is the context, everything
else is background. A side of a sample may be a grid of views ("mixed context").

Shapes: K examples, M objects, S side of a view.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from detectron2.config import configurable
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances
from freeseg.config import completed
from freeseg.data.augmentation import RandomColorJitter, RandomResizedCrop, build_flip
from freeseg.data.context_views import View, cropped, in_grid, read_view
from freeseg.data.loader import ENDLESS
from freeseg.data.mapper import SegmentationMapper, seeded, shared_ignore_label
from freeseg.data.mapper_registry import MAPPER_REGISTRY, Mapper, Record
from freeseg.data.pairs import Pair, PairDataset, PairSet, pair_sets
from freeseg.data.photos import PhotoReader
from freeseg.data.segment_samples import segments_of
from freeseg.structures import DATASET_KEY, EXAMPLES_KEY, IDS_KEY, VOID_KEY, Example

NAME = "in_context"
KIND_STREAM, CONTEXT_STREAM = 4, 5  # apart from those of pairs and of their views

FindSets = Callable[[Sequence[Record]], list[PairSet]]


@dataclass(frozen=True)
class Contexts:
    """What is asked for of all that a query shares with its examples.

    Attributes:
        num_examples: K.
        draws_subset: Ask for a random part, of any size; else for all.
        least_area: Share of a view that an object must fill to be seen.
        mix_probability: That an example, or the query, is a grid of views, of which a part is cut.
        mix_across: Views in a row and in a column of a grid.
    """

    num_examples: int = 1
    draws_subset: bool = True
    least_area: float = 0.0005
    mix_probability: float = 0.25
    mix_across: int = 2

    def __post_init__(self) -> None:
        for name in ("least_area", "mix_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        for name in ("num_examples", "mix_across"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")

    @property
    def cells(self) -> int:
        """Views in a grid."""
        return self.mix_across**2

    @property
    def num_references(self) -> int:
        """Records of a pair beside the first: K examples, then what fills every side's grid."""
        return self.cells * (1 + self.num_examples) - 1

    def draw(self, sides: Sequence[View], draw: np.random.Generator) -> list[int]:
        """Ids of the context; none where the sides, the query and K examples, share nothing."""
        shared = sorted(set.intersection(*(side.seen(self.least_area) for side in sides)))
        if not shared or not self.draws_subset:
            return shared
        count = int(draw.integers(1, len(shared) + 1))
        return draw.permutation(shared)[:count].tolist()


def view_augmentations(cfg: Any, side: int) -> list[T.Augmentation]:
    """Of every view, first a random part of the photo as a square; see INPUT.CONTEXT."""
    node = cfg.INPUT.CONTEXT
    crop = RandomResizedCrop(side, tuple(node.SCALE), tuple(node.ASPECT))
    jitter = RandomColorJitter(tuple(node.JITTER), node.JITTER_PROBABILITY)
    return [crop, *build_flip(cfg.INPUT.RANDOM_FLIP), jitter]


class ContextMapper:
    """Makes samples of pairs, of classes and of instances from any mix of sets.

    A sample has "image" [3, S, S], "instances" with the context's masks and their "gt_ids",
    "examples" whose masks have the same ids, "void" [1 + K, S, S], pixels of the query and of every
    example without annotation, and "task", "semantic" or "instance".
    """

    @configurable
    def __init__(
        self,
        *,
        augmentations: Sequence[T.Augmentation],
        recrop: T.Augmentation,
        contexts: Contexts,
        find_sets: FindSets,
        instance_shares: Sequence[float] = (0.5,),
        same_photo_probability: float = 0.5,
        ignore_label: int = 255,
        reader: PhotoReader | None = None,
    ) -> None:
        """Defines a mapper.

        Args:
            augmentations: Of every view; they bring it to S x S.
            recrop: Cuts a part of a grid of views, S x S.
            contexts: What is asked for.
            find_sets: The sets of records, with their classes and weights.
            instance_shares: Of samples of instances among those of a set that has classes and
                instances; one for all sets, or one for each.
            same_photo_probability: That examples of classes are views of the query's own photo.
            ignore_label: Of semantic maps.
            reader: Reads the photos; None: as INPUT's defaults say.
        """
        if not all(0 <= share <= 1 for share in instance_shares) or not instance_shares:
            raise ValueError(
                f"INPUT.CONTEXT.INSTANCE_SHARES are from 0 to 1, got {list(instance_shares)}"
            )
        self.augmentations = T.AugmentationList(list(augmentations))
        self.recrop = recrop
        self.contexts = contexts
        self.find_sets = find_sets
        self.instance_shares = tuple(instance_shares)
        self.same_photo_probability = same_photo_probability
        self.ignore_label = ignore_label
        self.reader = reader or PhotoReader()

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        cfg = completed(cfg)
        node = cfg.INPUT.CONTEXT
        if cfg.INPUT.FORMAT != "RGB":
            raise ValueError(
                f"INPUT.DATASET_MAPPER_NAME {NAME} makes RGB images, INPUT.FORMAT is "
                f"{cfg.INPUT.FORMAT}"
            )
        augmentations = view_augmentations(cfg, node.SIDE)
        return {
            "augmentations": augmentations,
            "recrop": augmentations[0],
            "contexts": Contexts(
                num_examples=node.EXAMPLES,
                draws_subset=node.SUBSETS,
                least_area=node.LEAST_AREA,
                mix_probability=node.MIX_PROBABILITY,
                mix_across=node.MIX_ACROSS,
            ),
            "find_sets": functools.partial(
                pair_sets, cfg, weights=list(node.WEIGHTS) or None, only_shown=True
            ),
            "instance_shares": tuple(node.INSTANCE_SHARES),
            "same_photo_probability": node.SAME_PHOTO,
            "ignore_label": shared_ignore_label(cfg.DATASETS.TRAIN),
            "reader": PhotoReader.from_config(cfg),
        }

    def make_dataset(self, records: Sequence[Record], seed: int) -> ContextDataset:
        """Samples by position.

        Args:
            records: Of the training sets.
            seed: Of the run.

        Raises:
            ValueError: As `pair_sets`; the shares are of another number of sets; a set of which
                only instances are wanted has none.
        """
        sets = self.find_sets(records)
        shares = self.instance_shares * (len(sets) if len(self.instance_shares) == 1 else 1)
        if len(shares) != len(sets):
            raise ValueError(
                f"{len(shares)} INPUT.CONTEXT.INSTANCE_SHARES for {len(sets)} sets: "
                f"{', '.join(each.name for each in sets)}"
            )
        kinds = []
        for each, share in zip(sets, shares):
            instances = _instances_of(each) if share > 0 else None
            if instances is None and share == 1:
                raise ValueError(
                    f"{each.name} has no instances, and INPUT.CONTEXT.INSTANCE_SHARES asks for "
                    "nothing else of it"
                )
            share = 0.0 if instances is None else share
            if share < 1:
                kinds.append((each.weight * (1 - share), self._pairs("semantic", each, seed)))
            if instances is not None:
                kinds.append((each.weight * share, self._pairs("instance", instances, seed)))
        return ContextDataset([pairs for _, pairs in kinds], [weight for weight, _ in kinds], seed)

    def _pairs(self, task: str, pairs: PairSet, seed: int) -> PairDataset:
        return PairDataset(
            [pairs],
            functools.partial(self.sample, task=task),
            seed,
            num_references=self.contexts.num_references,
            same_photo_probability=1.0 if task == "instance" else self.same_photo_probability,
        )

    def sample(self, pair: Pair, *, task: str) -> Record | None:
        """The sample of a pair; None where its views share nothing.

        Args:
            pair: With `Contexts.num_references` references: K examples, then further cells of the
                query's grid, then of every example's.
            task: "semantic" or "instance".
        """
        key = [pair.record["seed"], pair.position, CONTEXT_STREAM]
        draw = np.random.default_rng(np.random.SeedSequence(key))
        number = self.contexts.num_examples
        more = self.contexts.cells - 1
        further = pair.references[number:]
        sides = [
            self._side([first, *further[place * more :][:more]], task, draw)
            for place, first in enumerate((pair.record, *pair.references[:number]))
        ]
        context = self.contexts.draw(sides, draw)
        if not context:
            return None
        return _written([side.only(context) for side in sides], pair, task)

    def _side(self, records: Sequence[Record], task: str, draw: np.random.Generator) -> View:
        """A view of the first record, or a part of a grid of views of all."""
        is_mixed = draw.random() < self.contexts.mix_probability
        seed = int(draw.integers(2**32))
        views = [self._view(record, task) for record in (records if is_mixed else records[:1])]
        if len(views) == 1:
            return views[0]
        with seeded(seed, records[0]["position"]):
            return cropped(in_grid(views), self.recrop)

    def _view(self, record: Record, task: str) -> View:
        return read_view(
            record,
            task,
            augmentations=self.augmentations,
            reader=self.reader,
            ignore_label=self.ignore_label,
        )


class ContextDataset(torch_data.Dataset):  # type: ignore[type-arg]
    """The sample at a position: of classes or instances of a set, drawn by their weights.

    A pair that cannot be used is drawn anew from the same set, so that weights stay what they are.
    """

    def __init__(self, kinds: Sequence[PairDataset], weights: Sequence[float], seed: int) -> None:
        self._kinds = tuple(kinds)
        self._bounds = np.cumsum(weights)[:-1] / np.sum(weights)  # between the kinds, in 0..1
        self._seed = seed

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, position: int) -> Any:
        key = np.random.SeedSequence([self._seed, int(position), KIND_STREAM])
        drawn = np.random.default_rng(key).random()
        return self._kinds[int(np.searchsorted(self._bounds, drawn, side="right"))][position]


def _instances_of(pairs: PairSet) -> PairSet | None:
    """The set by its instances; None where it has none."""
    records = [record for record in pairs.records if segments_of(record, "instance", ())]
    if not records:
        return None
    return PairSet.of(pairs.name, records, pairs.vocabulary, task="instance", only_shown=True)


def _written(sides: Sequence[View], pair: Pair, task: str) -> Record:
    """The sample of a query and its examples."""
    query, *examples = sides
    instances = Instances(query.is_void.shape)
    instances.gt_classes = torch.from_numpy(query.labels)
    instances.gt_masks = BitMasks(torch.from_numpy(query.masks))
    instances.set(IDS_KEY, torch.from_numpy(query.ids))
    return {
        "file_name": pair.record["file_name"],
        DATASET_KEY: pair.set_name,
        "task": task,
        "image": _channels_first(query),
        "instances": instances,
        EXAMPLES_KEY: tuple(
            Example(
                _channels_first(example),
                torch.from_numpy(example.masks),
                labels=torch.from_numpy(example.labels),
                vocabulary=pair.vocabulary,
                ids=torch.from_numpy(example.ids),
            )
            for example in examples
        ),
        VOID_KEY: torch.from_numpy(np.stack([side.is_void for side in sides])),
    }


def _channels_first(view: View) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(view.image.transpose(2, 0, 1)))  # [3, S, S]


def build_context_mapper(cfg: Any, is_train: bool) -> Mapper | ContextMapper:
    """The mapper; test photos are those of every other."""
    return ContextMapper(cfg) if is_train else SegmentationMapper(cfg, False)


MAPPER_REGISTRY._do_register(NAME, build_context_mapper)
