"""Photos behind names: what is one, in which order, and why one cannot be had."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from freeseg.bulk.photos import Photo, photos_of
from freeseg.images import LoadedSource

CONTENT = {"a.PNG": b"first", "deep/b.jpg": b"", "c.txt": b"no photo", "d.webp": b"x" * 2000}


def shard(path: Path) -> str:
    """Files of CONTENT, and a folder and a link that are called like photos."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder, link = tarfile.TarInfo("folder.png"), tarfile.TarInfo("link.png")
        folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "a.PNG"
        archive.addfile(folder)
        archive.addfile(link)
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    is_small = path.suffix.lower().endswith("gz")
    path.write_bytes(gzip.compress(buffer.getvalue()) if is_small else buffer.getvalue())
    return str(path)


@pytest.mark.parametrize("name", ["s.tar", "S.TAR", "s.tar.gz", "S.Tar.GZ", "s.tgz"])
def test_names_become_photos_in_order_and_shards_are_opened(tmp_path, name):
    opened = shard(tmp_path / name)
    found = list(photos_of(["before.jpg", opened, "after"]))
    assert found == [
        Photo("before.jpg", "before.jpg", ""),
        *(Photo(f"{opened}/{one}", CONTENT[one]) for one in ("a.PNG", "deep/b.jpg", "d.webp")),
        Photo("after", "after"),
    ]


def test_a_photo_is_its_file_or_its_bytes_under_its_name(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"of the file")
    of_file, of_shard = Photo("x", str(path)), Photo("s.tar/y.png", b"of the shard")
    assert (of_file.source, of_file.read()) == (str(path), b"of the file")
    assert of_shard.source == LoadedSource("s.tar/y.png", b"of the shard")
    assert of_shard.read() == b"of the shard"
    empty = Photo("s.tar/z.png", b"")
    assert (empty.source, empty.read()) == (LoadedSource("s.tar/z.png", b""), b"")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.tar", None, "No such file or directory"),
        ("text.tar", b"no tar file", "truncated header"),
        ("text.tgz", b"no gzip file", "Not a gzipped file (b'no')"),
        ("cut.tar", "cut", "it has no end mark"),
    ],
)
def test_what_is_no_shard_is_one_error_and_the_others_go_on(tmp_path, name, content, reason):
    path = tmp_path / name
    if content == "cut":  # between two members: tarfile takes it for the end
        shard(path)
        path.write_bytes(path.read_bytes()[: 2 * 512 + 2 * 512])
    elif content is not None:
        path.write_bytes(content)
    *before, broken, after = photos_of([str(path), "after.jpg"])
    assert [photo.name for photo in before] == ([f"{path}/a.PNG"] if content == "cut" else [])
    error = f"{path}: is no tar file, or was cut off: {reason}"
    assert broken == Photo(str(path), None, error)
    assert after == Photo("after.jpg", "after.jpg")


def test_one_block_of_the_end_mark_is_enough_and_less_is_not(tmp_path):
    path = tmp_path / "s.tar"
    content = Path(shard(path)).read_bytes()
    end = len(content.rstrip(b"\0"))
    end += -end % 512  # of the last photo
    for length, error in ((end + 512, ""), (end + 511, "cut off"), (end, "it has no end mark")):
        path.write_bytes(content[:length])
        *_, last = photos_of([str(path)])
        assert error in last.error
        assert bool(last.error) == bool(error)
