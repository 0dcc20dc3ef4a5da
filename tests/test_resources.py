"""Files of this project under their own names, from any folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

import freeseg  # noqa: F401 - registers the names
from detectron2.config import get_cfg
from detectron2.utils.file_io import PathManager
from freeseg import add_freeseg_config, engine
from freeseg.systems.building import load_config

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "freeseg://"


def test_a_file_is_found_and_read_from_any_folder(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    local = PathManager.get_local_path(f"{PREFIX}configs/shapes/mask2former_tiny.yaml")
    assert Path(local) == ROOT / "configs/shapes/mask2former_tiny.yaml"
    with PathManager.open(f"{PREFIX}configs/shapes/mask2former_tiny.yaml") as file:
        assert file.read() == (ROOT / "configs/shapes/mask2former_tiny.yaml").read_text()
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


BASE = "configs/Base-Mask2Former-small.yaml"


def wanted_of(path: Path):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(path))
    return cfg


def as_jobs_read(config_file: str, *opts: str):
    args = argparse.Namespace(config_file=config_file, opts=list(opts), eval_only=False)
    return engine.load_config(args)


@pytest.mark.parametrize("read", [load_config, as_jobs_read], ids=["asked", "trained"])
def test_a_configuration_of_this_project_is_read_by_its_name(read, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    name = "configs/shapes/mask2former_tiny.yaml"  # has a base beside it
    cfg = read(PREFIX + name)
    wanted = wanted_of(ROOT / name)
    assert cfg.MODEL.BACKBONE == wanted.MODEL.BACKBONE
    assert cfg.SOLVER == wanted.SOLVER
    with pytest.raises(FileNotFoundError, match=r"configs/none\.yaml is not a part of"):
        read(f"{PREFIX}configs/none.yaml")


@pytest.mark.parametrize("read", [load_config, as_jobs_read], ids=["asked", "trained"])
def test_a_base_of_this_project_is_found_from_any_folder(read, monkeypatch, tmp_path) -> None:
    (tmp_path / "deep").mkdir()
    own = tmp_path / "deep/own.yaml"
    own.write_text(f"_BASE_: {PREFIX}{BASE}\nSOLVER:\n  MAX_ITER: 7\n")
    (tmp_path / "further.yaml").write_text("_BASE_: deep/own.yaml\nSOLVER:\n  BASE_LR: 0.5\n")
    monkeypatch.chdir(tmp_path)
    wanted = wanted_of(ROOT / BASE)
    for path in ("deep/own.yaml", str(own), "further.yaml"):
        cfg = read(path)
        assert cfg.SOLVER.MAX_ITER == 7
        assert (0.5 if path == "further.yaml" else wanted.SOLVER.BASE_LR) == cfg.SOLVER.BASE_LR
        assert cfg.MODEL.SEM_SEG_HEAD == wanted.MODEL.SEM_SEG_HEAD


def test_a_base_that_is_not_there_is_named(tmp_path) -> None:
    path = tmp_path / "own.yaml"
    for base, said in (
        (f"{PREFIX}none.yaml", "none.yaml is not a"),
        ("absent.yaml", "absent.yaml"),
    ):
        path.write_text(f"_BASE_: {base}\n")
        with pytest.raises(FileNotFoundError, match=said):
            load_config(path)
