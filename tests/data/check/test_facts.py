"""What was found out about a file is used until the file changes, and no longer."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from freeseg.data.check.facts import facts_of


@pytest.fixture
def looked():
    """A look at a file's text, and the names that were looked at."""
    names: list[str] = []
    lock = threading.Lock()

    def look(path):
        with lock:
            names.append(Path(path).name)
        return {"text": Path(path).read_text()}

    look.names = names
    return look


def texts(paths, look, kind="texts"):
    facts = facts_of([str(path) for path in paths], look, kind, "texts")
    return {Path(path).name: fact["text"] for path, fact in facts.items()}


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "files" / f"{letter}.txt" for letter in "abc"]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text(f"text of {path.stem}")
    return paths


def test_files_are_looked_at_once(files, looked, own_memory):
    expected = {path.name: path.read_text() for path in files}
    assert texts(files, looked) == texts(files, looked) == expected
    assert sorted(looked.names) == ["a.txt", "b.txt", "c.txt"]
    assert len(list(own_memory.iterdir())) == 1


def test_a_file_that_changes_is_looked_at_again_and_no_other(files, looked):
    texts(files, looked)
    looked.names.clear()
    files[1].write_text("another one")
    assert texts(files, looked)["b.txt"] == "another one"
    assert looked.names == ["b.txt"]
    status = files[2].stat()
    files[2].write_text("text of z")  # as long as before: its time tells
    os.utime(files[2], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert texts(files, looked)["c.txt"] == "text of z"
    assert looked.names == ["b.txt", "c.txt"]


def test_new_files_and_files_that_are_gone(files, looked):
    texts(files[:2], looked)
    files[0].unlink()
    assert texts(files, looked) == {"b.txt": "text of b", "c.txt": "text of c"}
    assert sorted(looked.names) == ["a.txt", "b.txt", "c.txt"]


def test_kinds_do_not_mix(files, looked):
    texts(files, looked, "one")
    texts(files, looked, "two")
    assert len(looked.names) == 6


@pytest.mark.parametrize("damage", [b"", b'{"a.txt": [[1', b"[]", b"\xff\xfe"])
def test_a_memory_that_is_damaged_is_made_anew(files, looked, own_memory, damage):
    expected = texts(files, looked)
    (memory,) = own_memory.iterdir()
    memory.write_bytes(damage)
    assert texts(files, looked) == texts(files, looked) == expected
    assert len(looked.names) == 6


def test_a_memory_that_cannot_be_written_costs_only_time(files, looked, tmp_path, monkeypatch):
    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "no folder"))
    assert texts(files, looked) == texts(files, looked)
    assert len(looked.names) == 6
