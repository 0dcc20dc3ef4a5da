"""tools/measure_doubt.py: its signs, its AUROC and its threshold are what they are called."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from measure_doubt import _kept, _read_list
from measuring.doubt import USED, auroc, signs_of

from freeseg.inference import photo_certainty


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


def test_a_list_names_the_photos_of_its_folders_and_of_no_others(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.tsv").write_text("path\tjudged_by\na/2.jpg\tme\n")
    listed = _read_list(tmp_path / "list.tsv")
    kept = _kept([str(tmp_path / "a"), str(tmp_path / "b")], listed)
    assert [path.name for path in kept] == ["2.jpg", "3.jpg"]
