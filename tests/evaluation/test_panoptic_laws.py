"""Counts of panoptic quality are panopticapi's, at the limits and on maps of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from freeseg.data.panoptic import id2rgb
from freeseg.evaluation.panoptic import PanopticCounts

NUM_CLASSES = 4
IDS = (70_003, 301, 9, 255, 65_536, 1_000)  # of segments, in no order
CATEGORIES = (41, 7, 300, 12)  # of the classes, in the file of truth


def of_package(folder, photos) -> dict[str, list[float]]:
    """What panopticapi counts on (true ids, rows, ids, rows) of photos, by class."""
    evaluation = pytest.importorskip("panopticapi.evaluation")
    pairs = []
    for number, photo in enumerate(photos):
        pair = []
        for side, ids, rows in (("true", *photo[:2]), ("found", *photo[2:])):
            name = f"{number}.png"
            (folder / side).mkdir(exist_ok=True)
            Image.fromarray(id2rgb(ids)).save(folder / side / name)
            segments = [
                {**row, "category_id": CATEGORIES[row["category_id"]]}
                | {"area": int((ids == row["id"]).sum()), "iscrowd": row.get("iscrowd", 0)}
                for row in rows
            ]
            pair.append({"image_id": number, "file_name": name, "segments_info": segments})
        pairs.append(tuple(pair))
    known = {category: {"id": category} for category in CATEGORIES}
    folders = str(folder / "true"), str(folder / "found")
    stat = evaluation.pq_compute_single_core(0, pairs, *folders, known)
    rows = [stat.pq_per_cat[category] for category in CATEGORIES]
    return {
        "iou": [row.iou for row in rows],
        "found": [row.tp for row in rows],
        "made_up": [row.fp for row in rows],
        "missed": [row.fn for row in rows],
    }


def drawn(random, shape) -> tuple[np.ndarray, list[dict]]:
    """Boxes over one another on void; at most one crowd."""
    ids = np.zeros(shape, np.int32)
    rows = []
    for id_ in random.permutation(IDS)[: random.integers(0, len(IDS) + 1)].tolist():
        top, left = random.integers(0, shape[0] - 2), random.integers(0, shape[1] - 2)
        height, width = random.integers(2, 7, 2)
        ids[top : top + height, left : left + width] = id_
        rows.append({"id": id_, "category_id": int(random.integers(NUM_CLASSES))})
    rows = [row for row in rows if (ids == row["id"]).any()]
    for row in rows[:1]:
        row["iscrowd"] = int(random.random() < 0.5)
    return ids, rows


def moved(random, ids, rows) -> tuple[np.ndarray, list[dict]]:
    """A guess at a truth: pushed by a pixel, some classes mistaken, void partly filled."""
    shift = random.integers(-1, 2, 2)
    guess = np.roll(ids, shift, (0, 1))
    guess[(guess == 0) & (random.random(ids.shape) < random.random())] = 77
    segments = [
        {"id": row["id"], "category_id": row["category_id"]}
        if random.random() < 0.8
        else {"id": row["id"], "category_id": int(random.integers(NUM_CLASSES))}
        for row in [*rows, {"id": 77, "category_id": int(random.integers(NUM_CLASSES))}]
    ]
    return guess, [row for row in segments if (guess == row["id"]).any()]


def test_random_maps_are_counted_as_by_panopticapi(tmp_path):
    random = np.random.default_rng(3)
    photos = []
    for number in range(60):
        shape = (9, 13) if number % 2 else (11, 6)
        truth = drawn(random, shape)
        photos.append((*truth, *(moved(random, *truth) if number % 3 else drawn(random, shape))))
    one, other = PanopticCounts(NUM_CLASSES), PanopticCounts(NUM_CLASSES)
    for number, photo in enumerate(photos):
        (one if number < 17 else other).add_image(*photo)
    one += other
    expected = of_package(tmp_path, photos)
    found = {key: getattr(one, key).tolist() for key in expected}
    assert found == {key: pytest.approx(values) for key, values in expected.items()}
    assert min(min(values) for values in found.values()) > 0, "every class has all of it"


def test_qualities_are_their_formulas():
    counts = PanopticCounts(4)
    counts.iou[:] = [2.5, 0, 0, 0]
    counts.found[:] = [3, 0, 0, 0]
    counts.made_up[:] = [1, 2, 0, 0]
    counts.missed[:] = [6, 0, 5, 0]
    nan = float("nan")
    expected = {
        "PQ": [2.5 / 6.5, 0, 0, nan],
        "SQ": [2.5 / 3, 0, 0, nan],
        "RQ": [3 / 6.5, 0, 0, nan],
    }
    for name, values in counts.quality().items():
        np.testing.assert_allclose(values, 100 * np.array(expected[name]))


@pytest.mark.parametrize(("extra", "is_found"), [(0, False), (1, True)])
def test_half_is_no_match_and_a_pixel_more_is_one(extra, is_found):
    """Of a truth of 12 pixels 6 are found, and nothing beside it."""
    truth, guess = np.zeros((3, 6), int), np.zeros((3, 6), int)
    truth[:2] = 5
    guess.reshape(-1)[: 6 + extra] = 8
    counts = PanopticCounts(3)
    rows = [{"id": 5, "category_id": 2}], [{"id": 8, "category_id": 2}]
    counts.add_image(truth, rows[0], guess, rows[1])
    assert counts.found.tolist() == [0, 0, int(is_found)]
    assert counts.missed.tolist() == counts.made_up.tolist() == [0, 0, int(not is_found)]
    assert counts.iou[2] == pytest.approx(7 / 12 if is_found else 0)


@pytest.mark.parametrize("kind", ["void", "crowd"])
@pytest.mark.parametrize(("excused", "made_up"), [(5, 1), (6, 0)])
def test_a_guess_is_excused_by_more_than_half_of_its_pixels(kind, excused, made_up):
    """Ten pixels of class 1, on void or on a crowd of theirs, the others on class 0."""
    truth, guess = np.full((2, 8), 3), np.zeros((2, 8), int)
    truth.reshape(-1)[:excused] = 0 if kind == "void" else 4
    guess.reshape(-1)[:10] = 6
    rows = [{"id": 3, "category_id": 0}, {"id": 4, "category_id": 1, "iscrowd": 1}]
    counts = PanopticCounts(2)
    counts.add_image(truth, rows[: 1 + (kind == "crowd")], guess, [{"id": 6, "category_id": 1}])
    assert counts.made_up.tolist() == [0, made_up]
    assert counts.missed.tolist() == [1, 0]


def test_a_listed_id_of_void_is_void():
    counts = PanopticCounts(1)
    row = {"id": 0, "category_id": 0}
    counts.add_image(np.zeros((2, 3), int), [], np.zeros((2, 3), int), [row])
    assert counts.found.tolist() == [0]
