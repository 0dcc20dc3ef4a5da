"""Files of this project under their own names, from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import freeseg  # noqa: F401 - registers the names
from detectron2.config import get_cfg
from detectron2.utils.file_io import PathManager
from freeseg import add_freeseg_config

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "freeseg://"


def test_a_file_is_found_and_read_from_any_folder(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    local = PathManager.get_local_path(f"{PREFIX}weights/README.md")
    assert Path(local) == ROOT / "weights/README.md"
    with PathManager.open(f"{PREFIX}weights/README.md") as file:
        assert file.read() == (ROOT / "weights/README.md").read_text()
    with pytest.raises(FileNotFoundError, match=r"weights/none\.pth is not a part of"):
        PathManager.get_local_path(f"{PREFIX}weights/none.pth")


def test_configurations_name_files_that_are_there() -> None:
    found = set()
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        if PREFIX in path.read_text():
            cfg = get_cfg()
            add_freeseg_config(cfg)
            cfg.merge_from_file(str(path))
            found.add(PathManager.get_local_path(cfg.MODEL.WEIGHTS))
    assert len(found) >= 3
    assert all(Path(path).is_file() for path in found)
