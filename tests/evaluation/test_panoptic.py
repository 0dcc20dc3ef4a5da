from __future__ import annotations

import numpy as np
import pytest

from freeseg.evaluation.panoptic import PanopticCounts


def segments(*classes: int, crowd: int = 0) -> list[dict[str, int]]:
    return [
        {"id": number, "category_id": label, "iscrowd": int(number == crowd)}
        for number, label in enumerate(classes, start=1)
    ]


def count(true_ids, true_segments, ids, found_segments, num_classes=3) -> PanopticCounts:
    counts = PanopticCounts(num_classes)
    counts.add_image(np.array(true_ids), true_segments, np.array(ids), found_segments)
    return counts


def test_found_missed_and_made_up_by_hand():
    """Class 0: 4 of 6 pixels overlap of 5 and 5; class 1 missed; class 2 made up."""
    counts = count([[1, 1, 1, 1, 1, 2]], segments(0, 1), [[1, 1, 1, 1, 2, 1]], segments(0, 2))
    assert counts.iou.tolist() == pytest.approx([4 / 6, 0, 0])
    assert counts.found.tolist() == [1, 0, 0]
    assert counts.missed.tolist() == [0, 1, 0]
    assert counts.made_up.tolist() == [0, 0, 1]
    quality = counts.quality()
    assert quality["PQ"].tolist() == pytest.approx([100 * 4 / 6, 0, 0])
    assert quality["SQ"].tolist() == pytest.approx([100 * 4 / 6, 0, 0])
    assert quality["RQ"].tolist() == [100, 0, 0]


def test_exactly_half_is_no_match_and_another_class_neither():
    counts = count([[1, 1, 0, 0]], segments(0), [[1, 0, 0, 0]], segments(0))
    assert counts.found.sum() == 0
    counts = count([[1, 1, 2, 2]], segments(0, 1), [[1, 1, 2, 2]], segments(1, 0))
    assert counts.found.sum() == 0
    assert counts.missed.tolist() == counts.made_up.tolist() == [1, 1, 0]


def test_void_pixels_count_neither_for_nor_against():
    """Three of a match's five pixels are void; a prediction mostly on void is excused."""
    counts = count([[1, 1, 0, 0, 0]], segments(0), [[1, 1, 1, 1, 1]], segments(0))
    assert counts.iou[0] == 1
    counts = count([[1, 1, 0, 0, 0]], segments(0), [[0, 1, 1, 1, 0]], segments(2))
    assert counts.made_up.sum() == 0
    counts = count([[1, 1, 1, 0, 0]], segments(0), [[0, 1, 1, 1, 1]], segments(2))
    assert counts.made_up.tolist() == [0, 0, 1], "half on void is not more than half"


def test_crowds_are_not_missed_and_excuse_their_own_class():
    crowd = segments(0, 1, crowd=1)
    counts = count([[1, 1, 1, 2]], crowd, [[1, 1, 1, 2]], segments(0, 1))
    assert counts.found.tolist() == [0, 1, 0]
    assert counts.missed.sum() == counts.made_up.sum() == 0
    counts = count([[1, 1, 1, 2]], crowd, [[1, 1, 1, 2]], segments(2, 1))
    assert counts.made_up.tolist() == [0, 0, 1]


def test_sums_of_images_are_counts_of_both_and_absent_classes_are_nan():
    one = count([[1, 1]], segments(0), [[1, 1]], segments(0))
    one += count([[1, 1]], segments(0), [[0, 0]], [])
    quality = one.quality()
    assert quality["PQ"][0] == pytest.approx(100 / 1.5)
    assert quality["RQ"][0] == pytest.approx(100 / 1.5)
    assert quality["SQ"][0] == 100
    assert np.isnan(quality["PQ"][1:]).all()


def test_nothing_at_all_is_nothing():
    counts = count([[0, 0]], [], [[0, 0]], [])
    assert np.isnan(counts.quality()["PQ"]).all()


def test_a_prediction_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\[4, 3\] for a truth \[3, 4\]"):
        PanopticCounts(1).add_image(np.ones((3, 4), int), [], np.ones((4, 3), int), [])
