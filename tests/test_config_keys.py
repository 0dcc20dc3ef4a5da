"""Every configuration key is read somewhere, or said to be unused."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

import freeseg
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import default_argument_parser
from detectron2.projects.deeplab import add_deeplab_config
from freeseg import add_freeseg_config
from freeseg.config.unused import REFUSED, UNUSED
from freeseg.engine import load_config

PACKAGE = Path(freeseg.__file__).parent


def flat(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def own_keys():
    """Those that are not Detectron2's."""
    ours, theirs = get_cfg(), get_cfg()
    add_freeseg_config(ours)
    add_deeplab_config(theirs)
    return set(flat(ours)) - set(flat(theirs))


@functools.cache
def names_that_are_read():
    """Attributes that the package loads, and its strings: keys are read by both."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name == "config_unused.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_key_is_read_or_said_to_be_unused():
    read = names_that_are_read()
    silent = {key for key in own_keys() if key.split(".")[-1] not in read}
    assert silent - set(UNUSED) - set(REFUSED) == set()
    assert len(silent) >= 15  # the search is not blind


# Detectron2's keys of these sections that nothing here reads, and why
THEIRS = {
    "DATALOADER.ASPECT_RATIO_GROUPING": "photos of a batch are padded or cropped to one size",
    "DATALOADER.REPEAT_SQRT": "of SAMPLER_TRAIN",
    "DATALOADER.REPEAT_THRESHOLD": "of SAMPLER_TRAIN",
    "DATALOADER.SAMPLER_TRAIN": "one sampler, which a resumed run goes on with",
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST": "no system here takes proposals of boxes",
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN": "no system here takes proposals of boxes",
    "DATASETS.PROPOSAL_FILES_TEST": "no system here takes proposals of boxes",
    "DATASETS.PROPOSAL_FILES_TRAIN": "no system here takes proposals of boxes",
    "TEST.KEYPOINT_OKS_SIGMAS": "no system here finds keypoints",
}
# SOLVER's are read by Detectron2's schedules: tests/engine/test_solver_keys.py trains with each
SECTIONS = ("DATALOADER", "DATASETS", "TEST")


def test_detectron2s_keys_are_read_or_known_not_to_be():
    cfg, read = get_cfg(), names_that_are_read()
    keys = {key for key in flat(cfg) if key.split(".")[0] in SECTIONS}
    assert {key for key in keys if key.split(".")[-1] not in read} == set(THEIRS)


def test_what_is_unused_or_refused_is_a_key():
    assert set(UNUSED) | set(REFUSED) <= own_keys()
    assert set(UNUSED).isdisjoint(REFUSED)


def test_docs_name_every_unused_and_refused_key():
    text = (PACKAGE.parent / "docs/architecture.md").read_text()
    section = text[text.index("## Keys of the releases") :]
    named = {word for code in re.findall("`([^`]+)`", section) for word in re.findall(r"\w+", code)}
    assert {key for key in (*UNUSED, *REFUSED) if key.split(".")[-1] not in named} == set()


@pytest.mark.parametrize("key", REFUSED)
def test_switches_that_are_not_supported_are_refused(key):
    with pytest.raises(ValueError, match=f"{key} True is not supported"):
        load_config(default_argument_parser().parse_args([key, "True"]))


def test_keys_of_the_releases_prompt_stage_load(tmp_path):
    file = tmp_path / "published.yaml"
    file.write_text(
        "ORACLE: True\n"
        "SOLVER: {TEST_IMS_PER_BATCH: 4}\n"
        "MODEL: {CLIP_ADAPTER: {REGION_CLIP_ADAPTER: {PROMPT_LEARNER: learnable}}}\n"
    )
    cfg = load_config(default_argument_parser().parse_args(["--config-file", str(file)]))
    assert cfg.ORACLE is True
    assert cfg.MODEL.CLIP_ADAPTER.REGION_CLIP_ADAPTER.PROMPT_SHAPE == (16, 0)
