from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as codec

from detectron2.data import transforms as T
from freeseg.data.annotation import InstanceMasks, Segment, SegmentMap, SegmentMasks

IDENTITY = T.TransformList([T.NoOpTransform()])


def square(*box: int, size=(10, 12)) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


MASKS = SegmentMasks(
    (
        Segment(3, is_thing=False),
        Segment(1, is_thing=True),
        Segment(1, is_thing=True),
        Segment(1, is_thing=True, is_crowd=True),
        Segment(2, is_thing=True),
    ),
    np.stack(
        [
            square(0, 0, 12, 4),
            square(0, 4, 3, 8),
            square(3, 4, 6, 8),
            square(8, 4, 10, 8),
            square(0, 0, 0, 0),
        ]
    ),
)


def test_panoptic_targets_are_visible_segments_without_crowds():
    classes, masks = MASKS.targets("panoptic")
    assert classes.tolist() == [3, 1, 1]
    assert np.array_equal(masks, MASKS.masks[:3])


def test_instance_targets_are_the_things_among_them():
    classes, masks = MASKS.targets("instance")
    assert classes.tolist() == [1, 1]
    assert np.array_equal(masks, MASKS.masks[1:3])


def test_semantic_targets_merge_classes_and_a_crowd_counts_with_its_class():
    classes, masks = MASKS.targets("semantic")
    assert classes.tolist() == [1, 3]
    assert np.array_equal(masks[0], MASKS.masks[1] | MASKS.masks[2] | MASKS.masks[3])


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
def test_no_segments_give_empty_targets_of_the_right_shape(task):
    empty = SegmentMasks((), np.zeros((0, 4, 5), dtype=bool))
    classes, masks = empty.targets(task)
    assert classes.shape == (0,)
    assert masks.shape == (0, 4, 5)


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="got 'stuff'"):
        MASKS.targets("stuff")


@pytest.mark.parametrize("count", [1, 254, 255, 256, 700])
def test_any_number_of_segments_survives_transforms(count):
    ids = np.arange(1, 1025, dtype=np.int32).reshape(32, 32)
    ids[ids > count] = 0
    info = [{"id": i, "category_id": i % 5, "isthing": True} for i in range(1, count + 1)]
    flip = T.TransformList([T.HFlipTransform(32), T.PadTransform(0, 0, 3, 2, seg_pad_value=255)])
    result = SegmentMap.from_panoptic(ids, info).apply(flip, (34, 35))
    assert len(result.segments) == count
    expected = np.pad(ids[:, ::-1], ((0, 2), (0, 3)))
    rebuilt = (result.masks * np.arange(1, count + 1)[:, None, None]).sum(axis=0)
    assert np.array_equal(rebuilt, expected)


def test_segments_are_resized_with_the_sampling_of_the_image():
    ids = np.random.default_rng(0).integers(0, 4, (9, 13)).astype(np.int32)
    info = [{"id": i, "category_id": i, "isthing": True} for i in (1, 2, 3)]
    resize = T.ResizeTransform(9, 13, 20, 7)
    masks = SegmentMap.from_panoptic(ids, info).apply(T.TransformList([resize]), (20, 7)).masks
    as_image = resize.apply_image(ids.astype(np.uint8), interp=0)  # PIL's nearest
    assert np.array_equal((masks * np.array([1, 2, 3])[:, None, None]).sum(axis=0), as_image)


def test_class_map_ignores_void_and_needs_no_byte():
    segments = SegmentMap(np.array([[0, 1, -1]]), [Segment(2, True), Segment(300, False)])
    assert segments.class_map(255).tolist() == [[2, 300, 255]]
    assert segments.class_map(255).dtype == np.float64


def test_semantic_map_becomes_one_segment_per_class():
    labels = np.array([[4, 4, 255], [0, 4, 0]], dtype=np.uint8)
    result = SegmentMap.from_semantic(labels, 255).apply(IDENTITY, (2, 3))
    assert [row.class_id for row in result.segments] == [0, 4]
    assert np.array_equal(result.masks, np.stack([labels == 0, labels == 4]))


POLYGON = [[2, 1, 8, 1, 8, 6, 2, 6]]


