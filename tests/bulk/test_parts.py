"""A part is complete or not there, and says which error came first."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest

from freeseg.bulk.parts import PartWriter, part_path, read_part
from freeseg.bulk.photos import photos_of
from freeseg.files import WriteError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from full_disk import full_disk

RECORDS = [
    {"photo": "a/é.JPG", "image": {"file_name": "x.y.JPG"}, "bytes": b"\xff\xd8first"},
    {"photo": "b", "error": "b: is empty"},
    {"photo": "c.png", "image": {"file_name": "c.png"}, "bytes": b""},
]


def written(path: Path) -> Path:
    writer = PartWriter(path)
    for number, record in enumerate(RECORDS):
        writer.write(f"key-{number}", dict(record))
    writer.close()
    return path


def without_photos() -> list[dict]:
    return [{key: value for key, value in one.items() if key != "bytes"} for one in RECORDS]


@pytest.mark.parametrize(("form", "suffix"), [("jsonl", "jsonl"), ("webdataset", "tar")])
def test_a_part_is_called_by_its_piece_and_reads_back(tmp_path, form, suffix):
    path = part_path(tmp_path, 12, form)
    assert path == tmp_path / f"part-00000012.{suffix}"
    assert list(read_part(written(path))) == without_photos()
    assert list(tmp_path.iterdir()) == [path]


def test_lines_are_json(tmp_path):
    lines = written(part_path(tmp_path, 0, "jsonl")).read_text().splitlines()
    assert [json.loads(line) for line in lines] == without_photos()


def test_a_shard_has_each_record_and_its_photo_under_one_key(tmp_path):
    path = written(part_path(tmp_path, 0, "webdataset"))
    assert [photo.error for photo in photos_of([str(path)])] == ["", ""], "it has its end mark"
    with tarfile.open(path) as archive:
        found = [(one.name, archive.extractfile(one).read()) for one in archive]
    texts = [json.dumps(one).encode() for one in without_photos()]
    assert found == [
        ("key-0.json", texts[0]),
        ("key-0.jpg", b"\xff\xd8first"),
        ("key-1.json", texts[1]),
        ("key-2.json", texts[2]),
        ("key-2.png", b""),
    ]


@pytest.mark.parametrize("form", ["jsonl", "webdataset"])
@pytest.mark.parametrize("room", [0, 4_000])
def test_a_full_disk_is_told_and_the_old_part_stays(tmp_path, form, room):
    path = part_path(tmp_path, 3, form)
    path.write_bytes(b"the old one")
    with full_disk(room), pytest.raises(WriteError) as told:  # noqa: PT012
        writer = PartWriter(path)
        try:
            for _ in range(3):
                writer.write("a", {"photo": "x" * 20_000})
        except BaseException:
            writer.abandon()
            raise
        writer.close()
    assert str(told.value) == f"{path} cannot be written: File too large"
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("form", ["jsonl", "webdataset"])
def test_a_part_whose_end_finds_no_room_is_removed(tmp_path, form):
    path = part_path(tmp_path, 3, form)
    writer = PartWriter(path)
    writer.write("a", {"photo": "x" * 3000})  # waits in memory
    with full_disk(100), pytest.raises(WriteError) as told:
        writer.close()
    assert str(told.value) == f"{path} cannot be written: File too large"
    assert list(tmp_path.iterdir()) == []


def test_abandoning_twice_or_after_the_fact_says_nothing(tmp_path):
    writer = PartWriter(part_path(tmp_path, 1, "jsonl"))
    writer.write("a", {"photo": "x"})
    with full_disk(0):
        writer.abandon()  # what waits in memory cannot be written any more
    writer.abandon()
    assert list(tmp_path.iterdir()) == []
