"""Photos of records are read in the frame of their annotation, as bright as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from detectron2.data.detection_utils import SizeMismatchError
from detectron2.structures import BoxMode
from freeseg.data import SegmentationMapper
from freeseg.data.few_shot import Episode, EpisodeMapper, Example, load_benchmark
from freeseg.data.panoptic import id2rgb
from freeseg.data.photos import PhotoReader, UniqueStems, annotated_size, unique_stems
from freeseg.data.segment_samples import SegmentMapper

sys.path.insert(0, str(Path(__file__).parents[1]))
from turned_images import exif_of, png_with_exif

HEIGHT, WIDTH = 6, 10
TURNS = {5: lambda stored: stored.transpose(1, 0, 2), 6: lambda stored: np.rot90(stored, -1),
         7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2), 8: np.rot90}  # fmt: skip


def noise(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_turned(path: Path, pixels: np.ndarray, orientation: int) -> str:
    Image.fromarray(pixels).save(path, exif=exif_of(orientation))
    return str(path)


@pytest.mark.parametrize("orientation", TURNS)
def test_the_size_of_the_annotation_tells_the_frame(tmp_path: Path, orientation: int) -> None:
    stored = noise()
    upright = TURNS[orientation](stored)
    file_name = write_turned(tmp_path / "photo.png", stored, orientation)

    def read(frame: str, height: int, width: int) -> np.ndarray:
        record = {"file_name": file_name, "height": height, "width": width}
        return PhotoReader(frame).read(record)

    np.testing.assert_array_equal(read("auto", WIDTH, HEIGHT), upright)
    np.testing.assert_array_equal(read("auto", HEIGHT, WIDTH), stored)
    np.testing.assert_array_equal(read("auto", 3, 4), upright)  # of neither: Detectron2 refuses it
    for size in ((WIDTH, HEIGHT), (HEIGHT, WIDTH)):
        np.testing.assert_array_equal(read("upright", *size), upright)
        np.testing.assert_array_equal(read("stored", *size), stored)
    np.testing.assert_array_equal(PhotoReader().read({"file_name": file_name}), upright)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_where_sizes_do_not_tell_photos_are_upright(tmp_path: Path, orientation: int) -> None:
    stored = noise()
    upright = {2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1]}[orientation]
    file_name = write_turned(tmp_path / "photo.png", stored, orientation)
    record = {"file_name": file_name, "height": HEIGHT, "width": WIDTH}
    np.testing.assert_array_equal(PhotoReader().read(record), upright)
    np.testing.assert_array_equal(PhotoReader("stored").read(record), stored)


@pytest.mark.parametrize("key", ["pan_seg_file_name", "sem_seg_file_name"])
def test_a_record_without_a_size_has_that_of_its_png(tmp_path: Path, key: str) -> None:
    labels = tmp_path / "labels.png"
    Image.new("L", (WIDTH, HEIGHT)).save(labels)
    record = {"file_name": write_turned(tmp_path / "x.png", noise(), 6), key: str(labels)}
    assert annotated_size(record) == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(PhotoReader().read(record), noise())
    assert annotated_size({**record, "height": 3, "width": 4}) == (3, 4)
    assert annotated_size({**record, key: str(tmp_path / "absent.png")}) is None


def test_unknown_frames_and_white_levels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"INPUT\.EXIF is one of auto, upright, stored, got 'no'"):
        PhotoReader("no")
    with pytest.raises(ValueError, match=r"INPUT\.WHITE_LEVEL is a number from 1 to 65535, got 0"):
        PhotoReader(white_level=0)


def box_annotation(left: int, top: int, width: int, height: int) -> dict:
    right, bottom = left + width, top + height
    return {
        "category_id": 0,
        "iscrowd": 0,
        "bbox": [left, top, width, height],
        "bbox_mode": BoxMode.XYWH_ABS,
        "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
    }


@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_masks_of_either_frame_lie_on_their_object(tmp_path: Path, frame: str) -> None:
    """A white box before black: where the photo is white, there the mask is."""
    stored = np.zeros((40, 60, 3), dtype=np.uint8)
    stored[5:15, 30:55] = 255
    file_name = write_turned(tmp_path / "photo.png", stored, 6)  # a quarter turn clockwise
    boxes = {"stored": (30, 5, 25, 10), "upright": (40 - 15, 30, 10, 25)}
    height, width = (40, 60) if frame == "stored" else (60, 40)
    record = {
        "file_name": file_name,
        **{"height": height, "width": width, "image_id": 1},
        "annotations": [box_annotation(*boxes[frame])],
    }
    mapper = SegmentationMapper(augmentations=[], image_format="RGB", task="instance")
    output = mapper(record)
    [mask] = output["instances"].gt_masks.tensor
    np.testing.assert_array_equal(mask.numpy(), output["image"][0].numpy() == 255)
    asked = SegmentationMapper(augmentations=[], image_format="RGB", is_train=False)(record)
    assert asked["image"].equal(output["image"])
    with pytest.raises(SizeMismatchError):
        mapper({**record, "height": 60, "width": 60})


def test_panoptic_pngs_of_the_stored_frame_lie_on_their_object(tmp_path: Path) -> None:
    stored = np.zeros((40, 60, 3), dtype=np.uint8)
    stored[5:15, 30:55] = 255
    ids = np.where(stored[..., 0] > 0, 70000, 0)
    Image.fromarray(id2rgb(ids)).save(tmp_path / "ids.png")
    record = {
        "file_name": write_turned(tmp_path / "photo.png", stored, 8),
        "pan_seg_file_name": str(tmp_path / "ids.png"),
        "segments_info": [{"id": 70000, "category_id": 0, "isthing": True, "iscrowd": 0}],
    }
    output = SegmentationMapper(augmentations=[], image_format="RGB")(record)
    [mask] = output["instances"].gt_masks.tensor
    np.testing.assert_array_equal(mask.numpy(), output["image"][0].numpy() == 255)


def test_mappers_read_as_the_configuration_says(cfg, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 4096, (30, 50), dtype=np.uint16)
    path = tmp_path / "photo.png"
    path.write_bytes(png_with_exif(levels, 3))
    cfg.INPUT.WHITE_LEVEL, cfg.INPUT.EXIF = 4095, "stored"
    cfg.INPUT.MIN_SIZE_TEST = 30
    output = SegmentationMapper(cfg, is_train=False)({"file_name": str(path)})
    expected = (levels * (255 / 4095) + 0.5).astype(np.uint8)
    for channel in output["image"].numpy():
        np.testing.assert_array_equal(channel, expected)
    assert SegmentationMapper(cfg, is_train=True).reader == PhotoReader("stored", 4095)
    assert SegmentMapper(cfg).reader == PhotoReader("stored", 4095)
    cfg.INPUT.EXIF = "sideways"
    with pytest.raises(ValueError, match=r"INPUT.EXIF .*'sideways'"):
        SegmentationMapper(cfg, is_train=True)


def test_few_shot_photos_are_read_in_the_frame_of_their_mask(tmp_path: Path) -> None:
    benchmark = load_benchmark("pascal_5i")
    photo = write_turned(tmp_path / "photo.png", noise(), 6)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[2:4, 3:9] = 1
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    episode = Episode(Example(Path(photo), tmp_path / "mask.png", 0), ())
    mapped = EpisodeMapper(benchmark, side=0)(episode)
    np.testing.assert_array_equal(mapped["image"].numpy().transpose(1, 2, 0), noise())
    assert mapped["truth"].shape == (HEIGHT, WIDTH)


def test_white_levels_reach_from_one_to_all_of_16_bits(tmp_path: Path) -> None:
    pixels = np.array([[0, 1, 300, 4095, 65535]], np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    for level in (1, 300, 4095, 65535):
        found = PhotoReader(white_level=level).read_file(tmp_path / "deep.png")
        wanted = np.minimum(np.round(pixels * 255.0 / level), 255)
        assert np.abs(found[..., 0] - wanted).max() <= 0.5
    for level in (0, -1, 65536):
        with pytest.raises(
            ValueError, match=rf"WHITE_LEVEL is a number from 1 to 65535, got {level}"
        ):
            PhotoReader(white_level=level)


@pytest.mark.parametrize("missing", [("height",), ("width",), ("height", "width")])
def test_one_side_is_no_size(tmp_path: Path, missing: tuple[str, ...]) -> None:
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "labels.png")
    record = {"file_name": "x", "height": 3, "width": 4}
    record = {key: value for key, value in record.items() if key not in missing}
    assert annotated_size(record) is None
    assert annotated_size({**record, "sem_seg_file_name": str(tmp_path / "labels.png")}) == (
        HEIGHT,
        WIDTH,
    )


def test_the_first_png_that_can_be_read_tells_the_size(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "ids.png")
    Image.new("L", (7, 6)).save(tmp_path / "labels.png")
    keys = {"pan_seg_file_name": "ids.png", "sem_seg_file_name": "labels.png"}
    record = {key: str(tmp_path / name) for key, name in keys.items()}
    assert annotated_size(record) == (4, 5)
    assert annotated_size({**record, "pan_seg_file_name": str(tmp_path / "absent")}) == (6, 7)


def test_without_an_annotation_a_photo_is_upright_and_square_ones_too(tmp_path: Path) -> None:
    stored = noise(6, 6)
    name = write_turned(tmp_path / "photo.png", stored, 6)
    upright = TURNS[6](stored)
    for annotated in (None, (6, 6), (6, 7)):
        np.testing.assert_array_equal(PhotoReader().read_file(Path(name), annotated), upright)
    np.testing.assert_array_equal(PhotoReader("stored").read_file(name), stored)


def test_names_of_photos_differ_whatever_their_folder_ending_and_case() -> None:
    photos = ["a/x.png", Path("b/X.jpg"), "https://s.org/x.JPG?q=1", "x_2.png", "c/x_2", "y.tar.gz"]
    found = unique_stems(photos)
    assert found == ["x", "X_2", "x_3", "x_2_2", "x_2_3", "y.tar"]
    assert len({name.lower() for name in found}) == len(photos)
    names = UniqueStems()
    assert [names.add(photo) for photo in photos] == found
