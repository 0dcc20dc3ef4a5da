"""Sets of photos with objects are read in the layout of each, and what is wrong is named."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as rle_codec
from scipy.io import savemat

from detectron2.structures import BoxMode
from freeseg.catalog import dataset_metadata, kept
from freeseg.cli import main
from freeseg.data.annotation_files import read_ignored_pixels
from freeseg.data.datasets.catalog import load_kept
from freeseg.data.problems import DataError, Problems

SIZE = (24, 32)
FOLDERS = {  # photos, masks
    "grabcut": ("GrabCut/data_GT", "GrabCut/boundary_GT"),
    "berkeley_interactive": ("Berkeley/images", "Berkeley/masks"),
    "davis_interactive": ("DAVIS/img", "DAVIS/gt"),
    "gsc_interactive": ("GSC/images", "GSC/masks"),
    "sbd_val_interactive": ("SBD/img", "SBD/inst"),
}
PNGS = [name for name in FOLDERS if name != "sbd_val_interactive"]


def drawn():
    """An object, and the border around it that is not judged."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    far = (rows - 10) ** 2 + (columns - 14) ** 2
    return far < 36, (far >= 36) & (far < 49)


def pixels_of(name, mask, border):
    """How a set writes them."""
    if name == "davis_interactive":
        return np.where(mask[..., None], [0, 0, 7], [0, 0, 0])
    inside, outside = (1, 255) if name == "gsc_interactive" else (255, 128)
    return np.where(mask, inside, np.where(border, outside, 0))


def ignored_pixels(record):
    size = record["height"], record["width"]
    found = read_ignored_pixels(record, size)
    return np.zeros(size, dtype=bool) if found is None else found


@pytest.fixture
def written(root, write_image):
    """Writes a photo and its mask into the layout of a set."""

    def write(name, stem="one", mask=None, border=None, size=SIZE):
        photos, masks = (root / "interactive" / each for each in FOLDERS[name])
        write_image(photos / f"{stem}.jpg", np.full((*size, 3), 90))
        if mask is not None:
            write_image(masks / f"{stem}.png", pixels_of(name, mask, border))
        return photos / f"{stem}.jpg", masks / f"{stem}.png"

    return write


def write_mat(path, numbers, count):
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = np.full((count, 1), 15, np.uint8)
    savemat(path, {"GTinst": {"Segmentation": numbers.astype(np.uint8), "Categories": categories}})


@pytest.mark.parametrize("name", PNGS)
def test_an_object_is_read_as_it_was_drawn(name, written):
    mask, border = drawn()
    photo, _ = written(name, "b", mask, border)
    written(name, "a", border, mask)
    first, record = kept(name).load()
    assert [first["image_id"], record["image_id"]] == ["a", "b"]
    assert record["file_name"] == str(photo)
    assert (record["height"], record["width"]) == SIZE
    (row,) = record["annotations"]
    np.testing.assert_array_equal(rle_codec.decode(row["segmentation"]), mask)
    box = BoxMode.convert(row["bbox"], row["bbox_mode"], BoxMode.XYXY_ABS)
    ys, xs = np.nonzero(mask)
    assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert (row["category_id"], row["iscrowd"]) == (0, 0)
    ignored = np.zeros_like(mask) if name == "davis_interactive" else border
    np.testing.assert_array_equal(ignored_pixels(record), ignored)
    assert ("ignored_pixels" in record) == ignored.any()
    assert dataset_metadata(name).thing_classes == ["object"]


