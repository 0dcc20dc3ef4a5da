"""Drawn boundaries are read in both layouts, and what is wrong with a set is named."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import savemat

from freeseg.catalog import dataset_metadata, kept
from freeseg.cli import main
from freeseg.data.datasets.edges import read_boundaries
from freeseg.data.problems import DataError

SIZE = (20, 30)


def drawn(count):
    """A line of its own for every annotator, where the first and the second cross."""
    boundaries = np.zeros((count, *SIZE), bool)
    for number, one in enumerate(boundaries):
        one[3 + number, 2:25] = True
    boundaries[1, :, 10] = True
    return boundaries


def write_mat(path, boundaries):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.empty((1, len(boundaries)), dtype=object)
    for number, one in enumerate(boundaries):
        cells[0, number] = {"Segmentation": np.ones(SIZE, np.uint16), "Boundaries": one}
    savemat(path, {"groundTruth": cells})


@pytest.fixture
def written(root, write_image):
    """Writes a photo and its boundaries into the layout of a set; gives the file of these."""

    def write(name, stem, boundaries, size=SIZE):
        if name == "bsds_packed":
            folder = root / "edges/BSDS"
            photo, file = folder / f"images/{stem}.jpg", folder / f"boundaries/{stem}.png"
            bits = (boundaries << np.arange(len(boundaries))[:, None, None]).sum(0)
            write_image(file, bits)
        else:
            folder, split = root / "edges/BSDS500", name.partition("_")[2]
            photo = folder / f"images/{split}/{stem}.jpg"
            file = folder / f"groundTruth/{split}/{stem}.mat"
            write_mat(file, boundaries)
        write_image(photo, np.full((*size, 3), 90))
        return file

    return write


NAMES = ["bsds500_train", "bsds500_val", "bsds500_test", "bsds_packed"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [2, 7])
def test_boundaries_are_read_as_they_were_drawn(name, count, written):
    file = written(name, "b", drawn(count))
    written(name, "a", drawn(2))
    first, record = kept(name).load()
    assert [first["image_id"], record["image_id"]] == ["a", "b"]
    assert record["boundaries_file_name"] == str(file)
    np.testing.assert_array_equal(read_boundaries(record), drawn(count))
    assert dataset_metadata(name).evaluator_type == "edges"


def test_who_drew_nothing_is_left_out_and_one_alone_is_read(written):
    alone = np.concatenate([drawn(2)[:1], np.zeros((1, *SIZE), bool)])
    for count in (1, 2):
        file = written("bsds500_test", "one", alone[:count])
        found = read_boundaries({"boundaries_file_name": str(file)})
        np.testing.assert_array_equal(found, alone[:1])


def test_a_missing_set_or_file_is_named(written):
    with pytest.raises(FileNotFoundError, match="see edges under 'Datasets'"):
        kept("bsds500_val").load()
    written("bsds500_val", "one", drawn(2)).unlink()
    with pytest.raises(DataError, match=r"one\.jpg has no boundaries .*one\.mat"):
        kept("bsds500_val").load()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"other": 1}, r"one\.mat has no variable groundTruth"),
        ({"groundTruth": np.ones(3)}, r"one\.mat: every cell of groundTruth needs Boundaries"),
        (None, r"one\.mat has no boundary"),
    ],
    ids=["another", "no cells", "nothing"],
)
def test_a_file_without_boundaries_is_named(content, told, written):
    file = written("bsds500_val", "one", np.zeros((2, *SIZE), bool))
    if content is not None:
        savemat(file, content)
    with pytest.raises(ValueError, match=told):
        read_boundaries({"boundaries_file_name": str(file)})


def test_the_check_looks_at_boundaries(written, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))
    written("bsds500_test", "one", drawn(3))
    assert main(["check", "bsds500_test"]) == 0
    assert "bsds500_test: 1 photos, 0 classes" in capsys.readouterr().out
    written("bsds500_test", "two", drawn(3), (20, 31))
    written("bsds500_test", "three", drawn(3)).write_bytes(b"nothing")
    assert main(["check", "bsds500_test"]) != 0
    told = capsys.readouterr().err
    assert "two.mat is 30x20 pixels, its photo is 31x20" in told
    assert "three.mat has no variable groundTruth" in told
