"""PNGs that are missing, cut off or of another size, and values in them that mean nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from freeseg.data.check.maps import check_maps
from freeseg.data.check.photos import check_photos
from freeseg.data.datasets.catalog import IGNORED_KEY, LABELS_KEY
from freeseg.data.label_table import LabelTable, packed_color
from freeseg.data.panoptic import id2rgb
from freeseg.structures import Vocabulary

SIZE = (24, 36)
CLASSES = Vocabulary(("soil", "leaf", "weed"), (False, True, True))


@pytest.fixture
def look(tmp_path, problems):
    """Looks at label maps (arrays, or the content of files), of photos that are all of one size."""

    def run(*maps, key="sem_seg_file_name", void=255, classes=CLASSES, **more):
        records = []
        for number, pixels in enumerate(maps):
            photo, png = tmp_path / f"{number}.jpg", tmp_path / "maps" / f"{number}.png"
            png.parent.mkdir(exist_ok=True)
            Image.new("RGB", SIZE[::-1]).save(photo)
            if isinstance(pixels, bytes):
                png.write_bytes(pixels)
            elif pixels is not None:
                Image.fromarray(pixels).save(png)
            records.append({"file_name": str(photo), key: str(png), "image_id": number, **more})
        headers = check_photos("set", records, problems, frame="auto", white_level=65_535)
        check_maps("set", records, headers, classes, void, problems)
        return [Path(line.split()[1]).name for line in problems.errors]

    return run


def labels(*values, dtype=np.uint8):
    """A map whose columns have the values in turn; each has as many pixels."""
    columns = np.resize(np.array(values), SIZE[1])
    return np.broadcast_to(np.sort(columns), SIZE).astype(dtype).copy()


def test_maps_of_all_classes_are_fine(look, problems):
    assert look(labels(0, 1, 255), labels(2, 0), labels(0, 1, 2, dtype=np.uint16)) == []
    assert not problems.warnings


def test_all_that_is_wrong_with_the_files_is_in_one_list(look, problems, tmp_path):
    path = tmp_path / "whole.png"
    noise = np.random.default_rng(0).integers(0, 3, SIZE, dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    flat = labels(0, 1, 2)
    small = flat[:12]
    found = look(content, None, content[:20], content[:-30], b"text", small, labels(7), flat)
    assert found == ["1.png", "2.png", "3.png", "4.png", "5.png", "6.png"]
    said = " ".join(problems.errors)
    assert "1.png does not exist" in said
    assert "3.png is corrupted or truncated" in said
    assert "4.png is not an image" in said
    assert "5.png is 36x12 pixels, its photo is 36x24" in said
    assert "6.png has the label 7 in 864 pixels, but the 3 classes are numbered 0 to 2" in said


@pytest.mark.parametrize("key", ["sem_seg_file_name", "pan_seg_file_name"])
def test_a_png_that_only_decoding_shows_to_be_damaged_is_a_line(look, problems, tmp_path, key):
    path = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(40)
    look(bytes(content), labels(0, 1, 2), key=key, segments_info=segments(1))
    assert len(problems.errors) == 1
    assert "0.png" in problems.errors[0]


def test_labels_from_1_are_told_as_such(look, problems):
    assert look(labels(1, 2, 3), labels(2, 1)) == ["0.png"]
    (line,) = problems.errors
    assert "0.png has the label 3 in 288 pixels, but the 3 classes are numbered 0 to 2" in line
    assert line.endswith("(255 is ignored): are they counted from 1?")


def test_labels_beyond_the_classes_are_named_file_by_file(look, problems):
    assert look(labels(0, 9), labels(0, 1), labels(0, 4, 200)) == ["0.png", "2.png"]
    assert not any("counted from 1" in line for line in problems.errors)
    assert "label 4 in 288 pixels" in problems.errors[1]


def test_the_void_value_is_that_of_the_set(look, problems):
    assert look(labels(0, 1, 2, 77), void=77) == []
    assert look(labels(0, 1, 2, 255), void=77) == ["0.png"]
    assert "(77 is ignored)" in problems.errors[0]


def test_0_and_255_is_a_warning_of_one_class(look, problems):
    assert look(labels(0, 255), labels(0)) == []
    (line,) = problems.warnings
    assert "every pixel that counts is class 0 ('soil')" in line
    assert "all others are 255, which is ignored, such as in 0.png" in line
    assert "never there: leaf, weed" in line


def test_one_class_without_void_is_a_warning_as_well(look, problems):
    assert look(labels(0), classes=Vocabulary(("all",), (False,))) == []
    (line,) = problems.warnings
    assert "mIoU is 100 whatever is predicted" in line
    assert "255" not in line


def test_nothing_but_void_is_refused(look, problems):
    look(labels(255), labels(255))
    assert problems.errors == [
        "set: all pixels of its label PNGs are 255, ignored: nothing is left"
    ]


def test_classes_that_never_occur_are_named(look, problems):
    assert look(labels(0, 2), labels(2)) == []
    assert problems.warnings == ["set: no pixel of 1 of 3 classes: leaf"]


def test_classes_that_a_record_ignores_are_not_missed(look, problems):
    assert look(labels(0, 2), labels(1, 2, 0), **{IGNORED_KEY: [1]}) == []
    assert not problems.warnings


def test_colours_mean_nothing_without_a_table(look, problems):
    colored = np.zeros((*SIZE, 3), np.uint8)
    colored[:, 9:] = (9, 120, 4)
    assert look(colored, np.stack([labels(0, 1, 2)] * 3, -1)) == ["0.png"]
    assert "0.png has colours, wanted one number per pixel" in problems.errors[0]
    assert '"color" of every category' in problems.errors[0]


COLORS = ((0, 0, 0), (0, 128, 0), (200, 0, 20), (90, 90, 90))
TABLE = LabelTable(
    {0: None, 11: 0, 12: 1, 40: 2}, dict(zip(map(packed_color, COLORS), (None, 0, 1, 2)))
)


def test_colours_and_ids_of_a_table_are_counted(look, problems):
    colored = np.array(COLORS, np.uint8)[labels(0, 1, 2, 3)]
    grey = np.stack([labels(11, 12, 40)] * 3, -1)
    assert look(colored, labels(11, 0, 40, 12), grey, **{LABELS_KEY: TABLE}) == []
    assert not problems.warnings


def test_unknown_colours_and_ids_are_named_with_their_pixels(look, problems):
    swapped = np.array(COLORS, np.uint8)[labels(1, 1, 2)][..., ::-1]
    assert look(labels(11, 13), swapped, **{LABELS_KEY: TABLE}) == ["0.png", "1.png"]
    first, second = problems.errors
    assert first.endswith("0.png has the label 13 in 432 pixels, which is that of no category")
    assert "1.png has the colour [20, 0, 200] in 288 pixels" in second
    assert second.endswith(
        "which is that of no category: red and blue are swapped (OpenCV writes BGR)"
    )


def test_the_void_of_a_table_is_the_one_that_is_named(look, problems):
    look(labels(11, 0), **{LABELS_KEY: TABLE})
    (line,) = problems.warnings
    assert "all others are 0, which is ignored" in line


def segments(*ids):
    return [{"id": each, "category_id": 1} for each in ids]


IDS = np.where(labels(0, 1, 2) == 0, 0, labels(0, 1, 2).astype(int) * 66_100)
PANOPTIC = {"key": "pan_seg_file_name", "segments_info": segments(66_100, 132_200)}


def test_segments_and_void_are_fine(look, problems):
    assert look(id2rgb(IDS), id2rgb(IDS), **PANOPTIC) == []
    assert not problems.warnings


CAUSES = {
    "blue first": (lambda ids: id2rgb(ids)[..., ::-1].copy(), "red and blue are swapped"),
    "grey": (lambda ids: (ids // 66_100).astype(np.uint8), "it has the ids 0, 65793, 131586"),
    "others": (lambda ids: id2rgb(ids + 5), "it has the ids 5, 66105, 132205"),
}


@pytest.mark.parametrize(("change", "cause"), CAUSES.values(), ids=CAUSES)
def test_pngs_without_their_segments_are_refused_with_the_cause(look, problems, change, cause):
    look(change(IDS), change(IDS), **PANOPTIC)
    (line,) = problems.errors
    assert "2 of 2 panoptic PNGs have no pixel of a listed segment, such as" in line
    assert cause in line
    assert line.endswith("nothing is left to learn")


def test_grey_ids_are_told_as_such(look, problems):
    grey = (IDS // 66_100).astype(np.uint8)
    look(grey, key="pan_seg_file_name", segments_info=segments(1, 2))
    assert "it is grey, and COCO's ids are R + 256 G + 65536 B" in problems.errors[0]


def test_some_pngs_without_their_segments_are_a_warning_with_their_number(look, problems):
    assert look(id2rgb(IDS), id2rgb(IDS)[..., ::-1].copy(), **PANOPTIC) == []
    (line,) = problems.warnings
    assert "1 of 2 panoptic PNGs have no pixel" in line
    assert line.endswith("they are all void")


def test_photos_without_a_segment_do_not_hide_that_nothing_is_left(tmp_path, problems):
    records = []
    for number in range(3):
        photo, png = tmp_path / f"{number}.jpg", tmp_path / f"{number}.png"
        Image.new("RGB", SIZE[::-1]).save(photo)
        cv2.imwrite(str(png), id2rgb(IDS))  # as if it were BGR
        listed = segments(66_100) if number else []
        record = {"file_name": str(photo), "pan_seg_file_name": str(png), "segments_info": listed}
        records.append(record)
    check_maps("set", records, {}, CLASSES, 255, problems)
    (line,) = problems.errors
    assert "2 of 3 panoptic PNGs" in line
    assert "nothing is left to learn" in line


def test_ids_that_are_not_listed_and_segments_without_a_pixel_are_counted(look, problems):
    listed = {"key": "pan_seg_file_name", "segments_info": segments(66_100, 4)}
    assert look(id2rgb(IDS), id2rgb(IDS), **listed) == []
    first, second = problems.warnings
    assert "2 of 2 panoptic PNGs have ids that the JSON does not list, such as" in first
    assert "2 listed segments have no pixel in their PNG: left out" in second


def test_other_faults_of_the_set_do_not_hide_those_of_its_maps(look, problems):
    problems.error("photos", "another set: has a fault of its own")
    assert look(labels(0, 8), labels(0, 1)) == ["set:", "0.png"]


@pytest.mark.parametrize(("factor", "is_said"), [(1.0, False), (1.05, False), (0.5, True)])
def test_pngs_whose_segments_have_other_areas_are_counted(look, problems, factor, is_said):
    """As where the PNGs of two photos are exchanged."""
    listed = [{**row, "area": factor * int((row["id"] == IDS).sum())} for row in segments(66_100)]
    assert look(id2rgb(IDS), key="pan_seg_file_name", segments_info=listed) == []
    said = [line for line in problems.warnings if "in another size than the JSON's area" in line]
    assert [line.startswith("set: 1 of 1 panoptic PNGs") for line in said] == [True] * is_said


def test_pngs_with_the_names_of_other_photos_are_counted(tmp_path, problems):
    records = []
    for photo, png in (("a", "b"), ("b", "a"), ("c", "c"), ("d", "scan_d")):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / f"{photo}.jpg")
        Image.fromarray(labels(0, 1, 2)).save(tmp_path / f"{png}.png")
        names = {"file_name": f"{photo}.jpg", "sem_seg_file_name": f"{png}.png"}
        records.append({key: str(tmp_path / value) for key, value in names.items()})
    check_maps("set", records, {}, CLASSES, 255, problems)
    (line,) = problems.warnings
    assert line.startswith("set: 2 of 4 PNGs have the name of another photo, such as")
    assert line.endswith(f"{tmp_path / 'b.png'} of {tmp_path / 'a.jpg'}: are they exchanged?")
