"""What a picture says is what the masks hold: shares, order and colours."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle_codec

from detectron2.structures import Boxes, Instances
from freeseg.structures import Vocabulary
from freeseg.visualization import Segmentation, class_colors
from freeseg.visualization.drawing import FILL_OPACITY
from freeseg.visualization.overlay import _font_size, _legend_rows, segments_of
from freeseg.visualization.palette import shade

NAMES = ("car", "tree", "dog", "road", "sea")
SIZE = (37, 53)
COLORS = class_colors(len(NAMES))
MIN_SCORE = 0.25


def random_instances(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blocks that overlap, some of them several of one class: masks, labels, scores."""
    rng = np.random.default_rng(seed)
    count = 9
    masks = np.zeros((count, *SIZE), dtype=bool)
    for mask in masks:
        top, left = rng.integers(0, SIZE[0] - 3), rng.integers(0, SIZE[1] - 3)
        mask[top : top + rng.integers(3, 20), left : left + rng.integers(3, 30)] = True
        mask &= rng.random(SIZE) < 0.9
    scores = rng.permutation(np.linspace(0.1, 0.98, count)).astype(np.float32)
    return masks, rng.integers(0, len(NAMES) - 1, count), scores


def result_of(masks, labels, scores) -> Segmentation:
    output = {
        "instances": Instances(
            SIZE,
            pred_masks=torch.from_numpy(masks),
            pred_boxes=Boxes(torch.zeros(len(masks), 4)),
            scores=torch.from_numpy(scores),
            pred_classes=torch.from_numpy(labels),
        )
    }
    photo = np.random.default_rng(9).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return Segmentation.from_detectron2(photo, output, Vocabulary(NAMES, (True,) * len(NAMES)))


@pytest.mark.parametrize("seed", range(6))
def test_the_legend_of_instances_says_what_their_union_covers(seed: int) -> None:
    masks, labels, scores = random_instances(seed)
    result = result_of(masks, labels, scores)
    expected = []
    for label in set(labels.tolist()):
        own = (labels == label) & (scores >= MIN_SCORE)
        if own.any():
            low, high = (round(100 * float(limit(scores[own]))) for limit in (np.min, np.max))
            found = f"{high}%" if low == high else f"{low}–{high}%"
            share = float(100 * masks[own].any(0).mean())
            count = f" ×{own.sum()}" if own.sum() > 1 else ""
            expected.append((share, NAMES[label] + count, found, COLORS[label]))
    expected.sort(key=lambda row: -row[0])
    rows = _legend_rows(result, "instance", segments_of(result, "instance", MIN_SCORE))
    assert [(row.name, row.color) for row in rows] == [(row[1], row[3]) for row in expected]
    assert [row.figures for row in rows] == [(row[2], f"{row[0]:.1f} %") for row in expected]


def stuff_result(seed: int) -> tuple[Segmentation, np.ndarray]:
    """A panoptic map of unlike areas, a part of it of no segment; segments of a class twice."""
    rng = np.random.default_rng(seed)
    ids = np.zeros(SIZE, dtype=np.int32)
    infos = []
    for number, label in ((40, 1), (7, 0), (300, 0), (12, 3), (70000, 0)):
        top, left = rng.integers(0, 25), rng.integers(0, 35)
        ids[top : top + rng.integers(4, 14), left : left + rng.integers(5, 18)] = number
        infos.append({"id": number, "category_id": label, "isthing": label == 0})
    is_thing = tuple(index == 0 for index in range(len(NAMES)))
    photo = np.random.default_rng(9).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    output = {"panoptic_seg": (torch.from_numpy(ids), infos)}
    return Segmentation.from_detectron2(photo, output, Vocabulary(NAMES, is_thing)), ids


@pytest.mark.parametrize("seed", range(4))
def test_the_legend_s_shares_and_what_is_unlabelled_make_the_whole(seed: int) -> None:
    result, ids = stuff_result(seed)
    regions = segments_of(result, "panoptic", 0.0)
    *rows, unlabelled = _legend_rows(result, "panoptic", regions)
    labels = {segment.id: segment.label for segment in result.panoptic.segments}
    area = dict.fromkeys(labels.values(), 0)
    for number in ids.ravel().tolist():
        if number:
            area[labels[number]] += 1
    expected = sorted(((a, label) for label, a in area.items() if a), key=lambda row: -row[0])
    assert [row.color for row in rows] == [COLORS[label] for _, label in expected]
    assert [row.figures for row in rows] == [(f"{100 * a / ids.size:.1f} %",) for a, _ in expected]
    assert unlabelled.name == "unlabelled"
    assert unlabelled.figures == (f"{100 * (ids == 0).mean():.1f} %",)


def test_shares_too_small_to_write_are_not_written_as_nothing() -> None:
    """0.05 % is the least that is rounded up to 0.1 %."""
    for size, share in (((50, 40), "0.1 %"), ((50, 41), "<0.1 %")):
        seen = torch.zeros(size, dtype=torch.int64)
        seen[3, 4] = 1
        maps = torch.stack([seen == index for index in range(len(NAMES))]).float()
        result = Segmentation.from_detectron2(
            np.zeros((*size, 3), np.uint8),
            {"sem_seg": maps},
            Vocabulary(NAMES, (False,) * len(NAMES)),
        )
        rows = _legend_rows(result, "semantic", segments_of(result, "semantic", 0.0))
        assert [row.figures for row in rows] == [(f"{100 - 100 / seen.numel():.1f} %",), (share,)]
        assert [row.name for row in rows] == ["car", "tree"]


