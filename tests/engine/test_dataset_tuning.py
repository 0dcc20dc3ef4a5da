"""Which wrappers an evaluation puts around a model whose prompts are tuned over a test set."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from detectron2.engine import DefaultTrainer
from freeseg.engine import Trainer, job
from freeseg.engine.dataset_tuning import DatasetTuning, tuned_over_dataset
from freeseg.inference import AugmentedSemantic, SlidingWindow
from freeseg.systems import FreeSeg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_clip import tiny_clip, tiny_config

ON = {"TEST__PROMPT_TUNING__ENABLED": True, "TEST__PROMPT_TUNING__PER_DATASET": True}


@pytest.fixture
def wrapped(monkeypatch):
    """The models that Detectron2 is given to evaluate, from the outside in."""
    found = []

    def test(cfg, model, evaluators=None):
        layers = []
        while model is not None:
            layers.append(type(model))
            model = getattr(model, "model", None)
        found.append(layers)
        return {}

    monkeypatch.setattr(DefaultTrainer, "test", test)
    monkeypatch.setattr(job, "judges", lambda name: ("semantic",))
    return found


@pytest.mark.parametrize("has_windows", [False, True])
def test_the_tuning_is_inside_of_windows_and_copies(wrapped, has_windows):
    cfg = tiny_config(**ON, TEST__AUG__ENABLED=True, TEST__AUG__IS_SLIDE=has_windows)
    cfg.defrost()
    cfg.DATASETS.TEST = ("shapes_val_panoptic",)
    model = FreeSeg(cfg, clip_model=tiny_clip()).eval()
    Trainer.test(cfg, model)
    job._evaluate_augmented(cfg, model)
    inner = [*([SlidingWindow] if has_windows else []), DatasetTuning, FreeSeg]
    assert wrapped == [inner, [AugmentedSemantic, *inner]]


@pytest.mark.parametrize("changes", [{}, *({**ON, key: False} for key in ON)])
def test_other_evaluations_have_the_model_itself(changes):
    cfg = tiny_config(**changes)
    model = FreeSeg(cfg, clip_model=tiny_clip()).eval()
    assert tuned_over_dataset(cfg, model) is model
    guest = nn.Linear(1, 1)
    assert tuned_over_dataset(tiny_config(**ON), guest) is guest
