from __future__ import annotations

import numpy as np
import pytest

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
    from pycocotools import mask as codec

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