@pytest.mark.parametrize("seed", range(6))
def test_the_best_instance_of_a_class_has_its_colour_and_the_smallest_is_on_top(seed) -> None:
    masks, labels, scores = random_instances(seed)
    result = result_of(masks, labels, scores)
    colors: dict[int, tuple[int, int, int]] = {}
    for label in set(labels.tolist()):
        own = sorted(np.flatnonzero(labels == label), key=lambda index: -scores[index])
        assert shade(COLORS[label], 0) == COLORS[label]
        for rank, index in enumerate(own):
            colors[index] = shade(COLORS[label], rank)
    expected = np.zeros((*SIZE, 3), dtype=np.uint8)
    best_first = np.argsort(-scores).tolist()
    for index in sorted(best_first, key=lambda index: -masks[index].sum()):
        expected[masks[index]] = colors[index]
    np.testing.assert_array_equal(result.label_picture("instance"), expected)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_the_order_in_which_instances_come_draws_the_same_picture(order) -> None:
    masks, labels, scores = (array[:3] for array in random_instances(2))
    picks = list(order)
    one = result_of(masks, labels, scores)
    other = result_of(masks[picks], labels[picks], scores[picks])
    for task_picture in (lambda result: result.picture(), lambda result: result.overlay()):
        np.testing.assert_array_equal(task_picture(one), task_picture(other))


def test_fills_mix_photo_and_colour_at_half_each() -> None:
    mask = np.zeros((1, *SIZE), dtype=bool)
    mask[0, 5:30, 10:45] = True
    result = result_of(mask, np.array([2]), np.array([0.9], np.float32))
    unnamed = segments_of(result, "instance", 0.0)
    assert [region.caption for region in unnamed] == ["dog 90%"]
    picture = result.picture()
    inside = np.s_[7:9, 12:43]  # above the caption, within the contour
    half = (result.image[inside].astype(float) + np.array(COLORS[2])) / 2
    assert FILL_OPACITY == 0.5
    np.testing.assert_allclose(picture[inside], half, atol=1)
    np.testing.assert_array_equal(picture[:3], result.image[:3])


def test_the_least_score_drawn_is_the_one_asked_for() -> None:
    masks, labels, _ = random_instances(3)
    scores = np.array([0.5, 0.25, 0.75] * 3, dtype=np.float32)
    result = result_of(masks, labels, scores)
    for limit, count in ((0.25, 9), (0.250001, 6), (0.5, 6), (0.75, 3), (0.750001, 0)):
        assert len(segments_of(result, "instance", limit)) == count


def test_regions_are_named_as_their_classes_and_things_are_things() -> None:
    result, _ = stuff_result(1)
    assert [(region.caption, region.is_thing) for region in segments_of(result, "panoptic", 0)] == [
        (segment.name, segment.is_thing) for segment in result.panoptic.segments
    ]
    masks, labels, scores = random_instances(1)
    instances = segments_of(result_of(masks, labels, scores), "instance", 0)
    best_first = np.argsort(-scores)
    assert [region.caption for region in instances] == [
        f"{NAMES[labels[index]]} {round(100 * float(scores[index]))}%" for index in best_first
    ]
    assert all(region.is_thing for region in instances)
    maps = np.eye(len(NAMES), dtype=np.float32)[np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 3]
    output = {"sem_seg": torch.from_numpy(maps).permute(2, 0, 1)}
    semantic = Segmentation.from_detectron2(
        result.image, output, Vocabulary(NAMES, (False,) * len(NAMES))
    )
    assert [region.caption for region in segments_of(semantic, "semantic", 0)] == list(NAMES[:3])


@pytest.mark.parametrize(
    ("size", "font"), [((10, 10), 11), ((600, 1000), 20), ((1000, 600), 20), ((9000, 9000), 96)]
)
def test_letters_grow_with_the_picture_between_two_limits(size, font) -> None:
    """2.6 % of the side of a square of its area."""
    assert _font_size(np.zeros((*size, 3), np.uint8)) == font


@pytest.mark.parametrize("void", [-1, 5, 255, 256, 1000])
def test_labels_of_no_class_are_in_no_list_and_crash_nothing(void: int, tmp_path) -> None:
    """A map may have pixels of no class; every other pixel is said as without them."""
    labels = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 3
    labels[:9] = void
    photo = np.zeros((*SIZE, 3), np.uint8)
    vocabulary = Vocabulary(NAMES, (False,) * len(NAMES))
    result = Segmentation(photo, vocabulary, tuple(range(5)), semantic=labels)
    rows = result.to_rle()
    assert [(row["label"], row["area"]) for row in rows] == [
        (label, int((labels == label).sum())) for label in range(3)
    ]
    for row in rows:
        rle = {**row["segmentation"], "counts": row["segmentation"]["counts"].encode()}
        np.testing.assert_array_equal(rle_codec.decode(rle), labels == row["label"])
    assert (result.label_picture()[:9] == 0).all()
    paths = result.save(tmp_path, "x", formats="labelmap,rle,overlay,html")
    stored = np.asarray(Image.open(paths["semantic"]))
    np.testing.assert_array_equal(stored[9:], labels[9:])
    assert set(np.unique(stored[:9])) == {255}
    legend = _legend_rows(result, "semantic", segments_of(result, "semantic", 0.0))
    assert legend[-1].name == "unlabelled"
    assert legend[-1].figures == (f"{100 * 9 / SIZE[0]:.1f} %",)
