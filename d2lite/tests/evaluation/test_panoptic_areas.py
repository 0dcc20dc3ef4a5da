"""Areas of panoptic segments are counted from the PNG, whatever the JSON says."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from detectron2.evaluation._panoptic_quality import PanopticQuality, match_segments
from detectron2.utils.logger import _LOG_COUNTER

CATEGORIES = [{"id": 6, "name": "tile", "isthing": 1}, {"id": 2, "name": "wall", "isthing": 0}]
SAID = "areas in the panoptic JSON are not those of its PNG, which count"


@pytest.fixture(autouse=True)
def nothing_was_said():
    _LOG_COUNTER.clear()


def maps(shift=0):
    """Two tiles [8, 10] and [6, 5] on a wall of [20, 30], two columns of it void."""
    ids = np.full((20, 30), 9)
    ids[:, :2] = 0
    ids[2:10, 4 + shift : 14 + shift] = 300
    ids[12:18, 20:25] = 70_000
    return ids


def segments(ids, area_of=lambda area: {"area": area}):
    categories = {9: 2, 300: 6, 70_000: 6}
    return [
        {"id": key, "category_id": category, **area_of(int((ids == key).sum()))}
        for key, category in categories.items()
    ]


AREAS = {
    "right": lambda area: {"area": area},
    "with a point": lambda area: {"area": float(area)},
    "absent": lambda area: {},
    "a tenth": lambda area: {"area": area // 10},
    "negative": lambda area: {"area": -area},
    "null": lambda area: {"area": None},
}


@pytest.mark.parametrize("kind", AREAS)
def test_quality_is_that_of_the_pixels(kind, caplog):
    truth, prediction = maps(), maps(shift=1)
    with caplog.at_level(logging.WARNING):
        matching = match_segments(
            truth, prediction, segments(truth, AREAS[kind]), segments(prediction), image_id="k"
        )
        match_segments(truth, truth, segments(truth, AREAS[kind]), segments(truth), image_id="l")
    wall = 20 * 28 - 80 - 30
    expected = {6: (72 / 88 + 1) / 2, 2: (wall - 8) / (wall + 8)}
    quality = PanopticQuality(CATEGORIES)
    quality.add(matching)
    found = quality.averages()["per_class"]
    assert {key: found[key]["pq"] for key in expected} == pytest.approx(expected)
    is_right = kind in ("right", "with a point")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ([] if is_right else [f"image k: {SAID}"]), "once, and only where it is so"


def test_a_perfect_prediction_is_never_beyond_1():
    truth = maps()
    tiny = segments(truth, lambda area: {"area": 1})
    assert match_segments(truth, truth, tiny, segments(truth)).tp_ious.tolist() == [1, 1, 1]
