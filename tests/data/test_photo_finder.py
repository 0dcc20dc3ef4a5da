r"""Photos are found by the names of annotation tools: of Windows, of the web, of their storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from freeseg.data.datasets.photo_finder import PhotoFinder
from freeseg.data.problems import Problems

FILES = (
    "day 1/IMG 7.jpg",
    "day 1/plain.png",
    "day 2/100%.png",
    "day 2/a%20b.png",
    "deep/er/only.tif",
    "0a1b2c3d-upload.jpg",
    "two/same.jpg",
    "three/same.jpg",
    "same.png",
    "hashed.jpg",
)


@pytest.fixture
def finder(tmp_path, problems):
    for name in FILES:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return PhotoFinder(tmp_path / "photos", Path("set.json"), problems)


@pytest.fixture
def problems():
    return Problems()


SILENT = {
    "as it is": ("day 1/plain.png", "day 1/plain.png"),
    "of Windows": ("day 1\\plain.png", "day 1/plain.png"),
    "quoted": ("day%201/IMG%207.jpg", "day 1/IMG 7.jpg"),
    "quoted, of Windows": ("day%201\\IMG%207.jpg", "day 1/IMG 7.jpg"),
    "a percent sign": ("day 2/100%.png", "day 2/100%.png"),
    "looks quoted and is not": ("day 2/a%20b.png", "day 2/a%20b.png"),
    "with dots": ("day 2/../same.png", "day 2/../same.png"),
}


@pytest.mark.parametrize(("name", "place"), SILENT.values(), ids=SILENT)
def test_names_that_only_are_written_otherwise(finder, problems, tmp_path, name, place):
    assert finder.find(name) == tmp_path / "photos" / place
    finder.report()
    assert problems.warnings == problems.errors == []


MOVED = {
    "a storage": ("..\\upload\\4\\only.tif", "deep/er/only.tif"),
    "another machine": ("/home/ann/pictures/only.tif", "deep/er/only.tif"),
    "a drive": ("C:\\Users\\ann\\plain.png", "day 1/plain.png"),
    "an upload's hash in the name": ("/data/upload/9/ffeeddcc-hashed.jpg", "hashed.jpg"),
    "an upload's hash in the file": ("upload.jpg", "0a1b2c3d-upload.jpg"),
    "an address": ("https://a.org/files/IMG%207.jpg", "day 1/IMG 7.jpg"),
    "local files of a server": ("/data/local-files/?d=x%2Fy%2Fonly.tif", "deep/er/only.tif"),
}


@pytest.mark.parametrize(("name", "place"), MOVED.values(), ids=MOVED)
def test_names_of_another_place_are_found_by_their_last_part_and_counted(
    finder, problems, tmp_path, name, place
):
    assert finder.find(name) == tmp_path / "photos" / place
    assert finder.find("/x/same.png") == tmp_path / "photos/same.png"
    finder.report()
    (line,) = problems.warnings
    assert line == (
        "set.json: 2 file names are of another place and were found by their last part, such as "
        f"{name!r} as {place!r}"
    )
    assert not problems.errors


def test_one_of_several_is_not_guessed(finder, problems, tmp_path):
    assert finder.find("/x/same.jpg") == tmp_path / "photos" / "/x/same.jpg"
    assert problems.errors == [
        f"set.json: '/x/same.jpg' is not in {tmp_path / 'photos'}, and 2 files there are called "
        "'same.jpg'"
    ]


@pytest.mark.parametrize("name", ["day 1/none.png", "none.png", "a\\b\\none.png", "xplain.png"])
def test_what_is_nowhere_stays_what_it_says(finder, problems, tmp_path, name):
    assert finder.find(name) == tmp_path / "photos" / name.replace("\\", "/")
    finder.report()
    assert problems.warnings == problems.errors == []


def test_a_folder_that_is_not_there_has_no_photos(tmp_path, problems):
    finder = PhotoFinder(tmp_path / "none", Path("set.json"), problems)
    assert finder.find("a.png") == tmp_path / "none" / "a.png"
