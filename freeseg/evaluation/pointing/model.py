"""A model as evaluations see it that point at the true objects of photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from freeseg.evaluation.pointing.clicks import MAX_CLICKS, click_on
from freeseg.evaluation.pointing.photo import EncodedPhoto, TrueObjects
from freeseg.structures import Task
from freeseg.systems import SegmentationSystem

# protocol -> what a system has to take for it
NEEDS = {"clicks": "points"}


@dataclass(frozen=True)
class PointingSettings:
    """Which protocols, and how.

    Attributes:
        kinds: Of `NEEDS`.
        max_clicks: On an object.
        objects_at_once: Asked about together.
    """

    kinds: tuple[str, ...] = tuple(NEEDS)
    max_clicks: int = MAX_CLICKS
    objects_at_once: int = 16

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(NEEDS):
            known = ", ".join(NEEDS)
            raise ValueError(f"wanted a selection of the protocols {known}, got {self.kinds}")
        for name in ("max_clicks", "objects_at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 1 on, got {getattr(self, name)}")


class ObjectPointing(nn.Module):
    """Answers test inputs with truth by what a system makes of prompts that point at the truth.

    Every photo is encoded once for all protocols. Outputs have a key for each of them.
    """

    def __init__(self, model: nn.Module, settings: PointingSettings) -> None:
        """Wraps a system, or a distributed one.

        Raises:
            ValueError: It does not take the prompts of a protocol.
        """
        super().__init__()
        system = getattr(model, "module", model)
        require_prompts(system, settings.kinds)
        self.model = model
        self.settings = settings
        self._system = (system,)  # no second child of that name

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One dict per photo, see `click_on`; None in it where the photo has no object.

        Raises:
            ValueError: An input has no truth.
        """
        return [self._point(wanted) for wanted in batched_inputs]

    def _point(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        objects, settings = TrueObjects.read(wanted), self.settings
        if not len(objects):
            return dict.fromkeys(settings.kinds)
        photo = EncodedPhoto(self._system[0], wanted)
        found = click_on(
            photo,
            objects,
            max_clicks=settings.max_clicks,
            objects_at_once=settings.objects_at_once,
        )
        return {"clicks": found}


def require_prompts(system: Any, kinds: Sequence[str]) -> None:
    """Refuses a model that cannot be evaluated by protocols of `NEEDS`.

    Raises:
        ValueError: It is no system that answers prompts, or does not take what a protocol needs.
    """
    name = type(system).__name__
    answers = system.answers if isinstance(system, SegmentationSystem) else {}
    if Task.OBJECT not in answers:
        known = ", ".join(answers) or "no prompts"
        raise ValueError(f"{name} answers {known}: it cannot be pointed at objects with")
    taken = answers[Task.OBJECT].kinds
    for kind in kinds:
        if NEEDS[kind] not in taken:
            listed = ", ".join(sorted(taken))
            raise ValueError(f"{name} takes {listed}, not {NEEDS[kind]}: {kind} cannot be judged")
