"""`make demo`'s last step segments the photo and the held-out picture, and says what went wrong."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.images import sample_photo
from freeseg.segmenter import Segmenter
from freeseg.visualization.summary import report

sys.path.insert(0, str(Path(__file__).parent))
from fixed_model import write_config, write_weights

SCRIPT = Path(__file__).resolve().parents[1] / "tools/demo.py"


@pytest.fixture
def main():
    spec = importlib.util.spec_from_file_location("demo_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.main


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "holiday.png"
    picture = np.zeros((20, 30, 3), dtype=np.uint8)
    picture[:, :10, 0] = picture[:, 10:, 1] = 200
    Image.fromarray(picture).save(path)
    return path


def test_the_report_names_every_file_once(photo: Path, tmp_path: Path) -> None:
    segmenter = Segmenter.from_config(write_config(tmp_path), write_weights(tmp_path))
    result = segmenter(photo, "all")
    text = report(result, result.save(tmp_path / "out", "holiday"))
    written = list((tmp_path / "out").iterdir())
    assert len(written) == 10
    for path in written:
        assert sum(line.endswith(f"  {path}") for line in text.splitlines()) == 1
    assert text.splitlines()[0] == "  30x20 pixels: green field, red ball"
    assert len(text.splitlines()) == 11


def test_the_report_lists_only_what_was_written(photo: Path, tmp_path: Path) -> None:
    result = Segmenter.from_config(write_config(tmp_path), write_weights(tmp_path))(photo)
    assert len(report(result, result.save(tmp_path, "x")).splitlines()) == 5


def test_the_sample_photo_is_the_one_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    assert sample_photo().shape == (427, 640, 3)


def test_the_script_segments_the_photo_and_the_held_out_picture(
    main, photo: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    config, weights = write_config(tmp_path), write_weights(tmp_path)
    training = tmp_path / "training"
    training.mkdir()
    (training / "config.yaml").write_bytes(config.read_bytes())
    (training / "model_final.pth").write_bytes(weights.read_bytes())
    DatasetCatalog.register("demo_val", lambda: [{"file_name": str(photo)}])
    try:
        command = ["demo.py", "--output", str(tmp_path / "out"), "--training", str(training)]
        command += ["--config-file", str(config), "--weights", str(weights)]
        command += ["--dataset", "demo_val", "--image"]
        monkeypatch.setattr(sys, "argv", [*command, str(photo)])
        assert main() == 0
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert {"holiday_panoptic_overlay.png", "shapes_panoptic_overlay.png"} <= names
        assert len(names) == 20
        assert str(tmp_path / "out" / "holiday_instances.json") in capsys.readouterr().out

        monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / "absent.jpg")])
        assert main() == 1
        captured = capsys.readouterr()
        assert f"could not be segmented: {tmp_path / 'absent.jpg'}: no such file" in captured.err
        assert "shapes_panoptic_overlay.png" in captured.out
    finally:
        DatasetCatalog.remove("demo_val")
        MetadataCatalog.pop("demo_val", None)
