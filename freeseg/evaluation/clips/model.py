"""What follows objects through clips, as `freeseg evaluate` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from detectron2.config import CfgNode
from freeseg.data.clips import CLIP_KEY, clip_of
from freeseg.evaluation.clips.evaluator import LABEL_MAPS_KEY, has_clips
from freeseg.structures.clip_frame import ClipFrame

# Frames in, one label map [H, W] for each out, 0 is background. The numbers are those of
# `ClipFrame.begins`; the map of a frame is given before the next frame is asked for.
Track = Callable[[Iterator[ClipFrame]], Iterator[Tensor]]


class ClipTracking(nn.Module):
    """Follows the objects of clips; other inputs go to another model.

    Clips are read while their label maps are gone through: no more than a frame is in memory.
    """

    def __init__(self, track: Track, otherwise: nn.Module | None = None) -> None:
        """Wraps what tracks: a function, or a module.

        Args:
            track: Called once for every clip.
            otherwise: For inputs that are no clips; None: there are none.
        """
        super().__init__()
        self.track = track
        self.otherwise = otherwise

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One dict per input: of a clip with ``label_maps``, an iterator.

        Raises:
            ValueError: An input is no clip, and there is nothing else for it.
        """
        return [self._answer(x) for x in batched_inputs]

    def _answer(self, x: dict[str, Any]) -> dict[str, Any]:
        if CLIP_KEY in x:
            return {LABEL_MAPS_KEY: self.track(clip_of(x).shown())}
        if self.otherwise is None:
            raise ValueError(f"{x.get('file_name', 'an input')} is no clip")
        answers: list[dict[str, Any]] = self.otherwise([x])
        return answers[0]


def clip_model(cfg: CfgNode, otherwise: nn.Module, track: Track | None) -> nn.Module:
    """What is evaluated where a set of DATASETS.TEST has clips; else `otherwise` itself.

    Args:
        cfg: A configuration.
        otherwise: For other sets.
        track: What the model follows objects by; None: it cannot.

    Raises:
        ValueError: There are clips, and the model cannot follow objects.
    """
    clips = [name for name in cfg.DATASETS.TEST if has_clips(name)]
    if not clips:
        return otherwise
    if track is None:
        raise ValueError(
            f"{clips[0]} has clips, through which {cfg.MODEL.META_ARCHITECTURE} follows no objects"
        )
    return ClipTracking(track, otherwise).eval()