@pytest.mark.parametrize("kind", ["polygon", "uncompressed", "compressed", "mask"])
def test_all_ways_to_write_an_instance_mask_agree(kind):
    compressed = codec.merge(codec.frPyObjects(POLYGON, 10, 12))
    mask = codec.decode(compressed)
    column_major = np.r_[0, mask.ravel(order="F")]
    runs = np.diff(np.r_[0, np.flatnonzero(np.diff(column_major)), mask.size])
    segmentation = {
        "polygon": POLYGON,
        "compressed": compressed,
        "uncompressed": {"size": [10, 12], "counts": runs.tolist()},
        "mask": mask,
    }[kind]
    row = {"category_id": 0, "segmentation": segmentation}
    result = InstanceMasks([row], (10, 12)).apply(IDENTITY, (10, 12))
    assert np.array_equal(result.masks[0], square(2, 1, 8, 6))


def test_polygons_are_drawn_at_the_final_size():
    twice = T.TransformList([T.ResizeTransform(10, 12, 20, 24)])
    row = {"category_id": 0, "segmentation": [[1.5, 1.5, 8.5, 1.5, 8.5, 6.5, 1.5, 6.5]]}
    mask = InstanceMasks([row], (10, 12)).apply(twice, (20, 24)).masks[0]
    assert np.array_equal(mask, square(3, 3, 17, 13, size=(20, 24)))


def test_a_polygon_outside_the_crop_or_in_the_padding_is_invisible():
    outside = {"category_id": 0, "segmentation": [[8, 1, 30, 1, 30, 30, 8, 30]]}
    pad = T.TransformList([T.PadTransform(0, 0, 5, 5, seg_pad_value=255)])
    mask = InstanceMasks([outside], (10, 12)).apply(pad, (15, 17)).masks[0]
    assert np.array_equal(mask, np.pad(square(8, 1, 12, 10), ((0, 5), (0, 5))))
    crop = T.TransformList([T.CropTransform(0, 0, 6, 6, 12, 10)])
    masks = InstanceMasks([outside], (10, 12)).apply(crop, (6, 6))
    assert len(masks.targets("instance")[0]) == 0


def test_annotations_without_a_mask_are_left_out():
    rows = [{"category_id": 0, "segmentation": []}, {"category_id": 1, "segmentation": POLYGON}]
    assert [row.class_id for row in InstanceMasks(rows, (10, 12)).segments] == [1]


def test_overlapping_instances_keep_their_whole_masks():
    rows = [{"category_id": 0, "segmentation": POLYGON}] * 2
    masks = InstanceMasks(rows, (10, 12)).apply(IDENTITY, (10, 12)).masks
    assert masks[0].sum() == masks[1].sum() == 30


def test_masks_without_segments_are_refused():
    with pytest.raises(ValueError, match="1 segments but 2 masks"):
        SegmentMasks((Segment(0, True),), np.zeros((2, 3, 4), dtype=bool))


SEGMENTS = st.builds(Segment, st.sampled_from([0, 3, 300]), st.booleans(), st.booleans())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(SEGMENTS, max_size=6), st.integers(0, 2**32 - 1))
def test_targets_are_those_of_a_loop(segments, seed):
    masks = np.random.default_rng(seed).random((len(segments), 2, 3)) < 0.3
    given_masks = SegmentMasks(tuple(segments), masks)
    rows = list(zip(segments, masks))
    merged = {
        label: np.logical_or.reduce([mask for segment, mask in rows if segment.class_id == label])
        for label in sorted({segment.class_id for segment in segments})
    }
    clear = [(segment, mask) for segment, mask in rows if not segment.is_crowd]
    expected = {
        "semantic": list(merged.items()),
        "panoptic": [(segment.class_id, mask) for segment, mask in clear],
        "instance": [(segment.class_id, mask) for segment, mask in clear if segment.is_thing],
    }
    for task, wanted in expected.items():
        wanted = [(label, mask.tolist()) for label, mask in wanted if mask.any()]
        classes, found = given_masks.targets(task)
        assert list(zip(classes.tolist(), found.tolist())) == wanted
        assert (classes.dtype, found.dtype, found.shape[1:]) == (np.int64, bool, (2, 3))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": 7, "category_id": 3}, Segment(3, True)),
        ({"id": 7, "category_id": 3, "isthing": 0, "iscrowd": 1}, Segment(3, False, True)),
        ({"id": 7, "category_id": 0, "isthing": True, "iscrowd": False}, Segment(0, True, False)),
    ],
)
def test_a_segment_is_a_thing_and_no_crowd_unless_it_says_so(row, expected):
    result = SegmentMap.from_panoptic(np.array([[7, 0]]), [row]).apply(IDENTITY, (1, 2))
    assert result.segments == (expected,)
    assert result.masks.tolist() == [[[True, False]]]


