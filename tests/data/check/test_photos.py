"""Photos that are missing, cut off, of another size, turned, or darker than they seem."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from freeseg.data.check.photos import check_photos, check_twins

sys.path.insert(0, str(Path(__file__).parents[2]))
from turned_images import deep_tiff, exif_of

FORMATS = ("jpeg", "png", "gif", "webp", "bmp", "tiff", "ppm", "tga", "jp2")


@pytest.fixture
def look(problems):
    def run(records, frame="auto", white_level=65_535):
        return check_photos("set", records, problems, frame=frame, white_level=white_level)

    return run


def noise(height=30, width=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def record(path, height=30, width=40):
    return {"file_name": str(path), "height": height, "width": width}


@pytest.mark.parametrize("kind", FORMATS)
def test_whole_files_of_every_format_pass_and_cut_ones_are_named(tmp_path, look, problems, kind):
    whole = tmp_path / f"whole.{kind}"
    Image.fromarray(noise()).save(whole)
    content = whole.read_bytes()
    cut = []
    for share in (0.05, 0.5, 0.9):
        cut.append(tmp_path / f"cut_{share}.{kind}")
        cut[-1].write_bytes(content[: int(len(content) * share)])
    headers = look([record(whole), *map(record, cut)])
    assert list(headers) == [str(whole)]
    assert headers[str(whole)].upright_size == (30, 40)
    assert [line.split(" ")[:2] for line in problems.errors] == [
        ["set:", str(each)] for each in cut
    ]
    assert not problems.warnings


def test_a_bmp_that_does_not_say_how_long_it_is_is_decoded(tmp_path, look, problems):
    whole, cut = tmp_path / "whole.bmp", tmp_path / "cut.bmp"
    Image.fromarray(noise()).save(whole)
    content = bytearray(whole.read_bytes())
    content[2:6] = bytes(4)
    whole.write_bytes(content)
    cut.write_bytes(content[:-500])
    assert list(look([record(whole), record(cut)])) == [str(whole)]
    (line,) = problems.errors
    assert "cut.bmp" in line
    assert "truncated" in line


def test_what_stands_behind_a_whole_picture_does_no_harm(tmp_path, look, problems):
    records = []
    for kind in ("jpeg", "png"):
        path = tmp_path / f"photo.{kind}"
        Image.fromarray(noise()).save(path)
        path.write_bytes(path.read_bytes() + b"notes of a camera" * 20)
        records.append(record(path))
    assert len(look(records)) == 2
    assert not problems.errors


def test_everything_that_is_no_photo_is_one_line_each(tmp_path, look, problems):
    (tmp_path / "text.jpg").write_text("not a photo")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    names = ("text.jpg", "absent.jpg", "empty.jpg", "folder.jpg")
    assert look([record(tmp_path / name) for name in names]) == {}
    reasons = ("is not an image", "does not exist", "is empty (0 bytes)", "is a folder")
    assert len(problems.errors) == 4
    for line, name, reason in zip(problems.errors, names, reasons):
        assert line.startswith(f"set: {tmp_path / name} {reason}")


def test_of_many_the_first_are_named_and_all_are_counted(tmp_path, look, problems):
    look([record(tmp_path / f"{n}.png") for n in range(48)])
    assert [line.split()[1] for line in problems.errors[:5]] == [
        str(tmp_path / f"{n}.png") for n in range(5)
    ]
    assert problems.errors[5] == "... and 43 more of this kind (photos that cannot be read)"
    assert problems.num_errors == 48


def test_sizes_are_compared_both_ways(tmp_path, look, problems):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    look([record(path, 30, 41), record(path, 40, 30), record(path)])
    place = f"set: {path} is 40x30 pixels (width x height), its annotation says"
    assert problems.errors == [f"{place} 41x30", f"{place} 30x40: swapped"]


@pytest.mark.parametrize(
    ("frame", "passing"), [("auto", {"up", "lying"}), ("upright", {"up"}), ("stored", {"lying"})]
)
def test_the_size_of_a_turned_photo_is_that_of_its_frame(tmp_path, look, problems, frame, passing):
    records = []
    for name, size in {"up": (40, 30), "lying": (30, 40)}.items():
        path = tmp_path / f"{name}.jpg"
        Image.fromarray(noise()).save(path, exif=exif_of(8))
        records.append(record(path, *size))
    look(records, frame)
    named = {Path(line.split()[1]).stem for line in problems.errors}
    assert named == {"up", "lying"} - passing
    assert not problems.warnings, "sizes tell the frame"


def test_a_frame_that_sizes_cannot_tell_is_a_warning(tmp_path, look, problems):
    records = []
    for number, (orientation, size) in enumerate([(6, (33, 33)), (3, (20, 50)), (1, (20, 20))]):
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(noise(*size)).save(path, exif=exif_of(orientation))
        records.append(record(path, *size))
    look(records)
    (line,) = problems.warnings
    assert "EXIF's orientation turns 2 of 3 photos, such as 0.jpg" in line
    assert "INPUT.EXIF stored" in line
    look(records, "stored")
    look(records, "upright")
    assert problems.warnings == [line], "who has said it is not warned"


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_photos_of_fewer_bits_are_a_warning_with_the_level(
    tmp_path, look, problems, bits, kind
):
    values = np.linspace(0, 2**bits - 1, 30 * 40 * 3).reshape(30, 40, 3).astype(np.uint16)
    path = tmp_path / f"deep.{kind}"
    if kind == "png":
        cv2.imwrite(str(path), values[..., 0])
    else:
        path.write_bytes(deep_tiff(values, 1))
    plain = tmp_path / "plain.png"
    Image.fromarray(noise()).save(plain)
    look([record(path), record(plain)])
    (line,) = problems.warnings
    assert line.startswith(f"set: 1 photos have 16 bits per value, such as deep.{kind}")
    assert f"INPUT.WHITE_LEVEL {2**bits - 1};" in line
    look([record(path), record(plain)], white_level=2**bits - 1)
    assert problems.warnings == [line]
    assert not problems.errors


def test_bright_or_black_16_bit_photos_are_fine(tmp_path, look, problems):
    for name, value in {"bright": 40_000, "black": 0}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((30, 40), value, np.uint16))
    look([record(tmp_path / "bright.png"), record(tmp_path / "black.png")])
    assert not problems.warnings


@pytest.mark.parametrize("is_test", [False, True])
def test_a_photo_under_two_ids_is_named(problems, is_test):
    files = ["d/a.png", "d/b.png", "d/../d/a.png", "d//a.png"]
    check_twins("set", [{"file_name": name} for name in files], problems, is_test=is_test)
    (line,) = problems.errors if is_test else problems.warnings
    assert line.startswith("set: 1 photos are listed more than once, such as d/a.png (3 times)")
    assert "DATASETS.MERGE_TWINS True" in line
    assert not (problems.warnings if is_test else problems.errors)


def test_a_photo_that_is_repaired_is_looked_at_again(tmp_path, look, problems):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:200])
    assert look([record(path)]) == {}
    path.write_bytes(content)
    assert len(look([record(path)])) == 1
    assert len(problems.errors) == 1
