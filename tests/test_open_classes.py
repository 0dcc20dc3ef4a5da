"""`Segmenter` and `freeseg segment` with class lists of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg import Segmenter
from freeseg.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from fixed_model import StrongestChannel, write_config, write_weights


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    photo = np.full((20, 30, 3), 10, dtype=np.uint8)
    photo[:, :10, 0] = photo[:, 10:, 1] = 200
    Image.fromarray(photo).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", write_config(tmp_path), write_weights(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list:
    """Makes the fixed model an open-vocabulary one that keeps what it is asked for."""
    given: list = []
    plain = StrongestChannel.forward

    def forward(self, inputs):
        given.extend(one.get("vocabulary") for one in inputs)
        return plain(self, inputs)

    monkeypatch.setattr(StrongestChannel, "takes_classes", True, raising=False)
    monkeypatch.setattr(StrongestChannel, "forward", forward)
    return given


def test_results_have_the_names_and_kinds_that_were_asked_for(files, asked) -> None:
    photo, config, weights = files
    segmenter = Segmenter.from_config(config, weights)
    result = segmenter(photo, "panoptic", text="meadow|lawn: stuff, ball, air: stuff")
    assert asked == [result.vocabulary]
    assert result.vocabulary.texts == ("meadow", "lawn", "ball", "air")
    names = {segment.name: segment.is_thing for segment in result.panoptic.segments}
    assert names == {"meadow": False, "ball": True}
    assert result.category_ids == (0, 1, 2), "numbered, for there is no dataset"
    assert segmenter(photo).vocabulary.names == ("green field", "red ball", "blue sky")
    assert asked[1] == segmenter.vocabulary  # the dataset's, which need not be that of training


def test_a_closed_model_says_so(files) -> None:
    photo, config, weights = files
    segmenter = Segmenter.from_config(config, weights)
    with pytest.raises(ValueError, match=r"StrongestChannel knows its 3 classes only"):
        segmenter(photo, text=["car"])


def test_the_command_takes_a_list_and_a_file(files, asked, tmp_path, capsys) -> None:
    photo, config, weights = files
    out = tmp_path / "out"
    command = ["segment", str(photo), "--config-file", str(config), "--weights", str(weights)]
    command += ["--out", str(out), "--classes"]
    assert main([*command, "meadow: stuff, ball, air: stuff"]) == 0
    assert "meadow" in capsys.readouterr().out
    (tmp_path / "classes.txt").write_text("lawn: stuff\nball\nair: stuff\n")
    assert main([*command, str(tmp_path / "classes.txt")]) == 0
    assert "lawn" in capsys.readouterr().out
    assert [vocabulary.names[0] for vocabulary in asked] == ["meadow", "lawn"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [("car,,sky", "has an empty name"), ("nowhere.txt", "nowhere.txt"), ("a, A", "stands for")],
)
def test_a_list_that_cannot_be_used_is_a_usage_error(
    files, asked, tmp_path, classes, message, capsys
):
    photo, config, weights = files
    command = ["segment", str(photo), "--config-file", str(config), "--weights", str(weights)]
    assert main([*command, "--out", str(tmp_path / "out"), "--classes", classes]) == 2
    assert message in capsys.readouterr().err
    assert asked == []
