"""What words name in a photo, as masks: instances of things, regions of stuff.

Shapes: N masks, H W photo size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from operator import getitem
from typing import Any

import numpy as np
import numpy.typing as npt

from freeseg.class_matching import match_classes
from freeseg.classes import UNNAMED
from freeseg.data import ClassSource
from freeseg.data.vocabulary import named_classes
from freeseg.editing.masks import Mask
from freeseg.images import ImageSource, RgbImage
from freeseg.segmenter import Segmenter
from freeseg.structures import Vocabulary
from freeseg.visualization import Segmentation
from freeseg_command.tasks import Task

UNKNOWN_SCORE = float("nan")
_THING_TASKS = (Task.INSTANCE, Task.PANOPTIC, Task.SEMANTIC)  # the best one for the purpose first
_STUFF_TASKS = (Task.PANOPTIC, Task.SEMANTIC)
_BOXES_ALONE = (
    "the model finds boxes without masks: join it with one that takes boxes, as freeseg.compose or "
    "--model A+sam-vit-b does"
)


@dataclass(frozen=True)
class Question:
    """What is looked for in a photo.

    Attributes:
        classes: All that a model is asked for; None: its own ones.
        labels: Which of them were named.
        tasks: That answer, each with the labels among them that it is asked about.
    """

    classes: Vocabulary | None
    labels: tuple[int, ...]
    tasks: tuple[tuple[Task, frozenset[int]], ...]


@dataclass(frozen=True, eq=False)
class Found:
    """What words name in a photo.

    Attributes:
        image: The photo as it was segmented: upright RGB, uint8 [H, W, 3].
        masks: Bool [N, H, W].
        names: Of the classes of the masks.
        scores: [N], in [0, 1]; NaN where the model gives none.
        others: Names of what else was found.
    """

    image: RgbImage
    masks: Mask
    names: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    others: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def read_question(
    segmenter: Segmenter, words: ClassSource, among: ClassSource | None = None
) -> Question:
    """What a model is asked, so that words name something in a photo.

    Classes of a list compete for pixels, and one alone gets all that is found. So open-vocabulary
    models are asked for other classes as well, and models of closed lists for their own.

    Args:
        segmenter: That will answer.
        words: A class list, see `freeseg.data.read_vocabulary`.
        among: What else may be there; when None the model's own classes, where it has any.

    Raises:
        ValueError: It is no class list, or the model does not know the words or finds boxes alone.
    """
    if not getattr(segmenter.model, "has_masks", True):
        raise ValueError(_BOXES_ALONE)
    own = segmenter.vocabulary
    if not segmenter.takes_text and (among is not None or own is UNNAMED):
        segmenter.read_classes(words)  # says that the model takes no list
    wanted = named_classes(words)
    if not segmenter.takes_text:
        labels = _known_labels(segmenter, wanted)
        return Question(None, labels, _tasks_of(segmenter, own, labels))
    if among is not None:
        own = named_classes(among)
    classes = wanted if own is UNNAMED else _joined(wanted, own)
    if not _has_regions(segmenter):
        classes = replace(classes, is_thing=(True,) * len(classes))
    labels = tuple(range(len(wanted)))
    return Question(classes, labels, _tasks_of(segmenter, classes, labels))


def find(
    segmenter: Segmenter,
    photo: ImageSource,
    words: ClassSource | Question,
    *,
    min_score: float = 0.5,
    best: bool = False,
) -> Found:
    """Masks of what words name in a photo.

    A thing has a mask for each instance, stuff one for its region. Where the model has no instances
    all of a thing's class is one mask, too.

    Args:
        segmenter: Any that answers class lists, also one of `freeseg.compose`.
        photo: What `freeseg.images.read_image` reads.
        words: As of `read_question`, or what it has made of them.
        min_score: Of masks that the model gives a score.
        best: Whether only the one with the highest score is taken of each name.

    Raises:
        ImageError: The photo cannot be used.
        ValueError: As of `read_question`.
    """
    question = words if isinstance(words, Question) else read_question(segmenter, words)
    rows: list[_Row] = []
    others: dict[str, None] = {}
    with segmenter.open(photo) as session:
        image = session.photo.image
        for task, labels in question.tasks:
            for row in _rows(session(task, question.classes), task):
                if row.label in labels and not row.score < min_score:  # NaN is taken
                    rows.append(row)
                elif row.label not in question.labels:
                    others[row.name] = None
    rows = _best(rows) if best else rows
    masks = np.zeros((len(rows), *image.shape[:2]), dtype=np.bool_)
    for mask, row in zip(masks, rows):
        mask[:] = row.make_mask()
    kept = np.flatnonzero(masks.any(axis=(1, 2)))
    return Found(
        image,
        masks if len(kept) == len(masks) else masks[kept],
        tuple(rows[index].name for index in kept),
        np.array([rows[index].score for index in kept], dtype=np.float32),
        tuple(others),
    )


@dataclass(frozen=True)
class _Row:
    """A segment whose mask is made when it is wanted."""

    label: int
    name: str
    score: float
    make_mask: Callable[[], Any]  # bool [H, W]


def _rows(result: Segmentation, task: Task) -> Iterator[_Row]:
    names = result.vocabulary.names
    if task == Task.PANOPTIC and result.panoptic is not None:
        ids, segments = result.panoptic
        for one in segments:
            score = UNKNOWN_SCORE if one.score is None else one.score
            yield _Row(one.label, one.name, score, partial(np.equal, ids, one.id))
    elif task == Task.SEMANTIC and result.semantic is not None:
        classes = result.semantic
        for label in np.unique(classes).tolist():
            if 0 <= label < len(names):
                yield _Row(label, names[label], UNKNOWN_SCORE, partial(np.equal, classes, label))
    elif result.instances is not None:
        yield from _instance_rows(result)


def _instance_rows(result: Segmentation) -> Iterator[_Row]:
    found = result.instances
    assert found is not None
    masks = found.masks
    if masks is None:  # of another project's model, which does not say so before
        raise ValueError(_BOXES_ALONE)
    for index, name in enumerate(found.names):
        score = float(found.scores[index])
        yield _Row(int(found.labels[index]), name, score, partial(getitem, masks, index))


def _best(rows: list[_Row]) -> list[_Row]:
    """Of each class the row with the highest score; an unknown one is below all."""
    best: dict[int, _Row] = {}
    for row in rows:
        held = best.get(row.label)
        if held is None or np.nan_to_num(row.score, nan=-1) > np.nan_to_num(held.score, nan=-1):
            best[row.label] = row
    return list(best.values())


def _known_labels(segmenter: Segmenter, wanted: Vocabulary) -> tuple[int, ...]:
    """The classes of a model with a closed list that words name."""
    own = segmenter.vocabulary
    match = match_classes(wanted, own)
    if match.unknown:
        raise ValueError(
            f"{segmenter.photo_model.name} knows its {len(own)} classes only, and not "
            f"{', '.join(match.unknown)}: {', '.join(own.names)}"
        )
    return tuple(label for label in match.labels if label is not None)


def _joined(wanted: Vocabulary, others: Vocabulary) -> Vocabulary:
    """Named classes, and behind them those of the others that are none of them."""
    known = set(match_classes(wanted, others).labels)
    rest = others.select([label for label in range(len(others)) if label not in known])
    other = wanted.other
    if other is None and rest.other is not None:
        other = len(wanted) + rest.other
    return Vocabulary(
        (*wanted.names, *rest.names),
        (*wanted.is_thing, *rest.is_thing),
        synonyms=(*wanted.synonyms, *rest.synonyms),
        other=other,
    )


def _tasks_of(
    segmenter: Segmenter, classes: Vocabulary, labels: tuple[int, ...]
) -> tuple[tuple[Task, frozenset[int]], ...]:
    """The task that answers about each of the labels; a model of instances takes all for things."""
    asked: dict[Task, set[int]] = {}
    for label in labels:
        is_thing = classes.is_thing[label] or not _has_regions(segmenter)
        order = _THING_TASKS if is_thing else _STUFF_TASKS
        known = [task for task in order if task in segmenter.tasks]
        if not known:
            raise ValueError(f"{segmenter.photo_model.name} does not answer class lists with masks")
        asked.setdefault(known[0], set()).add(label)
    return tuple((task, frozenset(found)) for task, found in asked.items())


def _has_regions(segmenter: Segmenter) -> bool:
    return any(task in segmenter.tasks for task in _STUFF_TASKS)
