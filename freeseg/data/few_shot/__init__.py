"""Few- and zero-shot benchmarks in the layout of the common protocol (HSNet, arXiv 2104.01538)."""

from __future__ import annotations

from freeseg.data.few_shot.benchmark import Benchmark, folder_benchmark, load_benchmark
from freeseg.data.few_shot.dataset_episodes import (
    DatasetEpisodes,
    PairEpisodes,
    class_numbers,
    with_photos,
)
from freeseg.data.few_shot.episodes import Episode, Example, sample_episodes
from freeseg.data.few_shot.layouts import find_examples, read_mask
from freeseg.data.few_shot.loader import EpisodeMapper, build_episode_loader

__all__ = [
    "Benchmark",
    "DatasetEpisodes",
    "Episode",
    "EpisodeMapper",
    "Example",
    "PairEpisodes",
    "build_episode_loader",
    "class_numbers",
    "find_examples",
    "folder_benchmark",
    "load_benchmark",
    "read_mask",
    "sample_episodes",
    "with_photos",
]