@pytest.mark.parametrize("count", [1, 3])
def test_every_instance_of_sbd_is_an_object(count, root, written):
    numbers = np.zeros(SIZE)
    for number in range(1, count + 1):
        numbers[number : number + 4, 5 * number : 5 * number + 3] = number
    photo, _ = written("sbd_val_interactive", "2008_000009")
    written("sbd_val_interactive", "2008_000010")  # of the other list
    folder = root / "interactive/SBD"
    write_mat(folder / "inst/2008_000009.mat", numbers, count)
    (folder / "val.txt").write_text("2008_000009\n")
    (record,) = kept("sbd_val_interactive").load()
    assert record["file_name"] == str(photo)
    found = [rle_codec.decode(row["segmentation"]) for row in record["annotations"]]
    assert len(found) == count
    for number, mask in enumerate(found, 1):
        np.testing.assert_array_equal(mask, numbers == number)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("grabcut", 64, "0, 128 and above"), ("gsc_interactive", 2, "0, 1 and 255")],
)
def test_a_value_that_means_nothing_is_named(name, value, wanted, written, write_image):
    mask, border = drawn()
    _, file = written(name, "one", mask, border)
    write_image(file, np.full(SIZE, value))
    with pytest.raises(DataError, match=rf"one\.png has the values {value}, wanted {wanted}"):
        kept(name).load()


def test_every_fault_is_named_by_its_file(written, write_image):
    mask, border = drawn()
    written("grabcut", "good", mask, border)
    written("grabcut", "bare")
    written("grabcut", "empty", np.zeros(SIZE, bool), border)
    written("grabcut", "other", mask, border, size=(24, 30))
    photo, _ = written("grabcut", "gone", mask, border)
    photo.unlink()
    problems = Problems()
    records = load_kept("grabcut", problems)
    assert [record["image_id"] for record in records] == ["good"]
    told = "\n".join(problems.errors)
    assert "bare.jpg has no mask bare" in told
    assert "empty.png has no pixel of an object" in told
    assert "other.png is 32x24 pixels, its photo other.jpg is 30x24" in told
    assert problems.num_errors == 3
    assert "1 masks have no photo" in problems.warnings[0]
    assert "gone.png" in problems.warnings[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"GTcls": {"Segmentation": np.ones(SIZE)}}, r"one\.mat has no variable GTinst"),
        ({"GTinst": {"Boundaries": np.ones(SIZE)}}, r"one\.mat: GTinst needs Segmentation and"),
        (
            {"GTinst": {"Segmentation": np.full(SIZE, 3), "Categories": np.ones((2, 1))}},
            r"one\.mat has the values 3, wanted 0 to 2, its categories",
        ),
        (None, r"one\.mat has no variable GTinst"),
    ],
    ids=["another", "of no masks", "unknown", "broken"],
)
def test_a_file_that_is_not_of_sbd_is_named(content, told, root, written):
    written("sbd_val_interactive")
    folder = root / "interactive/SBD"
    (folder / "val.txt").write_text("one")
    (folder / "inst").mkdir()
    if content is None:
        (folder / "inst/one.mat").write_bytes(b"no file of MATLAB")
    else:
        savemat(folder / "inst/one.mat", content)
    with pytest.raises(DataError, match=told):
        kept("sbd_val_interactive").load()


def test_a_listed_photo_that_is_not_there_is_named(root, written):
    written("sbd_val_interactive")
    (root / "interactive/SBD/val.txt").write_text("two")
    with pytest.raises(DataError, match=r"val\.txt lists two: no photo"):
        kept("sbd_val_interactive").load()


def test_the_check_looks_at_such_a_set(written, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))
    mask, border = drawn()
    written("grabcut", "one", mask, border)
    assert main(["check", "grabcut"]) == 0
    assert "grabcut: 1 photos, 1 objects, 1 classes" in capsys.readouterr().out
    written("grabcut", "two")
    assert main(["check", "grabcut"]) != 0
    assert "two.jpg has no mask two" in capsys.readouterr().err


def test_the_geodesic_star_set_is_read(shared, root):
    (root / "interactive").symlink_to(shared / "interactive")
    records = kept("gsc_interactive").load()
    assert len(records) == 151
    for record in records:
        (row,) = record["annotations"]
        mask = rle_codec.decode(row["segmentation"]).astype(bool)
        assert mask.any()
        assert not (mask & ignored_pixels(record)).any()
    assert sum("ignored_pixels" in record for record in records) > 140