@pytest.mark.parametrize("count", [3, 254, 255, 300])
@pytest.mark.parametrize("void", [255, 256, 65535])
def test_the_class_map_has_the_class_of_every_segment(count, void):
    """In bytes where they hold all values, whatever the map is kept in."""
    index = np.random.default_rng(count).integers(-1, count, (20, 31))
    for largest in (255, 256):
        classes = [number % 250 for number in range(count - 1)] + [largest]
        segments = SegmentMap(index, [Segment(label, True) for label in classes])
        found = segments.class_map(void)
        wanted = [[void if i < 0 else classes[i] for i in row] for row in index.tolist()]
        assert found.tolist() == wanted
        assert found.dtype == (np.uint8 if max(largest, void) < 256 else np.float64)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_stuff_fills_what_was_void_and_nothing_else(seed):
    draw = np.random.default_rng(seed)
    index, labels = draw.integers(-1, 2, (3, 4)), draw.choice([4, 9, 77], (3, 4))
    things = SegmentMap(index, [Segment(5, True), Segment(9, True, True)])
    result = things.with_stuff(labels, 77).apply(IDENTITY, (3, 4))
    wanted = {}
    for place in np.ndindex(3, 4):
        if index[place] >= 0:
            key = things.segments[index[place]]
        elif labels[place] != 77:
            key = Segment(int(labels[place]), False)
        else:
            continue
        wanted.setdefault(key, set()).add(place)
    pixels = [set(zip(*(axis.tolist() for axis in np.nonzero(mask)))) for mask in result.masks]
    assert dict(zip(result.segments, pixels)) == wanted


@pytest.mark.parametrize("kind", ["panoptic", "semantic", "no segment"])
def test_void_around_an_annotation_changes_nothing(kind):
    inner = np.random.default_rng(3).choice([0, 2, 400, 9], (5, 8))
    outer = np.pad(inner, ((1, 2), (3, 4)))
    if kind == "semantic":
        both = [SegmentMap.from_semantic(each, ignore_label=0) for each in (inner, outer)]
    else:
        rows = [{"id": number, "category_id": number} for number in (400, 2, 9)]
        rows = [] if kind == "no segment" else rows
        both = [SegmentMap.from_panoptic(each.astype(np.int32), rows) for each in (inner, outer)]
    one, other = (each.apply(IDENTITY, size) for each, size in zip(both, [(5, 8), (8, 15)]))
    assert one.segments == other.segments
    np.testing.assert_array_equal(np.pad(one.masks, ((0, 0), (1, 2), (3, 4))), other.masks)
    maps = [each.class_map(255) for each in both]
    np.testing.assert_array_equal(np.pad(maps[0], ((1, 2), (3, 4)), constant_values=255), maps[1])


def test_a_map_of_another_size_than_the_image_is_refused():
    segments = SegmentMap(np.zeros((3, 4), int), [Segment(0, True)])
    with pytest.raises(ValueError, match=r"image is \(4, 3\) but its labels are \(3, 4\)"):
        segments.apply(IDENTITY, (4, 3))


