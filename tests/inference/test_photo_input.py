"""How a photo becomes what a model is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.config import get_cfg
from detectron2.data import transforms as T
from freeseg import add_freeseg_config
from freeseg.data import SegmentationMapper
from freeseg.images import FULL_WHITE
from freeseg.inference import PhotoInput


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def config(**changes):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    pairs = [(key.replace("__", "."), value) for key, value in changes.items()]
    cfg.merge_from_list([item for pair in pairs for item in pair])
    return cfg


def test_a_photo_without_resizing_is_its_own_pixels():
    given = photo(5, 7)
    read = PhotoInput()(given)
    assert (read.shape, read.dtype) == ((3, 5, 7), torch.uint8)
    assert read.is_contiguous()
    assert all(
        read[channel, row, column] == given[row, column, channel]
        for channel in range(3)
        for row in range(5)
        for column in range(7)
    )


def test_bgr_is_rgb_turned_around():
    given = photo(5, 7)
    assert torch.equal(PhotoInput(image_format="BGR")(given), PhotoInput()(given).flip(0))


def test_a_photo_is_not_written_to():
    given = photo(5, 7)
    kept = given.copy()
    PhotoInput()(given).zero_()
    PhotoInput(T.Resize((10, 14)), "BGR")(given).zero_()
    np.testing.assert_array_equal(given, kept)


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_pixels_are_resized_as_pillow_does(image_format):
    given = photo(30, 50)
    expected = np.asarray(Image.fromarray(given).resize((25, 15), Image.BILINEAR))
    read = PhotoInput(T.Resize((15, 25)), image_format)(given).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(read, expected[..., ::-1] if image_format == "BGR" else expected)


@pytest.mark.parametrize("wrong", ["rgb", "L", "YUV-BT.601", ""])
def test_other_orders_of_channels_are_refused(wrong):
    with pytest.raises(ValueError, match=f"INPUT.FORMAT must be RGB or BGR, got '{wrong}'"):
        PhotoInput(image_format=wrong)


def test_a_configuration_says_all_of_it():
    cfg = config(
        INPUT__FORMAT="BGR",
        INPUT__WHITE_LEVEL=4095,
        INPUT__MIN_SIZE_TEST=20,
        INPUT__MAX_SIZE_TEST=30,
        MODEL__PIXEL_MEAN=[1.0, 2.0, 3.0],
        MODEL__PIXEL_STD=[4.0, 5.0, 6.0],
    )
    read = PhotoInput.from_config(cfg, 32)
    assert (read.image_format, read.white_level, read.size_divisibility) == ("BGR", 4095, 32)
    assert (read.pixel_mean, read.pixel_std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert read(photo(40, 50)).shape == (3, 20, 25)
    assert read(photo(40, 80)).shape == (3, 15, 30)
    assert PhotoInput.from_config(config()).white_level == FULL_WHITE


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
@pytest.mark.parametrize("size", [(40, 50), (50, 40), (33, 97)])
def test_a_model_gets_what_the_loader_of_test_images_gives(tmp_path, image_format, size):
    cfg = config(INPUT__FORMAT=image_format, INPUT__MIN_SIZE_TEST=24, INPUT__MAX_SIZE_TEST=64)
    given = photo(*size)
    Image.fromarray(given).save(tmp_path / "photo.png")
    record = {"file_name": str(tmp_path / "photo.png"), "height": size[0], "width": size[1]}
    loaded = SegmentationMapper(cfg, is_train=False)(record)["image"]
    assert torch.equal(PhotoInput.from_config(cfg)(given), loaded)


@pytest.mark.parametrize("step", [0, 1, 2, 14, 32])
def test_images_are_padded_to_the_next_multiple(step):
    read = PhotoInput(size_divisibility=step)
    for height in range(1, 70):
        padded, width = read.padded_size((height, 64))
        assert padded % max(step, 1) == 0
        assert height <= padded < height + max(step, 1)
        assert width % max(step, 1) == 0
        assert read.padded_size((padded, width)) == (padded, width)


def test_a_photo_that_would_have_no_pixels_is_refused():
    cfg = config(INPUT__MIN_SIZE_TEST=24, INPUT__MAX_SIZE_TEST=64)
    with pytest.raises(ValueError, match="must be > 0"):
        PhotoInput.from_config(cfg)(photo(1, 4000))
