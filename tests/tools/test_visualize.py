"""Pictures of data sets: one per photo, in the frame of its annotation."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.zoo.packing import pack_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import DATASET, write_config, write_weights
from turned_images import exif_of

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "photos_of_two_folders"


@pytest.fixture
def row(tmp_path: Path):
    """A row of DATASETS.CUSTOM: two photos of one name, of which EXIF turns the second."""
    images, annotations = [], []
    for number, folder in enumerate(("north", "south"), start=1):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        pixels = np.full((40, 60, 3), (200, 10, 10), dtype=np.uint8)
        exif = exif_of(6 if number == 2 else 1)
        Image.fromarray(pixels).save(tmp_path / "photos" / folder / "tree.png", exif=exif)
        size = {"height": 40, "width": 60}  # as the pixels lie in the file
        images.append({"id": number, "file_name": f"{folder}/tree.png", **size})
        box = {"bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0, "category_id": 1}
        polygon = {"segmentation": [[5, 5, 25, 5, 25, 25, 5, 25]]}
        annotations.append({"id": number, "image_id": number, **box, **polygon})
    categories = [{"id": 1, "name": "tree"}, {"id": 2, "name": "bush"}, {"id": 3, "name": "hedge"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "trees.json").write_text(json.dumps(content))
    yield [NAME, str(tmp_path / "trees.json"), str(tmp_path / "photos"), ""]
    for catalog in (DatasetCatalog, MetadataCatalog):
        if NAME in catalog.list():
            catalog.remove(NAME)


def run_tool(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    path = str(REPOSITORY / "tools" / name)
    monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(path, run_name="__main__")
    assert end.value.code == 0


def sizes_in(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: Image.open(path).size for path in folder.iterdir()}


def test_photos_of_one_name_have_a_picture_each(row, tmp_path, monkeypatch) -> None:
    config = write_config(tmp_path, DATASETS=f"{{CUSTOM: {[row]}, TRAIN: ['{NAME}']}}")
    look = tmp_path / "look"
    run_tool("visualize_data.py", monkeypatch, "--config-file", config, "--output", look)
    assert sizes_in(look) == {"tree.png": (60, 40), "tree_2.png": (60, 40)}


def test_results_are_of_the_photos_as_they_are_annotated(row, tmp_path, monkeypatch) -> None:
    config = write_config(tmp_path, DATASETS=f"{{CUSTOM: {[row]}, TEST: ['{NAME}']}}")
    model = tmp_path / "model"
    model.mkdir()
    config.rename(model / "config.yaml")
    write_weights(tmp_path).rename(model / "model_final.pth")
    seen = tmp_path / "seen"
    run_tool("visualize_results.py", monkeypatch, "--model", model, "--output", seen)
    assert sizes_in(seen) == {"tree.png": (120, 64), "tree_2.png": (120, 64)}  # with captions


@pytest.mark.parametrize("named", ["by its folder", "by its files"])
def test_a_model_is_seen_on_data_that_it_does_not_name(row, tmp_path, monkeypatch, named) -> None:
    config, weights = write_config(tmp_path), write_weights(tmp_path)
    chosen = ["--config-file", config, "--weights", weights]
    if named == "by its folder":
        pack_model(weights_beside(config, weights), tmp_path / "given")
        chosen = ["--model", tmp_path / "given"]
    own = ("--dataset", NAME, "--opts", "DATASETS.CUSTOM", [row])
    seen = tmp_path / "seen"
    run_tool("visualize_results.py", monkeypatch, *chosen, "--output", seen, *own)
    assert sizes_in(seen) == {"tree.png": (120, 64), "tree_2.png": (120, 64)}


def weights_beside(config: Path, weights: Path) -> Path:
    """A folder as a training leaves it."""
    folder = config.parent / "made"
    folder.mkdir()
    config.rename(folder / "config.yaml")
    weights.rename(folder / "model_final.pth")
    return folder


def test_both_tools_leave_void_alone_where_255_is_a_class(tmp_path, monkeypatch) -> None:
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (60, 40), (90, 90, 90)).save(tmp_path / "photos" / "a.png")
    labels = np.full((40, 60), 9, dtype=np.uint16)
    labels[:, 30:] = 10 + 255
    Image.fromarray(labels).save(tmp_path / "labels" / "a.png")
    categories = [{"id": n, "name": f"class {n}"} for n in range(10, 310)]
    content = {"categories": categories, "ignore_label": 9}
    (tmp_path / "classes.json").write_text(json.dumps(content))
    row = [NAME, *(str(tmp_path / name) for name in ("classes.json", "photos", "labels"))]
    config = write_config(tmp_path, DATASETS=f"{{CUSTOM: {[row]}, TEST: ['{DATASET}']}}")
    shown = ("--dataset", NAME, "--output")
    try:
        look, seen = tmp_path / "look", tmp_path / "seen"
        run_tool("visualize_data.py", monkeypatch, "--config-file", config, *shown, look)
        (tmp_path / "model").mkdir()
        config.rename(tmp_path / "model" / "config.yaml")
        write_weights(tmp_path).rename(tmp_path / "model" / "model_final.pth")
        run_tool("visualize_results.py", monkeypatch, "--model", tmp_path / "model", *shown, seen)
        alone = np.asarray(Image.open(look / "a.png").convert("RGB"))
        beside = np.asarray(Image.open(seen / "a.png").convert("RGB"))[24:, :60]
        assert (alone[:, 32:58] != 90).any(-1).mean() > 0.9
        assert (alone[:8, 2:28] == 90).all()  # above the name
        assert np.array_equal(alone, beside)
    finally:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)
