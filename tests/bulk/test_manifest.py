"""The list of what is to be segmented: written once, read piece by piece."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freeseg.bulk.manifest import Manifest, find_names, is_shard


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text(max_size=6), min_size=1, max_size=12), st.integers(1, 14))
def test_pieces_are_the_names_cut_every_so_many(names, size):
    with tempfile.TemporaryDirectory() as folder:
        manifest = Manifest(Path(folder))
        manifest.write(iter(names), size)
        expected = [names[start : start + size] for start in range(0, len(names), size)]
        assert manifest.num_chunks == len(expected)
        again = Manifest(Path(folder))  # as another process reads it, pieces in any order
        found = {chunk: again.read(chunk) for chunk in reversed(range(again.num_chunks))}
        assert [found[chunk] for chunk in sorted(found)] == expected
        lines = (Path(folder) / "manifest.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == names


def test_nothing_is_written_for_no_names_or_where_they_cannot_be_listed(tmp_path):
    def broken():
        yield "a.jpg"
        raise OSError(5, "the drive is gone")

    for names, fault in (([], "nothing to segment: no photos"), (broken(), "the drive is gone")):
        with pytest.raises((ValueError, OSError), match=fault):
            Manifest(tmp_path).write(names, 2)
        assert not Manifest(tmp_path).exists
        assert list(tmp_path.iterdir()) == []


def test_a_manifest_is_there_when_its_last_file_is(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.write(["a.jpg"], 1)
    assert manifest.exists
    (tmp_path / "manifest.offsets").unlink()  # a kill between the two files
    assert not manifest.exists
    manifest.write(["b.jpg", "c.jpg"], 1)
    assert [manifest.read(chunk) for chunk in range(manifest.num_chunks)] == [["b.jpg"], ["c.jpg"]]


def test_folders_give_photos_and_shards_at_any_depth_in_order(tmp_path):
    wanted = [
        *("B.PNG", "a.JPG", "a.tar", "b.Tar.GZ", "c.tgz", "ä.webp"),  # as their letters are sorted
        *("below/2.jpeg", "below/deep/1.tif", "beyond/0.bmp"),
    ]
    other = ("a.txt", "below/README", "b.tar.bz2", "jpg", "c.json", "below/.x.png.part")
    for name in (*reversed(wanted), *other):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_names([tmp_path])) == [str(tmp_path / name) for name in wanted]


def test_sources_come_one_after_the_other_lists_line_by_line(tmp_path):
    folder, listed = tmp_path / "folder.txt", tmp_path / "list.txt"
    folder.mkdir()  # a folder may be called as it likes
    (folder / "x.png").touch()
    listed.write_bytes("é.jpg\r\n\n   \n name with spaces .png \nlast.tar".encode())
    found = list(find_names([str(listed), folder, "absent.jpg", "any.suffix"]))
    assert found == [
        *("é.jpg", " name with spaces .png ", "last.tar"),
        *(str(folder / "x.png"), "absent.jpg", "any.suffix"),
    ]


@pytest.mark.parametrize("name", ["a.tar", "b/a.TAR", "a.tar.gz", "a.Tar.Gz", "a.tgz"])
def test_shards_are_known_by_their_ends(name):
    assert is_shard(name)
    assert not is_shard(name + "x")
    assert not is_shard(name[: name.lower().rindex(".t")])
