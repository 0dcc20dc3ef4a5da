"""OneFormer's texts: the sentence that names a task, and one text per target of an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from freeseg.structures import JUDGED_TASKS, Task

_SENTENCE_START = "the task is "


def task_sentence(task: str) -> str:
    """What the task token is made from (OneFormer, arXiv 2211.06220, section 3.1)."""
    return _SENTENCE_START + read_sentence(task)


def read_sentence(text: str) -> Task:
    """The task in "panoptic" or, as the release's data mappers write it, "The task is panoptic".

    Raises:
        ValueError: When it is neither.
    """
    task = text.strip().lower()
    task = task[len(_SENTENCE_START) :].strip() if task.startswith(_SENTENCE_START) else task
    if task not in JUDGED_TASKS:
        raise ValueError(f"wanted a task among {', '.join(JUDGED_TASKS)}, got {text!r}")
    return Task(task)


def target_texts(
    task: str, labels: Sequence[int], class_names: Sequence[str], num_texts: int
) -> list[str]:
    """One text per target in order of class, filled up with texts that name the task only.

    Args:
        task: Name of the task that the targets were derived for.
        labels: Class of every target.
        class_names: Name of every class.
        num_texts: Length of the list; targets beyond it are left out.
    """
    counts = sorted(Counter(labels).items())
    texts = [
        f"a photo with a {class_names[label]}" for label, count in counts for _ in range(count)
    ]
    article = "an" if task[0] in "aeiou" else "a"
    return (texts + [f"{article} {task} photo"] * num_texts)[:num_texts]
