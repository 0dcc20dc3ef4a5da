"""A split on the disk, as others read it: pycocotools, panopticapi, Pillow."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import panopticapi.utils
import pytest
from PIL import Image
from pycocotools.coco import COCO

from freeseg.data.datasets.shapes import SPLITS
from freeseg.data.shapes import ShapesSplit, ensure_split, generate
from freeseg.data.shapes.scene import render_scene
from freeseg.data.shapes.textures import stuff_tiles
from freeseg.data.shapes.vocabulary import STUFF, UNSEEN, categories

SPLIT = ShapesSplit("few", num_images=4, seed=9, side=48, with_unseen=False)
NAMES = [row.name for row in categories()]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "deep" / "er" / "few"
    ensure_split(folder, SPLIT)
    return folder


@pytest.fixture(scope="module")
def scenes():
    """The same scenes, drawn by themselves."""
    tiles = stuff_tiles(np.random.default_rng([9, 1]), 4 * 48)
    names = frozenset(NAMES) - frozenset(UNSEEN)
    return [
        render_scene(np.random.default_rng([9, 1, number]), tiles, 48, names)
        for number in range(4)
    ]  # fmt: skip


def test_files_have_the_scenes_in_order_and_their_colours(folder, scenes):
    for number, scene in enumerate(scenes):
        photo = np.array(Image.open(folder / "images" / f"{number:05d}.jpg")).astype(float)
        apart = np.abs(photo - scene.image).mean((0, 1))
        assert apart.max() < 12, "RGB; a JPEG of 92 is near"
        labels = np.array(Image.open(folder / "sem_seg_few" / f"{number:05d}.png"))
        for label, name in enumerate(scene.names, 1):
            assert (labels[scene.ids == label] == NAMES.index(name)).all()
    assert len(list((folder / "images").iterdir())) == 4


def test_panoptic_annotation_as_panopticapi_reads_it(folder, scenes):
    content = json.loads((folder / "panoptic_few.json").read_text())
    assert content["info"] == {
        "description": "Shapes, a procedural dataset",
        "generator": {
            "name": "few", "num_images": 4, "seed": 9, "side": 48, "with_unseen": False,
            "version": 1,
        },
    }  # fmt: skip
    assert content["categories"] == [row.to_json() for row in categories()]
    for number, scene in enumerate(scenes):
        image, annotation = content["images"][number], content["annotations"][number]
        assert image == {
            "id": number + 1, "file_name": f"{number:05d}.jpg", "height": 48, "width": 48,
            "caption": scene.caption,
        }  # fmt: skip
        assert annotation["image_id"] == number + 1
        pixels = np.array(Image.open(folder / "panoptic_few" / annotation["file_name"]))
        ids = panopticapi.utils.rgb2id(pixels)
        assert np.array_equal(ids, scene.ids)
        for segment, (label, name) in zip(
            annotation["segments_info"], enumerate(scene.names, 1), strict=True
        ):
            rows, columns = np.nonzero(ids == label)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert segment == {
                "id": label, "category_id": NAMES.index(name) + 1, "iscrowd": 0,
                "area": len(rows), "bbox": [int(side) for side in box],
            }  # fmt: skip


def test_instances_as_pycocotools_reads_them(folder, scenes):
    truth = COCO(str(folder / "instances_few.json"))
    assert [row["name"] for row in truth.loadCats(truth.getCatIds())] == NAMES[:48]
    for number, scene in enumerate(scenes):
        rows = truth.loadAnns(truth.getAnnIds(number + 1))
        things = [(label, name) for label, name in enumerate(scene.names, 1) if name not in STUFF]
        for row, (label, name) in zip(rows, things, strict=True):
            assert truth.loadCats(row["category_id"])[0]["name"] == name
            assert np.array_equal(truth.annToMask(row) == 1, scene.ids == label)
    assert len({row["id"] for row in truth.dataset["annotations"]}) == len(truth.anns)


def test_a_split_is_readable_for_all_and_says_what_it_is(folder, capsys):
    ensure_split(folder.with_name("other"), TINY)
    assert "shapes tiny: 100%" in capsys.readouterr().err
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert json.loads((folder / "split.json").read_text())["num_images"] == 4
    assert ShapesSplit("x", 1, 0).side == 128
    assert ShapesSplit("x", 1, 0).with_unseen


TINY = ShapesSplit("tiny", num_images=1, seed=1, side=32)
OTHER = ShapesSplit("tiny", num_images=1, seed=2, side=32)


def test_another_process_that_was_faster_wins(tmp_path, monkeypatch):
    """Its split stays; one of other settings in its place is replaced, what is neither is told."""
    made = generate.generate_split

    def race(split):
        def generate_split(folder: Path, own: ShapesSplit) -> None:
            assert folder.name.startswith(".tiny-"), "not to be taken for a set"
            made(folder, own)
            target = tmp_path / "tiny"
            target.mkdir()
            made(target, split)
            (target / "theirs").write_text("")

        return generate_split

    monkeypatch.setattr(generate, "generate_split", race(TINY))
    ensure_split(tmp_path / "tiny", TINY)
    assert (tmp_path / "tiny" / "theirs").exists()
    assert os.listdir(tmp_path) == ["tiny"]
    (tmp_path / "tiny").rename(tmp_path / "gone")
    monkeypatch.setattr(generate, "generate_split", race(OTHER))
    ensure_split(tmp_path / "tiny", TINY)
    assert not (tmp_path / "tiny" / "theirs").exists()
    assert json.loads((tmp_path / "tiny" / "split.json").read_text())["seed"] == 1
    assert sorted(os.listdir(tmp_path)) == ["gone", "tiny"]


def test_a_folder_that_is_filled_again_and_again_is_told(tmp_path, monkeypatch):
    target, rename, tries = tmp_path / "tiny", os.rename, []

    def refill(source, to):
        rename(source, to)  # fails where the folder has files
        if Path(source) == target:
            target.mkdir()
            (target / "theirs").write_text("")
            tries.append(to)

    target.mkdir()
    (target / "theirs").write_text("")
    monkeypatch.setattr(os, "rename", refill)
    with pytest.raises(OSError, match=r"could not put Shapes into .*tiny; remove that folder"):
        ensure_split(target, TINY)
    assert len(tries) == 2
    assert os.listdir(tmp_path) == ["tiny"], "nothing temporary is left"


def test_a_split_whose_note_is_damaged_is_made_anew(tmp_path):
    target = tmp_path / "tiny"
    ensure_split(target, TINY)
    for damage in (b"", b"\xff\xfe"):
        (target / "split.json").write_bytes(damage)
        ensure_split(target, TINY)
        assert json.loads((target / "split.json").read_text())["seed"] == 1


def test_the_registered_splits_are_those_of_the_documentation():
    assert (
        ShapesSplit("train", 2000, 1), ShapesSplit("val", 200, 2),
        ShapesSplit("seen_train", 2000, 3, with_unseen=False),
        ShapesSplit("many_seen_train", 8 * 2000, 4, with_unseen=False),
    ) == SPLITS  # fmt: skip
