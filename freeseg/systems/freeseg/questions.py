"""What requests ask of FreeSeg, one task and one class list at a time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from freeseg.structures import Request, Sample, Task, Vocabulary


@dataclass(frozen=True)
class Question:
    """A task and a class list of a request."""

    number: int  # of the request
    task: Task
    vocabulary: Vocabulary


def group_questions(requests: Sequence[Request], trained: Vocabulary) -> list[list[Question]]:
    """What is asked for, grouped by the class list: a group is decoded in one batch.

    Args:
        requests: Of a batch.
        trained: The vocabulary of training, for requests that have none, and to know what is seen.
    """
    groups: dict[Vocabulary, list[Question]] = {}
    for number, request in enumerate(requests):
        vocabulary = with_seen(request.vocabulary(trained), trained)
        group = groups.setdefault(vocabulary, [])
        group.extend(Question(number, task, vocabulary) for task in request.tasks)
    return list(groups.values())


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


def task_of(samples: Sequence[Sample]) -> str:
    """The one task of a training batch.

    Raises:
        ValueError: It has several.
    """
    tasks = {sample.task or Task.SEMANTIC for sample in samples}
    if len(tasks) > 1:
        raise ValueError(f"a training batch has one task, got {', '.join(sorted(tasks))}")
    return tasks.pop()
