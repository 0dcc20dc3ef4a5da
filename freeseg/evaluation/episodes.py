"""Episodes of DATASETS.TEST, by which systems are evaluated that follow examples.

Such a system knows no classes, so a photo alone asks it nothing: it is shown other photos of a set
with the masks of a class, and asked where that class is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.catalog import listed_vocabulary
from freeseg.classes import knows_classes
from freeseg.config import completed
from freeseg.data.few_shot import DatasetEpisodes, PairEpisodes, class_numbers, with_photos
from freeseg.data.few_shot.loader import BACKGROUND
from freeseg.data.mapper import shared_ignore_label
from freeseg.data.pairs import PairSet
from freeseg.data.photos import PhotoReader
from freeseg.data.records import dataset_records
from freeseg.evaluation.few_shot import FewShotEvaluator
from freeseg.names import registered

SHOWN = "examples"  # what a prompt of such a system has


@dataclass(frozen=True)
class EpisodeSettings:
    """Which episodes are made of a set.

    Attributes:
        shots: Examples of an episode.
        count: Episodes.
        seed: Of the draws.
        classes: Names of those that are drawn; empty: all that enough photos show.
        side: Photos are resized to squares of this; 0 leaves them as they are.
        background: What all else is called, for models that read.
        walks: Go through the classes in turn; else each episode draws one.
        fold: (f, n): of the classes only every n-th one from the f-th on; None: all.
    """

    shots: int = 1
    count: int = 1000
    seed: int = 0
    classes: tuple[str, ...] = ()
    side: int = 0
    background: str = BACKGROUND
    walks: bool = False
    fold: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, least in (("shots", 0), ("count", 1), ("side", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")

    def of_dataset(self, cfg: Any, name: str) -> DatasetEpisodes:
        """The episodes of a registered set.

        Args:
            cfg: How photos are read.
            name: Of the set.

        Raises:
            ValueError: It names no classes, not these, or has too few photos of each.
        """
        vocabulary, void = listed_vocabulary(name), shared_ignore_label([name])
        pairs = PairSet.of(
            name,
            dataset_records(name),
            vocabulary,
            classes=class_numbers(vocabulary, self.classes),
            ignore_label=void,
            only_shown=True,
        )
        if self.fold is not None:
            pairs = with_photos(pairs, self.shots)
            kept = list(pairs.places)[self.fold[0] :: self.fold[1]]
            pairs = replace(pairs, places={label: pairs.places[label] for label in kept})
        mapper = PairEpisodes(
            cfg.INPUT.FORMAT, self.side, self.background, void, PhotoReader.from_config(cfg)
        )
        return DatasetEpisodes(
            pairs, mapper, shots=self.shots, count=self.count, seed=self.seed, walks=self.walks
        )


def episode_settings(cfg: Any) -> EpisodeSettings | None:
    """TEST.EPISODES of a system that follows nothing but examples; None of any other."""
    cfg = completed(cfg)
    if knows_classes(cfg):
        return None
    system = registered(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE)
    if {kind for takes in system.answers.values() for kind in takes.needs} != {SHOWN}:
        return None
    node = cfg.TEST.EPISODES
    return EpisodeSettings(node.SHOTS, node.COUNT, node.SEED, tuple(node.CLASSES), node.SIDE)


def episode_evaluator(settings: EpisodeSettings, cfg: Any, name: str) -> FewShotEvaluator:
    """MIoU over the classes of a set's episodes, and over its seen and its unseen ones."""
    episodes, vocabulary = settings.of_dataset(cfg, name), listed_vocabulary(name)
    flags = vocabulary.is_seen
    seen = None if flags is None else {label: flags[label] for label in episodes.classes}
    return FewShotEvaluator(episodes.classes, seen)
