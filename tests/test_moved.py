"""Import paths that are elsewhere now lead to what is there."""

from __future__ import annotations

import importlib

import pytest

import freeseg  # noqa: F401

RENAMED = {
    ("freeseg.config", "system_node"): ("freeseg.config", "system_section"),
    ("freeseg.config", "test_node"): ("freeseg.config", "inference_section"),
    ("freeseg.config", "region_arguments"): ("freeseg.systems.freeseg.config", "crop_arguments"),
    ("freeseg.inference", "RegionEnsemble"): (
        "freeseg.systems.freeseg.ensemble",
        "ProposalEnsemble",
    ),
    ("freeseg.modeling", "RegionCrops"): ("freeseg.systems.freeseg.crops", "MaskCrops"),
    ("freeseg.modeling.regions", "RegionCrops"): ("freeseg.systems.freeseg.crops", "MaskCrops"),
    ("freeseg.model_loading", "read_config"): ("freeseg.systems.building", "read_config"),
    ("freeseg.structures", "read_classes"): ("freeseg.structures", "read_class_entries"),
}


@pytest.mark.parametrize(("old", "new"), RENAMED.items(), ids=[".".join(old) for old in RENAMED])
def test_a_renamed_name_is_the_new_one(old, new):
    before, after = (getattr(importlib.import_module(module), name) for module, name in (old, new))
    assert before is after
    assert after.__name__ == new[1]
