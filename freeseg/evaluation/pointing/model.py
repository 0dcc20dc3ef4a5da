"""A model as evaluations see it that point at the true objects of photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from freeseg.evaluation.pointing.boxes import fill_boxes
from freeseg.evaluation.pointing.clicks import click_on
from freeseg.evaluation.pointing.photo import EncodedPhoto, TrueObjects
from freeseg.evaluation.pointing.proposals import propose
from freeseg.evaluation.pointing.settings import PointingSettings
from freeseg.systems import SegmentationSystem


class ObjectPointing(nn.Module):
    """Answers test inputs with truth by what a system makes of prompts that point at the truth.

    Every photo is encoded once for all protocols. Outputs have a key for each of them.
    """

    def __init__(self, model: nn.Module, settings: PointingSettings | None = None) -> None:
        """Wraps a system, or a distributed one.

        Raises:
            ValueError: It does not take the prompts of a protocol.
        """
        super().__init__()
        self.model = model
        self.settings = settings or PointingSettings()
        system = self._system
        answers = system.answers if isinstance(system, SegmentationSystem) else {}
        self.settings.require_prompts(type(system).__name__, answers)
        self.train(model.training)

    @property
    def _system(self) -> Any:
        return getattr(self.model, "module", self.model)

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One dict per photo with what `click_on`, `fill_boxes` and `propose` give.

        None stands in it where the photo has no object.

        Raises:
            ValueError: An input has no truth.
        """
        return [self._point(wanted) for wanted in batched_inputs]

    def _point(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        objects, settings = TrueObjects.read(wanted), self.settings
        if not len(objects):
            return dict.fromkeys(settings.kinds)
        photo, at_once = EncodedPhoto(self._system, wanted), settings.objects_at_once
        found: dict[str, Any] = {}
        if "clicks" in settings.kinds:
            found["clicks"] = click_on(
                photo, objects, max_clicks=settings.max_clicks, objects_at_once=at_once
            )
        if "boxes" in settings.kinds:
            found["boxes"] = fill_boxes(
                photo,
                objects,
                rounds=settings.box_rounds,
                zooms=settings.box_zoom,
                objects_at_once=at_once,
            )
        if "proposals" in settings.kinds:
            found["proposals"] = propose(photo, settings.everything)
        return found
