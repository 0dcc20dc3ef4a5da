"""Predict a folder, correct, train again: one annotation file that loads as a data set."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.cli import main
from freeseg.cli.photos import common_folder
from freeseg.data import SegmentationMapper, register_custom

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import NAMES, write_config, write_weights
from turned_images import exif_of

INSTANCES = "annotations_instances.json"
PANOPTIC = "annotations_panoptic.json"
DATASET = "predicted_again"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Everything a command needs but its photos and their format."""
    config, weights = write_config(tmp_path), write_weights(tmp_path)
    out = tmp_path / "out"
    return ["--config-file", str(config), "--weights", str(weights), "--out", str(out)]


@pytest.fixture
def loaded():
    """Registers a row of DATASETS.CUSTOM and gives its records."""

    def load(*row: object) -> list[dict]:
        register_custom([[DATASET, *map(str, row)]])
        return DatasetCatalog.get(DATASET)

    yield load
    for catalog in (DatasetCatalog, MetadataCatalog):
        if DATASET in catalog.list():
            catalog.remove(DATASET)


def write_photo(path: Path, red: tuple[int, int, int, int], orientation: int = 1) -> None:
    """A green photo [40, 60], as large as the model sees it, with a red box (x, y, w, h)."""
    left, top, width, height = red
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[..., 1] = 200
    pixels[top : top + height, left : left + width] = (200, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif_of(orientation))


BOXES = {"a/00.png": (10, 5, 20, 12), "b/00.png": (0, 0, 7, 40), "b/01.tiff": (30, 20, 30, 20)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, box in BOXES.items():
        write_photo(tmp_path / "photos" / name, box)
    return tmp_path / "photos"


def test_instances_are_one_file_of_the_objects(photos, arguments, tmp_path, capsys) -> None:
    folders = [str(photos / "a"), str(photos / "b")]
    command = ["segment", *folders, *arguments, "--task", "instance", "--format", "annotations"]
    assert main([*command, "--min-score", "0.5"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [INSTANCES]
    path = tmp_path / "out" / INSTANCES
    assert f"{path}: one annotation file, of photos in {photos}\n" in capsys.readouterr().out
    content = json.loads(path.read_text())
    sizes = {"height": 40, "width": 60}
    assert content["images"] == [
        {"id": number, "file_name": name, **sizes} for number, name in enumerate(BOXES, start=1)
    ]
    assert [(row["id"], row["name"]) for row in content["categories"]] == [(5, "red ball")]
    rows = content["annotations"]
    for number, (row, box) in enumerate(zip(rows, BOXES.values()), start=1):
        assert row.pop("segmentation")["size"] == [40, 60]
        assert row == {
            **{"id": number, "image_id": number, "category_id": 5, "iscrowd": 0},
            **{"bbox": list(box), "area": box[2] * box[3], "score": 0.875},
        }
    assert len(rows) == len(BOXES)  # what is blue has 0.25, and no pixel


@pytest.mark.parametrize("task", ["instance", "panoptic", "all"])
def test_each_task_has_its_file(photos, arguments, tmp_path, task) -> None:
    assert main(["segment", str(photos / "b"), *arguments, "--task", task,
                 "--format", "annotations"]) == 0  # fmt: skip
    files = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")
    }
    panoptic = {"annotations_panoptic", PANOPTIC,
                "annotations_panoptic/00.png", "annotations_panoptic/01.png"}  # fmt: skip
    expected = {"instance": {INSTANCES}, "panoptic": panoptic, "all": {INSTANCES} | panoptic}
    assert files == expected[task]


def test_a_semantic_map_has_no_annotation_file(photos, arguments, capsys) -> None:
    command = ["segment", str(photos / "b"), *arguments, "--task", "semantic"]
    assert main([*command, "--format", "annotations"]) == 2
    assert "the format annotations is of the tasks instance and panoptic" in capsys.readouterr().err


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_what_was_predicted_trains_again(arguments, tmp_path, loaded, orientation, task) -> None:
    """The masks lie where the photo is red, also when EXIF turns the photo."""
    folder = tmp_path / "turned"
    write_photo(folder / "x.jpeg", (3, 21, 11, 8), orientation)
    command = ["segment", str(folder), *arguments, "--task", task, "--format", "annotations"]
    assert main(command) == 0
    out = tmp_path / "out"
    rows = {
        "instance": (out / INSTANCES, folder, ""),
        "panoptic": (out / PANOPTIC, folder, out / "annotations_panoptic"),
    }
    [record] = loaded(*rows[task])
    mapper = SegmentationMapper(augmentations=[], image_format="RGB", task=task)
    output = mapper(record)
    names = MetadataCatalog.get(DATASET).stuff_classes
    masks = dict(zip(output["instances"].gt_classes.tolist(), output["instances"].gt_masks.tensor))
    red = masks[names.index("red ball")].numpy()
    pixels = output["image"].numpy().astype(int)
    is_red = pixels[0] > pixels[1]
    assert is_red.sum() == pytest.approx(11 * 8, abs=16)  # JPEG's colours are coarse
    assert (red != is_red).mean() < 0.01
    if task == "panoptic":
        assert set(names) == set(NAMES)
        np.testing.assert_array_equal(masks[names.index("green field")].numpy(), ~red)


def test_panoptic_photos_of_one_name_have_pngs_of_their_own(
    photos, arguments, tmp_path, loaded
) -> None:
    pattern = str(photos / "*" / "*.*")
    assert main(["segment", pattern, *arguments, "--format", "annotations"]) == 0
    out = tmp_path / "out"
    records = loaded(out / PANOPTIC, photos, out / "annotations_panoptic")
    assert [Path(record["file_name"]) for record in records] == [photos / name for name in BOXES]
    mapper = SegmentationMapper(augmentations=[], image_format="RGB")
    for record in records:
        output = mapper(record)
        red = output["instances"].gt_masks.tensor[output["instances"].gt_classes == 0]
        np.testing.assert_array_equal(red[0].numpy(), output["image"][0].numpy() > 0)


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["a"], "a"),
        (["a/00.png"], "a"),
        (["a", "b/01.tiff"], "."),
        (["*/*.png"], "."),
        (["b/0*"], "b"),
        (["[ab]/00.png", "b"], "."),
        (["[c]/00.png"], "[c]"),
        (["a/absent.png", "http://x.org/y.jpg"], "a"),
    ],
)
def test_photos_are_named_in_the_folder_that_holds_all(
    photos: Path, arguments: list[str], folder: str
) -> None:
    write_photo(photos / "[c]" / "00.png", (0, 0, 9, 9))  # a folder that looks like a pattern
    named = [one if "://" in one else str(photos / one) for one in arguments]
    assert common_folder(named) == photos / folder


