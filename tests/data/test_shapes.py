from __future__ import annotations

import json
import multiprocessing

import numpy as np
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data.panoptic import rgb2id
from freeseg.data.shapes import UNSEEN, ShapesSplit, categories, ensure_split
from freeseg.data.shapes.scene import MIN_VISIBLE, outline, render_scene
from freeseg.data.shapes.textures import stuff_tiles
from freeseg.data.shapes.vocabulary import COLORS, SHAPES, STUFF

SIDE = 64
ALL = ShapesSplit("all", 1, 0).class_names()
SEEN = ShapesSplit("seen", 1, 0, with_unseen=False).class_names()


@pytest.fixture(scope="module")
def tiles():
    return stuff_tiles(np.random.default_rng(0), 4 * SIDE)


def scene(tiles, seed: int, names=ALL):
    return render_scene(np.random.default_rng(seed), tiles, SIDE, names)


def test_the_vocabulary_is_48_things_and_5_stuff():
    table = categories()
    assert [row.id for row in table] == list(range(1, 54))
    assert sum(row.is_thing for row in table) == len(COLORS) * len(SHAPES) == 48
    assert [row.name for row in table[48:]] == list(STUFF)
    assert "red star" in {row.name for row in table}
    assert len({row.color for row in table}) == 53


def test_unseen_are_eight_pairs_and_one_stuff_whose_parts_are_all_seen():
    assert set(UNSEEN) == ALL - SEEN
    pairs = [name.split() for name in UNSEEN if name not in STUFF]
    assert len(pairs) == 8
    assert len(UNSEEN) == 9
    seen_pairs = [name.split() for name in SEEN if name not in STUFF]
    assert {color for color, _ in seen_pairs} == set(COLORS)
    assert {shape for _, shape in seen_pairs} == set(SHAPES)


@pytest.mark.parametrize("seed", range(8))
def test_every_pixel_is_annotated_and_every_segment_visible(tiles, seed):
    result = scene(tiles, seed)
    assert set(np.unique(result.ids)) == set(range(1, len(result.names) + 1))
    assert result.image.shape == (SIDE, SIDE, 3)
    assert set(result.names) <= ALL


def test_the_annotation_is_where_the_colour_is(tiles):
    """An independent check: pixels well inside an object have its colour's hue."""
    import cv2

    checked = 0
    for seed in range(12):
        result = scene(tiles, seed)
        for number, name in enumerate(result.names, start=1):
            color = name.split()[0]
            inside = cv2.erode((result.ids == number).astype(np.uint8), np.ones((5, 5))) > 0
            if color not in COLORS or inside.sum() < 30:
                continue
            mean = result.image[inside].mean(axis=0)
            distance = {
                other: np.linalg.norm(mean - np.array(value)) for other, value in COLORS.items()
            }
            assert min(distance, key=distance.get) == color
            checked += 1
    assert checked >= 20


def test_objects_occlude_each_other_but_stay_visible(tiles):
    """Some object is partly hidden; none is hidden beyond the limit (cut at the border aside)."""
    solidity = []
    for seed in range(30):
        result = scene(tiles, seed)
        for number, name in enumerate(result.names, start=1):
            if name.endswith("square"):
                rows, columns = np.nonzero(result.ids == number)
                solidity.append(len(rows) / ((np.ptp(rows) + 1) * (np.ptp(columns) + 1)))
    assert min(solidity) < 0.5 < max(solidity)
    assert MIN_VISIBLE == 0.4


def test_a_seed_fixes_the_scene(tiles):
    one, other, third = scene(tiles, 3), scene(tiles, 3), scene(tiles, 4)
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.ids, other.ids)
    assert one.caption == other.caption
    assert not np.array_equal(one.image, third.image)


def test_unseen_classes_never_occur_in_a_seen_split(tiles):
    names = {name for seed in range(60) for name in scene(tiles, seed, SEEN).names}
    assert names <= SEEN
    assert len(names) > 35


def test_the_caption_names_everything(tiles):
    for seed in range(10):
        result = scene(tiles, seed)
        for name in set(result.names):
            times = result.names.count(name)
            plural = f"{name}es" if name.endswith("s") else f"{name}s"
            article = "an" if name.startswith("orange") else "a"
            expected = name if name in STUFF else f"{article} {name}"
            assert (f"{times} {plural}" if times > 1 else expected) in result.caption


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_are_about_as_large_as_their_radius(shape):
    radius = np.linalg.norm(outline(shape), axis=1).max()
    assert 0.85 <= radius <= 1.2


def test_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="unknown shape 'blob'; known shapes are circle"):
        outline("blob")


def test_the_registered_set_generates_itself_and_is_exact(tiny_shapes):
    records = DatasetCatalog.get(tiny_shapes)
    metadata = MetadataCatalog.get(tiny_shapes)
    assert len(records) == 8
    for record in records:
        ids = rgb2id(np.array(Image.open(record["pan_seg_file_name"])))
        semantic = np.array(Image.open(record["sem_seg_file_name"]))
        assert Image.open(record["file_name"]).size == ids.shape[::-1]
        for segment in record["segments_info"]:
            mask = ids == segment["id"]
            assert mask.sum() == segment["area"]
            assert (semantic[mask] == segment["category_id"]).all()
            name = metadata.stuff_classes[segment["category_id"]]
            assert segment["isthing"] == (name not in STUFF)
            assert name in record["caption"]
    assert set(metadata.evaluation_set["unseen"]) == set(UNSEEN)
    assert sum(metadata.trainable_flag) == 53 - 9


TINY = ShapesSplit("tiny", num_images=3, seed=1, side=48)


def tree(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_generation_is_repeatable_and_a_finished_split_is_kept(tmp_path):
    ensure_split(tmp_path / "one", TINY)
    ensure_split(tmp_path / "two", TINY)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    stamp = (tmp_path / "one" / "split.json").stat().st_mtime_ns
    ensure_split(tmp_path / "one", TINY)
    assert (tmp_path / "one" / "split.json").stat().st_mtime_ns == stamp


def test_a_split_of_other_settings_is_replaced(tmp_path):
    ensure_split(tmp_path / "tiny", TINY)
    ensure_split(tmp_path / "tiny", ShapesSplit("tiny", num_images=2, seed=1, side=48))
    content = json.loads((tmp_path / "tiny" / "panoptic_tiny.json").read_text())
    assert len(content["images"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"], "nothing temporary is left"


def test_a_failed_generation_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("freeseg.data.shapes.generate.render_scene", fail)
    with pytest.raises(OSError, match="disk full"):
        ensure_split(tmp_path / "tiny", TINY)
    assert list(tmp_path.iterdir()) == []


def _generate(folder):
    ensure_split(folder, TINY)
    return (folder / "split.json").is_file()


def test_processes_that_start_together_agree(tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(_generate, [tmp_path / "tiny"] * 3) == [True] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
