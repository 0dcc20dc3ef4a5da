"""What was found out about a file is used until the file changes, and no longer."""

from __future__ import annotations

import io
import os
import sys
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


@pytest.mark.parametrize(("others", "kept"), [(255, 255), (256, 255), (258, 255)])
def test_the_latest_256_memories_are_kept(files, looked, own_memory, others, kept):
    own_memory.mkdir(parents=True)
    for number in range(others):
        (own_memory / f"{number}.json").touch()
        os.utime(own_memory / f"{number}.json", ns=(10**18 + number,) * 2)
    (own_memory / "note.txt").touch()
    texts(files, looked)
    left = {path.stem for path in own_memory.glob("*.json")}
    assert len(left) == kept + 1
    assert {str(number) for number in range(others - kept, others)} <= left
    assert (own_memory / "note.txt").exists()


def test_a_terminal_sees_how_far_it_is_and_a_file_does_not(files, looked, monkeypatch, capsys):
    texts(files, looked)
    assert capsys.readouterr().err == ""
    files[0].write_text("another text")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    texts(files, looked)
    said = sys.stderr.getvalue()
    assert said.count("texts: ") == said.count("%") >= 1, "stamps of files are taken in silence"
    assert "0/1" in said
    assert said.endswith("\r"), "the line is left to what comes next"
