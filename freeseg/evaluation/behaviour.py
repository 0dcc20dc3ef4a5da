"""What a model that reads labels makes of label lists as people type them.

Four questions, after the LSeg paper's article: are labels found that are there; are labels left
alone that are not; do things whose label is missing become "other"; do other words and wider words
find the same things. Shapes: K labels, H W image size.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from freeseg.resources import local_path
from freeseg.structures import Vocabulary

VOID = 255  # in truths

# (what the model is given but the labels, the labels) -> label of every pixel [H, W]
Ask = Callable[[Mapping[str, object], Vocabulary], Tensor]
Photo = tuple[Mapping[str, object], Tensor]  # model input, true class of every pixel [H, W]


@dataclass(frozen=True)
class Probes:
    """Labels to ask for, about a dataset's own.

    Attributes:
        absent: Labels of what no photo shows.
        missing: Labels that are left out while "other" is offered.
        synonyms: Another word for some labels.
        wider: Words that stand in for several labels at once.
    """

    absent: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    wider: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Probes:
        """Reads a JSON file, also ``freeseg://...``, with some of the fields."""
        content = json.loads(Path(local_path(path)).read_text(encoding="utf-8"))
        return cls(
            tuple(content.get("absent", ())),
            tuple(content.get("missing", ())),
            content.get("synonyms", {}),
            {word: tuple(members) for word, members in content.get("wider", {}).items()},
        )


def measure_behaviour(
    ask: Ask, photos: Iterable[Photo], names: Sequence[str], probes: Probes
) -> dict[str, float]:
    """Shares in percent, over the pixels of all photos.

    Returns:
        ``present``: mean IoU of the labels themselves. ``absent``: pixels given to labels that no
        photo shows. ``missing-X``: pixels of X given to "other" when X is not in the list;
        ``kept``: pixels of all other labels that stay out of "other" then. ``synonym-X``: IoU of
        where X is found and where its synonym is. ``reworded``: mean IoU of the labels when each
        that has a synonym is called so, and ``reworded-X`` its IoU. ``wider-X``: pixels of the
        members found as X.
    """
    counts: dict[str, list[int]] = {}
    for photo, truth in photos:
        for name, part, whole in _count(functools.partial(ask, photo), truth, names, probes):
            total = counts.setdefault(name, [0, 0])
            total[0] += part
            total[1] += whole
    shares = {
        name: 100.0 * part / whole if whole else float("nan")
        for name, (part, whole) in counts.items()
    }
    results = {"present": _mean([shares.pop(f"present-{name}") for name in names])}
    if probes.synonyms:
        ious = {name: shares.pop(f"reworded-{name}") for name in names}
        results["reworded"] = _mean(ious.values())
        results.update({f"reworded-{name}": ious[name] for name in probes.synonyms})
    return {**results, **shares}


def _count(
    ask: Callable[[Vocabulary], Tensor], truth: Tensor, names: Sequence[str], probes: Probes
) -> Iterable[tuple[str, int, int]]:
    """Numbers of pixels of one photo: what was measured, the part, and the whole."""
    is_judged = truth != VOID
    found = ask(_plain(names))
    for label, name in enumerate(names):
        yield (f"present-{name}", *_overlap((found == label) & is_judged, truth == label))
    if probes.absent:
        with_absent = ask(_plain([*names, *probes.absent]))
        yield "absent", _number((with_absent >= len(names)) & is_judged), _number(is_judged)
    for name in probes.missing:
        rest = [each for each in names if each != name]
        is_other = ask(_plain(rest).with_other()) == len(rest)
        is_missing = truth == names.index(name)
        yield f"missing-{name}", _number(is_other & is_missing), _number(is_missing)
        is_known = is_judged & ~is_missing
        yield "kept", _number(~is_other & is_known), _number(is_known)
    for name, synonym in probes.synonyms.items():
        label = names.index(name)
        said = ask(_plain([synonym if each == name else each for each in names])) == label
        yield (f"synonym-{name}", *_overlap(said, found == label))
    if probes.synonyms:
        said = ask(_plain([probes.synonyms.get(name, name) for name in names]))
        for label, name in enumerate(names):
            yield (f"reworded-{name}", *_overlap((said == label) & is_judged, truth == label))
    for word, members in probes.wider.items():
        rest = [each for each in names if each not in members]
        is_word = ask(_plain([*rest, word])) == len(rest)
        labels = torch.tensor([names.index(each) for each in members], device=truth.device)
        is_member = torch.isin(truth, labels)
        yield f"wider-{word}", _number(is_word & is_member), _number(is_member)


def _mean(ious: Iterable[float]) -> float:
    known = [iou for iou in ious if iou == iou]
    return sum(known) / max(len(known), 1)


def _plain(names: Sequence[str]) -> Vocabulary:
    return Vocabulary(tuple(names), (False,) * len(names))


def _overlap(first: Tensor, second: Tensor) -> tuple[int, int]:
    """Pixels in both masks, and in any."""
    return _number(first & second), _number(first | second)


def _number(mask: Tensor) -> int:
    return int(mask.sum())
