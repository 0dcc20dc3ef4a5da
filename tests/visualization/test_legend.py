"""The legend leaves the picture alone and shows every class that is in it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from freeseg.visualization.legend import LegendRow, _shortened, add_legend
from freeseg.visualization.palette import class_colors

TITLE = LegendRow("semantic", None, ("area",))


def rows(count: int, name: str = "class") -> list[LegendRow]:
    return [
        LegendRow(f"{name} {index}", color, (f"{index}.0 %",))
        for index, color in enumerate(class_colors(count))
    ]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def panel_of(result: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The result with the picture's place painted white."""
    panel = result.copy()
    panel[: picture.shape[0], : picture.shape[1]] = 255
    return panel


def color_counts(picture: np.ndarray) -> Counter:
    """How many pixels have each colour."""
    codes, counts = np.unique(picture.astype(int) @ [1, 256, 65536], return_counts=True)
    colors = zip(codes & 255, codes >> 8 & 255, codes >> 16)
    return Counter(dict(zip(colors, counts)))


@pytest.mark.parametrize("size", [(400, 500), (100, 900), (900, 300), (30, 30), (1, 600)])
@pytest.mark.parametrize("count", [1, 5, 30])
def test_the_picture_stays_and_every_swatch_is_shown(size: tuple[int, int], count: int) -> None:
    picture = noise(*size)
    result = add_legend(picture, TITLE, rows(count), 12)
    np.testing.assert_array_equal(result[: size[0], : size[1]], picture)
    counts = color_counts(panel_of(result, picture))
    for row in rows(count):
        assert counts[row.color] > 100


def test_the_panel_is_beside_where_it_fits_and_below_else() -> None:
    assert add_legend(noise(400, 500), TITLE, rows(5), 12).shape[0] == 400
    assert add_legend(noise(400, 500), TITLE, rows(5), 12).shape[1] > 500
    wide = add_legend(noise(200, 900), TITLE, rows(5), 12)
    assert wide.shape[0] > 200
    assert wide.shape[1] == 900
    crowded = add_legend(noise(200, 300), TITLE, rows(20), 12)
    assert crowded.shape[0] > 200
    assert crowded.shape[1] == 300


def test_swatches_are_in_reading_order() -> None:
    picture = noise(400, 500)
    panel = panel_of(add_legend(picture, TITLE, rows(6), 12), picture)
    tops = [np.argwhere((panel == row.color).all(axis=-1))[:, 0].min() for row in rows(6)]
    assert tops == sorted(tops)
    gaps = np.diff(tops)
    assert np.ptp(gaps) <= 1  # evenly spaced


def test_names_too_long_are_cut_not_spread_over_the_panel() -> None:
    picture = noise(400, 500)
    long = [LegendRow("word " * 80, (230, 46, 46), ("9.0 %",))]
    width = add_legend(picture, TITLE, long, 12).shape[1] - 500
    assert width < 12 * 30


def test_very_many_classes_are_summed_up() -> None:
    counts = color_counts(add_legend(noise(2000, 40), TITLE, rows(171), 12)[:, 40:])
    shown = [counts[row.color] > 100 for row in rows(171)]
    assert sum(shown) == 47
    assert all(shown[:47])


def test_the_panel_grows_with_the_font() -> None:
    small = add_legend(noise(900, 900), TITLE, rows(4), 12).shape[1] - 900
    large = add_legend(noise(900, 900), TITLE, rows(4), 24).shape[1] - 900
    assert large == pytest.approx(2 * small, rel=0.1)


def test_remarks_stay_where_classes_are_summed_up() -> None:
    remarks = [LegendRow("unlabelled", None), LegendRow("unsure", None)]
    shortened = _shortened([*rows(60), *remarks])
    assert len(shortened) == 48
    assert shortened[:45] == rows(60)[:45]
    assert [row.name for row in shortened[45:]] == ["and 15 more", "unlabelled", "unsure"]
