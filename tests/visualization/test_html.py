"""The page of a segmentation holds it whole, and nothing in names can break out of it."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.structures import Vocabulary
from freeseg.visualization.html import html_page, runs_of, viewer_data

sys.path.insert(0, str(Path(__file__).parent))
from sample import HEIGHT, IS_THING, WIDTH, sample_result


def decode(segment: dict) -> np.ndarray:
    left, top, width, height = segment["box"]
    flat = np.zeros(width * height, dtype=bool)
    for start, length in zip(segment["runs"][::2], segment["runs"][1::2]):
        flat[start : start + length] = True
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : top + height, left : left + width] = flat.reshape(height, width)
    return mask


@pytest.mark.parametrize("seed", range(4))
def test_runs_are_the_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random((7, 9)) < (0.0, 0.3, 0.8, 1.0)[seed]
    runs = runs_of(mask)
    segment = {"box": [0, 0, 9, 7], "runs": runs}
    np.testing.assert_array_equal(decode(segment)[:7, :9], mask)
    starts, lengths = runs[::2], runs[1::2]
    assert all(length > 0 for length in lengths)
    ends = [start + length for start, length in zip(starts, lengths)]
    assert all(end < start for end, start in zip(ends, starts[1:]))


def test_every_view_has_its_segments_the_largest_first() -> None:
    result = sample_result()
    data = json.loads(json.dumps(viewer_data(result, 0.5)))
    assert list(data["views"]) == list(result.tasks)
    for task, segments in data["views"].items():
        found = result.segments(task)
        masks = {mask.tobytes(): index for index, mask in enumerate(found.masks)}
        areas = [segment["area"] for segment in segments]
        assert areas == sorted(areas, reverse=True)
        for segment in segments:
            index = masks[decode(segment).tobytes()]
            assert segment["name"] == found.names[index]
            score = found.scores[index]
            assert segment["score"] == (None if np.isnan(score) else score)
    assert len(data["views"]["panoptic"]) == 5
    assert [segment["score"] for segment in data["views"]["instance"]] == [0.75, 1.0]


def test_the_page_needs_nothing_else_and_is_safe() -> None:
    names = ("</script><script>alert(1)</script>", "<b>tree</b>", "dog", "road")
    result = dataclasses.replace(sample_result(), vocabulary=Vocabulary(names, IS_THING))
    page = html_page(result, "a <b> photo", 0.5, "data:application/zip;base64,AA==")
    assert "<title>a &lt;b&gt; photo</title>" in page
    assert len(re.findall("</script", page)) == 3
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    content = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1]
    data = json.loads(content)
    assert data["archive"] == "data:application/zip;base64,AA=="
    assert {segment["name"] for segment in data["views"]["semantic"]} == {
        names[0],
        names[1],
        "road",
    }
    photo = Image.open(io.BytesIO(base64.b64decode(data["image"].split(",")[1])))
    assert photo.size == (WIDTH, HEIGHT)