def test_a_mask_of_runs_is_resized_by_the_nearest_pixel_and_ends_at_the_padding():
    mask = np.random.default_rng(0).random((9, 13)) < 0.4
    row = {"category_id": 2, "iscrowd": 1, "segmentation": codec.encode(np.asfortranarray(mask))}
    steps = [T.ResizeTransform(9, 13, 20, 7), T.PadTransform(1, 2, 3, 4, seg_pad_value=255)]
    result = InstanceMasks([row], (9, 13)).apply(T.TransformList(steps), (26, 11))
    resized = Image.fromarray(mask.astype(np.uint8)).resize((7, 20), Image.Resampling.NEAREST)
    expected = np.pad(np.asarray(resized) == 1, ((2, 4), (1, 3)))
    np.testing.assert_array_equal(result.masks[0], expected)
    assert result.segments == (Segment(2, True, True),)


def test_of_many_polygons_those_of_three_points_or_more_are_drawn():
    box, triangle = [1, 1, 4, 1, 4, 3, 1, 3], [6, 2, 11, 2, 6, 8]
    parts = codec.decode(codec.frPyObjects([box, triangle], 10, 12)).any(2)
    rows = [
        {"category_id": 1, "segmentation": [box, [0, 0, 9, 9], triangle]},
        {"category_id": 0, "segmentation": [[0, 0, 9, 9]]},
        {"category_id": 2},
        {"category_id": 3, "segmentation": None},
    ]
    masks = InstanceMasks(rows, (10, 12))
    result = masks.apply(IDENTITY, (10, 12))
    assert [row.class_id for row in result.segments] == [1, 0]
    np.testing.assert_array_equal(result.masks, [parts, np.zeros_like(parts)])
    np.testing.assert_array_equal(masks.class_map(255), np.where(parts, 1, 255))


@pytest.mark.parametrize("void", [255, 256])
@pytest.mark.parametrize("largest", [255, 256])
def test_the_class_map_of_objects_has_the_last_on_top_and_holds_its_values(void, largest):
    under, over = ([[x, 1, x + 4, 1, x + 4, 6, x, 6]] for x in (1, 3))
    rows = [
        {"category_id": largest, "segmentation": under},
        {"category_id": 4, "segmentation": over},
    ]
    labels = InstanceMasks(rows, (10, 12)).class_map(void)
    expected = np.full((10, 12), void)
    expected[1:6, 1:5], expected[1:6, 3:7] = largest, 4
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == (np.uint8 if max(void, largest) < 256 else np.float64)


def test_a_mask_that_is_none_is_named_by_its_number():
    rows = [{"category_id": 0, "segmentation": POLYGON} for _ in range(3)]
    rows[0] = {"category_id": 0, "segmentation": []}  # is no mask, and is not counted
    rows[2]["segmentation"] = [[1, 2, 3]]
    with pytest.raises(ValueError, match="mask 1 of 2: a polygon is a list x, y"):
        InstanceMasks(rows, (10, 12))


def test_objects_move_with_the_image_and_their_rows_stay_as_they_are():
    rows = [{"category_id": 0, "segmentation": [[2, 1, 8, 1, 8, 6, 2, 6]]}]
    masks = InstanceMasks(rows, (10, 12))
    steps = T.TransformList([T.HFlipTransform(12), T.CropTransform(3, 0, 9, 8, 12, 10)])
    for _ in range(2):
        found = masks.apply(steps, (8, 9)).masks[0]
        np.testing.assert_array_equal(found, square(2, 1, 8, 6)[:, ::-1][:8, 3:])
    assert rows == [{"category_id": 0, "segmentation": [[2, 1, 8, 1, 8, 6, 2, 6]]}]


def test_visible_segments_know_their_places_in_the_annotation():
    ids = np.zeros((4, 6), dtype=np.int32)
    ids[:2, :2], ids[:2, 4:], ids[3, 5] = 7, 9, 8
    rows = [{"id": number, "category_id": 0, "iscrowd": number == 8} for number in (9, 7, 8)]
    whole = SegmentMap.from_panoptic(ids, rows).apply(T.NoOpTransform(), (4, 6))
    assert whole.places == (0, 1, 2)
    assert whole.rows("instance").tolist() == [0, 1]  # the third is a crowd
    part = SegmentMap.from_panoptic(ids, rows).apply(T.CropTransform(0, 0, 3, 4), (4, 3))
    assert part.places == (1,)
    with pytest.raises(ValueError, match="1 segments but 2 places"):
        SegmentMasks(part.segments, part.masks, (0, 1))