def test_photos_that_fail_are_left_out_and_the_file_is_written(
    photos, arguments, tmp_path, capsys
) -> None:
    (photos / "b" / "0.jpg").write_bytes(b"no image")
    command = ["segment", str(photos / "b"), *arguments, "--task", "instance", "--json"]
    assert main([*command, "--format", "annotations"]) == 1
    summary = json.loads(capsys.readouterr().out)
    path = tmp_path / "out" / INSTANCES
    assert summary["annotations"] == {
        "files": {"instance": str(path)},
        "image_root": str(photos / "b"),
    }
    assert len(summary["failed"]) == 1
    names = [row["file_name"] for row in json.loads(path.read_text())["images"]]
    assert names == ["00.png", "01.tiff"]


def test_nothing_is_written_of_nothing(tmp_path, arguments) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert main(["segment", str(tmp_path / "bad.png"), *arguments, "--format", "annotations"]) == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_other_formats_are_written_beside_it(photos, arguments, tmp_path) -> None:
    command = ["segment", str(photos / "a"), *arguments, "--task", "instance"]
    assert main([*command, "--format", "rle,annotations"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"00_rle.json", INSTANCES}


def test_a_photo_that_is_named_twice_is_listed_once(photos, arguments, tmp_path) -> None:
    again = photos / "a" / ".." / "a" / "00.png"
    command = ["segment", str(photos / "a"), str(again), *arguments, "--format", "annotations"]
    assert main(command) == 0
    content = json.loads((tmp_path / "out" / PANOPTIC).read_text())
    assert [row["file_name"] for row in content["images"]] == ["00.png"]


def test_videos_and_web_addresses_are_left_out_and_that_is_said(
    photos, arguments, tmp_path, capsys
) -> None:
    (photos / "a" / "drive.mp4").write_bytes(b"is not looked at")
    assert main(["segment", str(photos / "a"), *arguments, "--format", "annotations"]) == 0
    said = capsys.readouterr().err
    assert said == "freeseg: 1 video or web address is left out of the annotation files\n"
    sources = [str(photos / "a"), "http://127.0.0.1:9/x.jpg"]
    assert main(["segment", *sources, *arguments, "--format", "annotations"]) == 0
    said = capsys.readouterr().err
    assert said == "freeseg: 2 videos and web addresses are left out of the annotation files\n"
    content = json.loads((tmp_path / "out" / PANOPTIC).read_text())
    assert [row["file_name"] for row in content["images"]] == ["00.png"]


def test_a_png_is_not_written_over_a_photo_that_is_read(photos, arguments, tmp_path, capsys):
    folder = tmp_path / "out" / "annotations_panoptic"
    folder.mkdir(parents=True)
    photo = (photos / "a" / "00.png").rename(folder / "00.png")
    before = photo.read_bytes()
    assert main(["segment", str(folder), *arguments, "--format", "annotations"]) == 2
    assert f"{photo} would be replaced" in capsys.readouterr().err
    assert photo.read_bytes() == before


def test_the_old_file_stays_when_the_disk_is_full(
    photos, arguments, tmp_path, capsys, monkeypatch
) -> None:
    path = tmp_path / "out" / INSTANCES
    path.parent.mkdir()
    path.write_text("of before")

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    command = ["segment", str(photos / "a"), *arguments, "--task", "instance"]
    assert main([*command, "--format", "annotations"]) == 2
    assert f"{path} cannot be written: No space left on device" in capsys.readouterr().err
    assert path.read_text() == "of before"
    assert [one.name for one in path.parent.iterdir()] == [INSTANCES]


def test_the_coco_file_of_a_photo_names_the_photo(arguments, tmp_path) -> None:
    for folder in ("a", "b"):
        write_photo(tmp_path / folder / "x.jpeg", (0, 0, 9, 9))
    sources = [str(tmp_path / folder) for folder in ("a", "b")]
    assert main(["segment", *sources, *arguments, "--format", "coco"]) == 0
    for stem in ("x", "x_2"):
        content = json.loads((tmp_path / "out" / f"{stem}_panoptic.json").read_text())
        assert [row["file_name"] for row in content["images"]] == ["x.jpeg"]
        assert [row["file_name"] for row in content["annotations"]] == [f"{stem}_panoptic.png"]
        assert (tmp_path / "out" / f"{stem}_panoptic.png").is_file()
