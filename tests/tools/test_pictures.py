"""tools/visualize_results.py says which half of a picture is what."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "visualize_results.py"


@pytest.fixture
def dataset(tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (160, 120), (10, 60, 20)).save(photo)
    record = {"file_name": str(photo), "height": 120, "width": 160, "image_id": 1}
    DatasetCatalog.register("one_photo", lambda: [record])
    MetadataCatalog.get("one_photo").set(thing_classes=["car"], stuff_classes=["car"])
    yield "one_photo"
    DatasetCatalog.remove("one_photo")
    MetadataCatalog.remove("one_photo")


def test_each_half_has_a_caption_above_it(dataset, tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--model", "camvid-mask2former", "--dataset", dataset, "--output", str(out)]
    monkeypatch.setattr(sys, "argv", ["visualize_results", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{out / 'photo.png'}\n"
    picture = np.asarray(Image.open(out / "photo.png"))
    assert picture.shape == (120 + 24, 320, 3)
    for half in (picture[:24, :160], picture[:24, 160:]):
        dark = (half < 100).all(-1)
        assert dark.any(), "letters"
        assert (half[0] == 255).all(), "on white"
    assert (picture[24:, :160] == [10, 60, 20]).all(), "the photo, without any annotation"
