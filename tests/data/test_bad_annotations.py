"""Annotation files and masks that are broken: refused by name, or harmless; nothing is lost."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_codec

from detectron2.data import DatasetCatalog
from freeseg.data import SegmentationMapper, register_custom
from freeseg.data.panoptic import id2rgb
from freeseg.data.segmentation_code import run_lengths

SIZE = (8, 10)
SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]
KINDS = ("panoptic", "instance")


def content_of(kind):
    categories = [{"id": 1, "name": "sky", "isthing": 0}, {"id": 4, "name": "kite", "isthing": 1}]
    images = [{"id": 3, "file_name": "photo.png", "height": SIZE[0], "width": SIZE[1]}]
    if kind == "panoptic":
        segments = [{"id": 7, "category_id": 4, "iscrowd": 0}, {"id": 8, "category_id": 1}]
        rows = [{"image_id": 3, "file_name": "photo.png", "segments_info": segments}]
    else:
        rows = [annotation(1, SQUARE)]
    return {"images": images, "annotations": rows, "categories": categories}


def annotation(number, segmentation, **more):
    row = {"id": number, "image_id": 3, "category_id": 4, "bbox": [1, 1, 4, 4]}
    return {**row, "segmentation": copy.deepcopy(segmentation), "iscrowd": 0, "area": 16, **more}


@pytest.fixture
def mapped(tmp_path, write_image):
    """Registers a JSON content (or text), loads it, and maps every record; returns the targets."""
    write_image(tmp_path / "photo.png", np.zeros((*SIZE, 3)))
    ids = np.full(SIZE, 8)
    ids[1:5, 1:5] = 7
    write_image(tmp_path / "ids" / "photo.png", id2rgb(ids))
    json_file = tmp_path / "set.json"

    def run(content, kind="instance"):
        text = content if isinstance(content, str) else json.dumps(content)
        json_file.write_text(text)
        name = f"bad_annotations_{len(text)}_{hash(text)}"
        png_root = str(tmp_path / "ids") if kind == "panoptic" else ""
        register_custom([[name, str(json_file), str(tmp_path), png_root]])
        mapper = SegmentationMapper(augmentations=[], image_format="RGB", task="panoptic")
        return [mapper(record)["instances"] for record in DatasetCatalog.get(name)]

    run.json_file = json_file
    return run


def error_of(call):
    """The error with which a call ends, as a user may meet it; None when it ends well."""
    try:
        call()
    except (ValueError, OSError) as error:
        return error
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_files_are_fine(mapped, kind):
    (target,) = mapped(content_of(kind), kind)
    kite = target.gt_classes.tolist().index(0 if kind == "panoptic" else 1)
    assert target.gt_masks.tensor[kite].sum() == 16


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_json_cut_off_anywhere_is_one_line_with_its_name(mapped, kind, data):
    text = json.dumps(content_of(kind))
    cut = data.draw(st.integers(0, len(text) - 1))
    error = error_of(lambda: mapped(text[:cut], kind))
    assert str(error).startswith(f"{mapped.json_file} is no JSON, or was cut off: ")
    assert "\n" not in str(error)


def paths_of(value, path=()):
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from paths_of(inner, (*path, key))


JUNK = st.sampled_from([None, "", "x", -1, 0, 10**12, 1.5, True, [], {}, [[1, 2]], {"a": 1}])


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_junk_or_nothing_at_any_place_is_harmless_or_lines_with_the_file(mapped, kind, data):
    content = content_of(kind)
    path = data.draw(st.sampled_from(list(paths_of(content))))
    place = content
    for key in path[:-1]:
        place = place[key]
    if data.draw(st.booleans()):
        place[path[-1]] = data.draw(JUNK)
    else:
        del place[path[-1]]
    error = error_of(lambda: mapped(content, kind))
    for line in str(error).splitlines() if error is not None else ():
        assert any(name in line for name in ("set.json", "photo.png", "DATASETS.CUSTOM"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_category_is_named(mapped, kind):
    content = content_of(kind)
    row = content["annotations"][0]
    (row["segments_info"][0] if kind == "panoptic" else row)["category_id"] = 77
    with pytest.raises(ValueError, match=r"set\.json: .*category 77"):
        mapped(content, kind)


@pytest.mark.parametrize(
    ("kind", "double", "message"),
    [
        ("instance", lambda c: c["images"].append(c["images"][0]), r"images have the id 3 twice"),
        ("instance", lambda c: c["annotations"].append(annotation(1, SQUARE)), r"the id 1 twice"),
        ("panoptic", lambda c: c["images"].append(c["images"][0]), r"images have the id 3 twice"),
        (
            "panoptic",
            lambda c: c["annotations"][0]["segments_info"].append({"id": 7, "category_id": 1}),
            r"segments of photo\.png have the id 7 twice",
        ),
    ],
)
def test_an_id_that_comes_twice_is_refused(mapped, kind, double, message):
    content = content_of(kind)
    double(content)
    with pytest.raises(ValueError, match=rf"set\.json: .*{message}"):
        mapped(content, kind)


def test_masks_without_area_are_left_out_and_the_others_stay(mapped):
    content = content_of("instance")
    nothing = [[], [[]], [[2, 2, 2, 2, 2, 2]], [[1, 1, 5, 5]], {"size": list(SIZE), "counts": [80]}]
    rows = [annotation(number, mask) for number, mask in enumerate([*nothing, None, SQUARE])]
    (target,) = mapped({**content, "annotations": rows})
    assert target.gt_masks.tensor.sum((1, 2)).tolist() == [16]
    (target,) = mapped({**content, "annotations": rows[:-1]})
    assert target.gt_masks.tensor.shape == (0, *SIZE)


def test_masks_that_leave_the_image_end_at_its_border(mapped):
    far = [[20, 20, 30, 20, 30, 30, 20, 30]]
    across = [[-100, -100, 4, -100, 4, 4, -100, 4]]
    whole = [[-1e6, -1e6, 1e6, -1e6, 1e6, 1e6, -1e6, 1e6]]
    rows = [annotation(number, mask) for number, mask in enumerate([far, across, whole])]
    (target,) = mapped({**content_of("instance"), "annotations": rows})
    assert target.gt_masks.tensor.sum((1, 2)).tolist() == [16, 80]


def test_overlapping_instances_keep_their_pixels_and_a_crowd_is_no_target(mapped):
    shifted = [[2, 2, 6, 2, 6, 6, 2, 6]]
    crowd = rle_codec.encode(np.asfortranarray(np.ones(SIZE, dtype=np.uint8)))
    crowd["counts"] = crowd["counts"].decode()
    rows = [annotation(1, SQUARE), annotation(2, shifted), annotation(3, crowd, iscrowd=1)]
    (target,) = mapped({**content_of("instance"), "annotations": rows})
    masks = target.gt_masks.tensor
    assert masks.sum((1, 2)).tolist() == [16, 16]
    assert (masks[0] & masks[1]).sum() == 9


def test_segments_that_the_png_lacks_are_no_targets_and_strange_pixels_are_void(mapped):
    content = content_of("panoptic")
    content["annotations"][0]["segments_info"] = [
        {"id": 7, "category_id": 4},
        {"id": 99, "category_id": 1},
    ]
    (target,) = mapped(content, "panoptic")
    assert target.gt_masks.tensor.sum((1, 2)).tolist() == [16]


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": list(SIZE), "counts": [5]}, "its runs fill 5 pixels, the image has 8x10"),
        ({"size": list(SIZE), "counts": [70, 20]}, "its runs fill 90 pixels"),
        ({"size": list(SIZE), "counts": ""}, "its runs fill 0 pixels"),
        ({"size": list(SIZE), "counts": [-1, 81]}, "whole numbers from 0"),
        ({"size": list(SIZE), "counts": "5P"}, "cut off"),
        ({"size": [10, 8], "counts": [80]}, r"it is for an image of \[10, 8\]"),
        ({"counts": [80]}, "has counts and size"),
        ([[1, 2, 3]], "a polygon is a list"),
        ([[1, 2, 10**12, 4, 5, 6]], "a polygon is more than 1,000,000 pixels away"),
        ([[1, 2, "x", 4, 5, 6]], "a polygon is a list"),
        ([1, 2, 3, 4, 5, 6], "a polygon is a list"),
        ("0101", "a segmentation is a list of polygons"),
    ],
)
def test_a_mask_that_cannot_be_drawn_is_refused_with_its_photo(mapped, segmentation, reason):
    rows = [annotation(1, SQUARE), annotation(2, segmentation)]
    with pytest.raises(ValueError, match=rf"set\.json: annotation 2, of photo\.png: .*{reason}"):
        mapped({**content_of("instance"), "annotations": rows})


@settings(max_examples=100, derandomize=True, deadline=None)
@given(data=st.data())
def test_run_lengths_equal_cocos_own(data):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    seed, share = data.draw(st.integers(0, 999)), data.draw(st.floats(0, 1))
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    expected = runs if flat[0] == 0 else [0, *runs]
    assert run_lengths(rle_codec.encode(np.asfortranarray(mask))["counts"]) == expected


def test_missing_and_misfit_pngs_are_named(mapped, tmp_path, write_image):
    content = content_of("panoptic")
    second = copy.deepcopy(content["annotations"][0])
    content["images"].append({**content["images"][0], "id": 4})
    content["annotations"].append({**second, "image_id": 4, "file_name": "absent.png"})
    with pytest.raises(OSError, match=r"absent\.png"):
        mapped(content, "panoptic")
    write_image(tmp_path / "ids" / "absent.png", id2rgb(np.full((4, 4), 7)))
    with pytest.raises(ValueError, match=r"absent\.png is 4x4 pixels, its photo is 10x8"):
        mapped(content, "panoptic")
    (tmp_path / "ids" / "photo.png").unlink()
    with pytest.raises(OSError, match=r"cannot read .*photo\.png"):
        mapped(content, "panoptic")
    (tmp_path / "ids" / "absent.png").unlink()  # there is none at all
    with pytest.raises(FileNotFoundError, match=r"photo\.png does not exist"):
        mapped(content, "panoptic")
