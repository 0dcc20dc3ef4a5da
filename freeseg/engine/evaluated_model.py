"""A model as a configuration's TEST has it evaluated."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from detectron2.config import CfgNode
from freeseg.config import sliding_window_arguments
from freeseg.engine.dataset_tuning import tuned_over_dataset
from freeseg.evaluation.clips import clip_model
from freeseg.evaluation.edges import edge_model
from freeseg.evaluation.episodes import episode_settings
from freeseg.evaluation.pointing import ObjectPointing, pointing_settings
from freeseg.evaluation.referring import referring_model
from freeseg.evaluation.shown_examples import ShownExamples
from freeseg.inference import SlidingWindow
from freeseg.tracking import follows_examples, track_clip


def evaluated_model(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """The model with what TEST puts around it.

    One that knows no classes is pointed at objects, as TEST.POINTING says; another has its prompts
    tuned, and sliding windows where TEST.AUG.IS_SLIDE. Photos with boundaries are looked at for
    edges, those with sentences for what these mean; through clips objects are followed.

    Args:
        cfg: A configuration with the freeseg keys.
        model: As it was trained, in whatever distributes it.

    Raises:
        ValueError: The model is not for what DATASETS.TEST has.
    """
    otherwise = edge_model(cfg, model, _answering(cfg, model))
    system: Any = getattr(model, "module", model)
    track = functools.partial(track_clip, system) if follows_examples(system) else None
    return clip_model(cfg, referring_model(cfg, model, otherwise), track)


def _answering(cfg: CfgNode, model: nn.Module) -> nn.Module:
    if episode_settings(cfg) is not None:
        return ShownExamples(model, cfg.INPUT.FORMAT)
    settings = pointing_settings(cfg)
    if settings is not None:
        return ObjectPointing(model, settings)
    model = tuned_over_dataset(cfg, model)
    windows = sliding_window_arguments(cfg)
    return model if windows is None else SlidingWindow(model, **windows)
