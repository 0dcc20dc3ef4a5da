"""Questions to a model about a test set: what it is asked, of which photos, and the answers."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from detectron2.config import get_cfg
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg import add_freeseg_config
from freeseg.engine.behaviour import behaviour_table, run_behaviour
from freeseg.structures import LABEL_MAP_KEY

NAMES = ["dark", "grey", "bright"]


@META_ARCH_REGISTRY.register()
class NamesBrightness(nn.Module):
    """Gives a third of the brightness range each name; unknown names are found nowhere."""

    asked: ClassVar[list[dict]] = []

    def __init__(self, cfg):
        super().__init__()
        del cfg

    def forward(self, inputs):
        assert not torch.is_grad_enabled()
        [one] = inputs
        self.asked.append(one)
        third = nn.functional.interpolate(
            one["image"][:1].float()[None] // 86, (one["height"], one["width"])
        )[0, 0].long()
        names = one["vocabulary"].names
        other = names.index("other") if "other" in names else 0
        found = torch.full_like(third, other)
        for number, name in enumerate(NAMES):
            if name in names:
                found[third == number] = names.index(name)
        return [{"sem_seg": found}]


@pytest.fixture
def cfg(loader, tmp_path):
    """Four photos of two sizes, of which the second is labelled wrong in one column of six."""
    records = []
    for number in range(4):
        height, width = (4, 6) if number < 2 else (3, 5)
        labels = (np.arange(width) + number) % 3 + np.zeros((height, 1), int)
        pixels = np.stack([labels * 86 + 20, labels, labels], axis=-1).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        if number == 1:
            labels[:, 0] = 0
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / f"{number}_labels.png")
        records.append(
            {
                **{"file_name": str(tmp_path / f"{number}.png"), "image_id": number},
                **{"height": height, "width": width},
                "sem_seg_file_name": str(tmp_path / f"{number}_labels.png"),
            }
        )
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.DEVICE, cfg.MODEL.META_ARCHITECTURE = "cpu", "NamesBrightness"
    cfg.MODEL.WEIGHTS, cfg.INPUT.FORMAT = "", "RGB"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 8, 90
    others = loader(lambda: pytest.fail("only the first set is looked at"), stuff_classes=["x"])
    first = loader(lambda: records, stuff_classes=NAMES, ignore_label=255)
    cfg.DATASETS.TEST = (first, others)
    return cfg


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setattr(NamesBrightness, "asked", [])
    return NamesBrightness.asked


def test_answers_are_shares_of_the_pixels_of_all_photos(cfg, asked, tmp_path):
    probes = tmp_path / "probes.json"
    probes.write_text(json.dumps({"absent": ["hippo"], "missing": ["grey"]}))
    cfg.INPUT.MIN_SIZE_TEST = 0  # nothing is resized
    results = run_behaviour(cfg, probes)
    # by columns: 0 1 2 0 1 2 | 1 2 0 1 2 0 (the first said to be 0) | 2 0 1 2 0 | 0 1 2 0 1
    found = {"dark": (4 * 4 + 3 * 4, 4), "grey": (4 * 3 + 3 * 3, 4), "bright": (4 * 4 + 3 * 3, 0)}
    ious = [part / (part + wrong) for part, wrong in found.values()]
    assert results["present"] == pytest.approx(100 * sum(ious) / 3)
    assert results["absent"] == 0.0
    assert results["missing-grey"] == pytest.approx(100.0)
    assert {one["vocabulary"].names for one in asked} >= {tuple(NAMES)}


def test_photos_are_asked_about_at_their_own_size(cfg, asked, tmp_path):
    (tmp_path / "probes.json").write_text("{}")
    run_behaviour(cfg, tmp_path / "probes.json")
    seen = [(one["image_id"], *one["image"].shape, one["height"], one["width"]) for one in asked]
    assert seen == [
        *[(0, 3, 8, 12, 4, 6), (1, 3, 8, 12, 4, 6)],
        *[(2, 3, 8, 13, 3, 5), (3, 3, 8, 13, 3, 5)],
    ]
    assert all(one["tasks"] == ("semantic",) and one[LABEL_MAP_KEY] is True for one in asked)


@pytest.mark.parametrize(("limit", "numbers"), [(0, [0, 1, 2, 3]), (2, [0, 2]), (1, [0])])
def test_some_photos_are_spread_over_the_set(cfg, asked, tmp_path, limit, numbers):
    (tmp_path / "probes.json").write_text("{}")
    run_behaviour(cfg, tmp_path / "probes.json", limit)
    assert [one["image_id"] for one in asked] == numbers


def test_the_table_has_a_row_for_each_answer():
    table = behaviour_table({"present": 71.26, "absent": 0.04})
    assert table.splitlines() == [
        *("| measured | % |", "| --- | ---: |", "| present | 71.3 |", "| absent | 0.0 |")
    ]
