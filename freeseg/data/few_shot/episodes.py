"""Episodes: one query image, one class, and as many annotated examples as there are shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from freeseg.data.few_shot.benchmark import Benchmark


@dataclass(frozen=True)
class Example:
    """An image in which a class is annotated."""

    image: Path
    mask: Path
    class_id: int


@dataclass(frozen=True)
class Episode:
    """What a model is asked: where in the query image is what the supports show, or a text says.

    The supports are of the query's class and none of them is the query.
    """

    query: Example
    supports: tuple[Example, ...] = ()


def sample_episodes(
    benchmark: Benchmark,
    examples: Sequence[Example],
    *,
    shots: int = 0,
    seed: int = 0,
    count: int | None = None,
) -> list[Episode]:
    """Episodes of a fold, the same for equal arguments on every machine.

    As in the protocol: PASCAL-5i and FSS-1000 walk through the list of examples, PASCAL-5i again
    from its start until there are enough; COCO-20i draws a class, then one of its images.

    Args:
        benchmark: Says how queries are chosen.
        examples: Of the fold's classes.
        shots: Supports of an episode; 0 for what is told by text.
        seed: Of the draws.
        count: Episodes; None: what the benchmark says.

    Raises:
        ValueError: When there are no examples, or fewer of a class than an episode needs.
    """
    if not examples:
        raise ValueError(f"{benchmark.name}: there are no examples to draw episodes from")
    by_class: dict[int, list[Example]] = {}
    for example in dict.fromkeys(examples):  # a list may name one twice
        by_class.setdefault(example.class_id, []).append(example)
    for class_id, group in by_class.items():
        if len(group) <= shots:
            raise ValueError(
                f"{benchmark.name}: {benchmark.classes[class_id]} has {len(group)} images, "
                f"an episode with {shots} shots needs {shots + 1}"
            )
    generator = np.random.default_rng(seed)
    classes = sorted(by_class)
    if count is None:
        count = benchmark.num_episodes or len(examples)
    episodes = []
    for number in range(count):
        if benchmark.is_drawn:
            group = by_class[classes[generator.integers(len(classes))]]
            query = group[generator.integers(len(group))]
        else:
            query = examples[number % len(examples)]
        others = [each for each in by_class[query.class_id] if each != query]
        places = generator.choice(len(others), shots, replace=False) if shots else ()
        episodes.append(Episode(query, tuple(others[int(place)] for place in places)))
    return episodes
