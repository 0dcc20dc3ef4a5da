"""Which evaluations point at objects, and how; from a configuration.

A system that knows no classes is evaluated by them in place of semantic, instance and panoptic
results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.classes import knows_classes
from freeseg.config import completed, pointing_arguments
from freeseg.evaluation.episodes import episode_settings
from freeseg.evaluation.pointing.clicks import MAX_CLICKS
from freeseg.names import registered
from freeseg.structures import EverythingSettings, Takes, Task

# protocol -> what a system has to take for it
NEEDS = {"clicks": "points", "boxes": "boxes", "proposals": "everything"}


@dataclass(frozen=True)
class PointingSettings:
    """Which protocols, and how.

    Attributes:
        kinds: Of `NEEDS`.
        max_clicks: On an object.
        box_rounds: How often a box is said, see `fill_boxes`.
        box_zoom: Whether its object is then looked at closer.
        objects_at_once: Asked about together.
        everything: How proposals are looked for; SAM's paper (D.3) has these.
    """

    kinds: tuple[str, ...] = ("clicks", "boxes")
    max_clicks: int = MAX_CLICKS
    box_rounds: int = 1
    box_zoom: bool = False
    objects_at_once: int = 16
    everything: EverythingSettings = field(
        default_factory=lambda: EverythingSettings(
            points_per_side=64, min_quality=0.0, min_stability=0.0, max_overlap=0.9
        )
    )

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(NEEDS):
            known, given = ", ".join(NEEDS), ", ".join(self.kinds) or "nothing"
            raise ValueError(f"evaluations that point are a selection of {known}, got {given}")
        for name in ("max_clicks", "box_rounds", "objects_at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 1 on, got {getattr(self, name)}")

    def require_prompts(self, name: str, answers: Mapping[Task, Takes]) -> None:
        """Refuses a system that cannot be evaluated so.

        Args:
            name: Of the system, for the message.
            answers: What a prompt may say to it for every task.

        Raises:
            ValueError: It answers no prompts, or does not take what a protocol needs.
        """
        if Task.OBJECT not in answers:
            tasks = ", ".join(answers) or "no prompts"
            raise ValueError(f"{name} answers {tasks}: it cannot be pointed at objects with")
        taken = answers[Task.OBJECT].kinds
        needs = [NEEDS[kind] for kind in self.kinds]
        if "boxes" in self.kinds and self.box_rounds > 1:
            needs.append("logits")
        if "boxes" in self.kinds and self.box_zoom:
            needs.append("masks")
        for need in needs:
            if need not in taken:
                listed = ", ".join(sorted(taken))
                kinds = ", ".join(self.kinds)
                raise ValueError(f"{name} takes {listed}, not {need}: it has no such {kinds}")


def pointing_settings(cfg: Any) -> PointingSettings | None:
    """How TEST.POINTING evaluates the configured system.

    None of one that knows classes, or follows examples.

    Raises:
        ValueError: The system cannot be evaluated so, or TEST asks for what only classes give.
    """
    cfg = completed(cfg)
    if knows_classes(cfg):
        return None
    if episode_settings(cfg) is not None:
        return None
    name = cfg.MODEL.META_ARCHITECTURE
    for_classes = {
        "TEST.AUG.ENABLED": cfg.TEST.AUG.ENABLED,
        "TEST.AUG.IS_SLIDE": cfg.TEST.AUG.IS_SLIDE,
        "TEST.VIS_PERIOD": cfg.TEST.VIS_PERIOD > 0,
    }
    for key, is_on in for_classes.items():
        if is_on:
            raise ValueError(f"{key} is about results of classes, and {name} knows none")
    settings = PointingSettings(**pointing_arguments(cfg))
    settings.require_prompts(name, registered(META_ARCH_REGISTRY, name).answers)
    return settings
