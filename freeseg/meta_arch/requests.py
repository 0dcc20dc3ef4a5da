"""What a batch asks of an open-vocabulary model."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freeseg.inference import check_tasks
from freeseg.structures import Vocabulary

BatchedInputs = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Request:
    """An image of the batch to be segmented for one task with one class list."""

    index: int
    task: str
    vocabulary: Vocabulary


def group_requests(
    batched_inputs: BatchedInputs, tasks: Sequence[str], trained: Vocabulary
) -> list[list[Request]]:
    """What is asked for, grouped by the class list: a group is decoded in one batch.

    Args:
        batched_inputs: Each may have ``tasks`` and ``vocabulary``.
        tasks: Of inputs that name none.
        trained: The vocabulary of training, for inputs that have none, and to know what is seen.
    """
    groups: dict[Vocabulary, list[Request]] = {}
    for index, one in enumerate(batched_inputs):
        wanted = one.get("tasks", tasks)
        check_tasks(wanted)
        vocabulary = with_seen(vocabulary_of(one, trained), trained)
        group = groups.setdefault(vocabulary, [])
        group.extend(Request(index, task, vocabulary) for task in dict.fromkeys(wanted))
    return list(groups.values())


def vocabulary_of(wanted: Mapping[str, Any], default: Vocabulary) -> Vocabulary:
    """The class list that an input asks for, `default` where it has none or None.

    Raises:
        ValueError: The list is empty.
    """
    vocabulary: Vocabulary | None = wanted.get("vocabulary")
    if vocabulary is None:
        return default
    if not len(vocabulary):
        raise ValueError("an input's vocabulary is empty; name a class, or leave it out")
    return vocabulary


def with_seen(vocabulary: Vocabulary, trained: Vocabulary) -> Vocabulary:
    """The class list with seen flags: where it has none, what of it was trained.

    A dataset's "road, route" and "tree-merged" are trained as "road", "route" and "tree" too.
    """
    if vocabulary.is_seen is not None:
        return vocabulary
    return vocabulary.with_seen(_seen_texts(trained))


@functools.lru_cache(maxsize=8)  # asked for every image
def _seen_texts(trained: Vocabulary) -> tuple[str, ...]:
    seen = trained.select(trained.seen_classes())
    return (*seen.texts, *seen.with_plain_texts().texts)


def task_of(batched_inputs: BatchedInputs) -> str:
    """The one task of a training batch."""
    tasks = {one.get("task", "semantic") for one in batched_inputs}
    if len(tasks) > 1:
        raise ValueError(f"a training batch has one task, got {', '.join(sorted(tasks))}")
    return tasks.pop()
