"""Laws of records: twins by their photo, sizes of upright photos, void apart from classes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.data.annotation_files import read_labels
from freeseg.data.problems import DataError, Problems
from freeseg.data.records import dataset_records, match_or_refuse, merged, photo_of, renumbered
from freeseg.structures import Vocabulary

sys.path.insert(0, str(Path(__file__).parents[1]))
from turned_images import exif_of

KEY = "sem_seg_file_name"


@pytest.mark.parametrize("known", [{}, {"height": 1}, {"width": 1}])
def test_records_of_objects_have_the_size_of_their_upright_photo(loader, tmp_path, known):
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (30, 20)).save(path, exif=exif_of(6))
    record = {"file_name": str(path), "image_id": 9, "annotations": [], **known}
    assert dataset_records(loader([record])) == [{**record, "height": 30, "width": 20}]
    whole = {**record, "height": 7, "width": 8}
    without = {key: record[key] for key in ("file_name", "image_id")}
    assert dataset_records(loader([whole, without])) == [whole, without]


def test_what_is_wrong_is_raised_or_collected(loader):
    good = {"file_name": "b.png", "image_id": 3}
    name, problems = loader([{"annotations": []}, good]), Problems()
    with pytest.raises(DataError, match=f"^{name}: record 0 needs 'file_name'"):
        dataset_records(name)
    assert dataset_records(name, problems=problems) == [good]
    (line,) = problems.errors
    assert line.startswith(f"{name}: record 0 needs 'file_name'")


@pytest.mark.parametrize("first_has_objects", [True, False])
def test_twins_of_which_one_has_a_png_are_refused(first_has_objects):
    pair = [{"file_name": "p/x/../a.png", "annotations": []}, {"file_name": "p/a.png", KEY: "b"}]
    with pytest.raises(ValueError, match=r"^p/a\.png is listed twice with PNGs"):
        merged(pair if first_has_objects else pair[::-1])


def test_a_photo_is_one_behind_all_links_and_keeps_the_first_name(tmp_path):
    (tmp_path / "a.png").touch()
    os.symlink(tmp_path / "a.png", tmp_path / "b.png")
    rows = [{"category_id": number} for number in range(3)]
    names = ["b.png", "c.png", "a.png"]
    records = [
        {"file_name": str(tmp_path / name), "image_id": name, "annotations": [row]}
        for name, row in zip(names, rows)
    ]
    assert merged(records) == [{**records[0], "annotations": [rows[0], rows[2]]}, records[1]]
    assert records[0]["annotations"] == rows[:1], "what was given stays"
    assert photo_of({"file_name": "p//x/../b.png"}) == os.path.join("p", "b.png")


def test_old_void_is_void_and_new_void_is_a_class_where_it_is_listed(tmp_path):
    """Of 300 classes the last ones are kept; void becomes 255, which is one of the 300."""
    pixels = np.array([[255, 299, 298, 65535, 0]], np.uint16)
    Image.fromarray(pixels).save(tmp_path / "labels.png")
    record = {"file_name": "a", KEY: str(tmp_path / "labels.png")}
    labels = [None] * 300
    labels[255], labels[299] = 3, 0
    (found,) = renumbered([record], labels, 65535, 255)
    assert read_labels(found, KEY, 255).tolist() == [[3, 0, 255, 255, 255]]
    (found,) = renumbered([record], [4] * 300, 298, 65535)
    assert read_labels(found, KEY, 65535).tolist() == [[4, 4, 65535, 65535, 4]]


KNOWN = Vocabulary(("pea", "rice", "oat"), (True,) * 3)


@pytest.mark.parametrize(
    ("names", "ignores", "labels"),
    [
        (("rice", "pea"), False, (1, 0)),
        (("rice", "rye"), True, (1, None)),
        (("rice", "rye"), False, None),
        (("rye", "bean"), True, None),
        (("rye",), False, None),
    ],
)
def test_unknown_classes_are_left_out_where_that_is_asked_for_and_some_are_known(
    names, ignores, labels
):
    listed = Vocabulary(names, (True,) * len(names))
    if labels is not None:
        match = match_or_refuse("mine", listed, KNOWN, "do this", ignores_unknown=ignores)
        assert tuple(match.labels) == labels
        return
    unknown = ", ".join(name for name in names if name not in KNOWN.names)
    message = f"^dataset mine has classes .* not trained on: {unknown}; it knows .*, oat; do this$"
    with pytest.raises(ValueError, match=message):
        match_or_refuse("mine", listed, KNOWN, "do this", ignores_unknown=ignores)
