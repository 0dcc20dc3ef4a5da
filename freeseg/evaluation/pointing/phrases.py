"""Objects that are asked for by the names of their classes, and with a click beside.

Shapes: N objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from freeseg.evaluation.pointing.clicker import next_click, overlap
from freeseg.evaluation.pointing.photo import EncodedPhoto, TrueObjects, dense_masks, first_answers
from freeseg.structures import Prompt, Vocabulary

# what is said of an object, and then again of it, a click at what is wrong
PHRASE, OTHER_PHRASE, CLICK = "its phrase", "another phrase", "a click"
AFTER = {PHRASE: "its phrase, then a click", CLICK: "two clicks"}


def named_once(objects: TrueObjects) -> TrueObjects:
    """Those whose class a photo shows no second time: the name says which."""
    is_alone = (objects.labels[:, None] == objects.labels).sum(1) == 1
    masks, boxes, labels = objects.masks, objects.boxes, objects.labels
    return TrueObjects(masks[is_alone], boxes[is_alone], labels[is_alone], objects.ignored)


def ask_by_name(
    photo: EncodedPhoto, objects: TrueObjects, vocabulary: Vocabulary
) -> dict[str, Tensor]:
    """How good the answers about N objects are, float64 [N] by what was said.

    Another phrase is the name of a class that the photo does not show: what comes by chance.

    Args:
        photo: Encoded by a system that takes phrases and points.
        objects: Of the photo.
        vocabulary: Of their labels.
    """
    labels = objects.labels.tolist()
    absent = [number for number in range(len(vocabulary)) if number not in set(labels)]
    others = [absent[label % len(absent)] for label in labels]
    begun = {
        PHRASE: _of_names(labels, vocabulary),
        OTHER_PHRASE: _of_names(others, vocabulary),
        CLICK: _clicked(photo, objects, Prompt(), torch.zeros_like(objects.masks)),
    }
    found = {}
    for said, prompt in begun.items():
        answers = first_answers(photo.ask(prompt), len(objects))
        predicted = dense_masks(answers)
        found[said] = overlap(objects.masks, predicted, objects.ignored)
        if said in AFTER:
            known = Prompt(prompt.marks, prompt.phrases, logits=answers.mask_logits)
            more = _clicked(photo, objects, known, predicted)
            answers = first_answers(photo.ask(more), len(objects))
            found[AFTER[said]] = overlap(objects.masks, dense_masks(answers), objects.ignored)
    return found


def _of_names(labels: Sequence[int], vocabulary: Vocabulary) -> Prompt:
    return Prompt(phrases=tuple(vocabulary.names[label] for label in labels))


def _clicked(
    photo: EncodedPhoto, objects: TrueObjects, prompt: Prompt, predicted: Tensor
) -> Prompt:
    """A prompt with a click more at what is wrong with every object."""
    clicks = next_click(objects.masks, predicted, objects.ignored)
    points, signs = clicks.points[:, None], clicks.signs[:, None]
    marks = photo.marks(len(objects), points=points, signs=signs)
    if prompt.marks is not None:
        marks = prompt.marks.refined(marks)
    return Prompt(marks, prompt.phrases, logits=prompt.logits)


def phrase_scores(
    rows: Sequence[tuple[Tensor, Mapping[str, Tensor]]], vocabulary: Vocabulary
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Mean overlaps in percent of all objects, and of things and stuff, seen and unseen ones apart.

    Args:
        rows: Of every photo the labels int64 [N] of its objects, and what `ask_by_name` gave.
        vocabulary: Of the labels.

    Yields:
        The name of a group, how many objects are in it, and its means by what was said.
    """
    labels = torch.cat([labels for labels, _ in rows])
    is_thing = torch.tensor(vocabulary.is_thing)[labels]
    groups = {"all": torch.ones_like(is_thing), "things": is_thing, "stuff": ~is_thing}
    if vocabulary.is_seen is not None:
        is_seen = torch.tensor(vocabulary.is_seen)[labels]
        for group in ("things", "stuff"):
            groups[f"seen {group}"] = groups[group] & is_seen
            groups[f"unseen {group}"] = groups[group] & ~is_seen
    for group, chosen in groups.items():
        if not chosen.any():
            continue
        means = {
            said: 100 * float(torch.cat([found[said] for _, found in rows])[chosen].mean())
            for said in rows[0][1]
        }
        yield group, int(chosen.sum()), means
