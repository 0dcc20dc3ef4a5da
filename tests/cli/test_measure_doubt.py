"""`freeseg measure-doubt`: its signs, its AUROC and its threshold are what they are called."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from freeseg import Segmenter
from freeseg.cli import main
from freeseg.cli.measure_doubt import _kept, _read_list
from freeseg.evaluation.doubt import USED, auroc, dense_signs_of, measure_signs, signs_of
from freeseg.inference import dense_certainty, photo_certainty

STREETS = Path(__file__).parents[2] / "freeseg/web/examples"


def test_auroc_counts_pairs() -> None:
    known, foreign = np.array([0.9, 0.5, 0.4]), np.array([0.5, 0.1])
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in known for b in foreign]
    assert auroc(known, foreign) == sum(pairs) / 6
    assert auroc(foreign, known) == pytest.approx(1 - auroc(known, foreign))


def test_signs_are_higher_where_classes_are_certain() -> None:
    masks = torch.full((2, 3, 4), 9.0)
    masks[1] = -9.0
    vague = signs_of(torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.0, 5.0]]), masks)
    clear = signs_of(torch.tensor([[9.0, 0.9, 0.0], [0.0, 0.0, 5.0]]), masks)
    assert all(vague[name] < clear[name] for name in vague)
    assert len(clear) == 6
    assert clear[USED] == photo_certainty(torch.tensor([[9.0, 0.9, 0.0], [0.0, 0.0, 5.0]]), masks)


def test_signs_of_pixels_are_higher_where_one_class_is_near() -> None:
    vague = torch.full((3, 2, 4), 1.0)
    clear = torch.stack([torch.full((2, 4), value) for value in (1.9, 1.0, 0.9)])
    signs = dense_signs_of(clear, 2.0)
    assert all(dense_signs_of(vague, 2.0)[name] < signs[name] for name in signs)
    assert len(signs) == 5
    assert signs[USED] == dense_certainty(clear, 2.0)


def test_a_list_names_the_photos_of_its_folders_and_of_no_others(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.tsv").write_text("path\tjudged_by\na/2.jpg\tme\n")
    listed = _read_list(tmp_path / "list.tsv")
    kept = _kept([str(tmp_path / "a"), str(tmp_path / "b")], listed)
    assert [path.name for path in kept] == ["2.jpg", "3.jpg"]


@pytest.mark.parametrize("model", ["camvid-mask2former", "camvid-lseg"])
def test_the_threshold_is_a_quantile_of_foreign_photos(model: str, tmp_path: Path, capsys) -> None:
    streets = sorted(STREETS.glob("*.jpg"))[:2]
    colours = {"blue": (20, 30, 230), "red": (230, 30, 20), "grey": (128, 128, 128)}
    for name, colour in colours.items():
        Image.new("RGB", (200, 150), colour).save(tmp_path / f"{name}.png")
    arguments = ["--known", *map(str, streets), "--foreign", str(tmp_path), "--passing", "0.5"]
    assert main(["measure-doubt", "--model", model, *arguments]) == 0
    printed = capsys.readouterr().out
    segmenter = Segmenter.from_pretrained(model, opts=["TEST.UNSURE_BELOW", "1.0"])
    own = sorted(segmenter(path, segmenter.tasks[0]).certainty for path in tmp_path.iterdir())
    threshold = float(re.search(r"unsure below ([\d.]+)", printed)[1])
    assert threshold == pytest.approx(own[1], abs=6e-4), "the median of three"
    assert "known: 0 of 2 unsure" in printed
    assert f"\n| {USED} | 1.000 |" in printed


def test_a_model_without_a_certainty_says_so(tmp_path: Path) -> None:
    class Other:
        model = torch.nn.Identity()
        tasks = ("semantic",)

    with pytest.raises(ValueError, match=r"^Identity has no certainty$"):
        measure_signs(Other(), [])


def test_no_photos_are_one_line(tmp_path: Path, capsys) -> None:
    arguments = ["--known", str(tmp_path / "absent.jpg"), "--foreign", str(STREETS)]
    assert main(["measure-doubt", "--model", "camvid-mask2former", *arguments]) == 2
    assert "absent.jpg" in capsys.readouterr().err.splitlines()[-1]
