"""Strange photos and class lists through real models: a result of the photo's size, or one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from freeseg import ImageError, Segmenter
from freeseg.data import read_vocabulary

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = ["INPUT.MIN_SIZE_TEST", "32", "INPUT.MAX_SIZE_TEST", "64"]


@pytest.fixture(scope="module")
def mask2former():
    config = REPOSITORY / "configs/Base-Mask2Former-small.yaml"
    torch.manual_seed(0)
    return Segmenter.from_config(config, "", opts=["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3", *SMALL])


@pytest.fixture(scope="module")
def freeseg():
    config = REPOSITORY / "configs/freeseg/shapes/full.yaml"
    torch.manual_seed(0)
    opts = ["MODEL.TEXT_ENCODER.CACHE", "False", "MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT", ""]
    return Segmenter.from_config(config, "", opts=[*SMALL, *opts])


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encoded(Image.fromarray(noise(20, 30)), "JPEG", exif=exif)


PHOTOS = {
    "1x1": (encoded(Image.new("RGB", (1, 1)), "PNG"), (1, 1)),
    "20000x50": (encoded(Image.new("RGB", (20000, 50)), "PNG"), (50, 20000)),
    "50x2000": (encoded(Image.new("RGB", (50, 2000)), "PNG"), (2000, 50)),
    "cmyk": (encoded(Image.fromarray(noise(20, 30)).convert("CMYK"), "JPEG"), (20, 30)),
    "palette": (encoded(Image.fromarray(noise(20, 30)).convert("P"), "PNG"), (20, 30)),
    "16 bit": (
        encoded(Image.fromarray(noise(20, 30, 1)[..., 0].astype(np.uint16) * 257), "PNG"),
        (20, 30),
    ),
    "alpha": (encoded(Image.fromarray(noise(20, 30, 4)), "PNG"), (20, 30)),
    "rotated": (rotated(), (30, 20)),
    "animated": (
        encoded(
            Image.new("RGB", (30, 20)), "GIF", save_all=True,
            append_images=[Image.new("RGB", (30, 20), (9, 99, 199))],
        ),
        (20, 30),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PHOTOS)
def test_every_kind_of_photo_gets_a_result_of_its_own_size(mask2former, kind):
    content, size = PHOTOS[kind]
    if kind == "20000x50":  # at 64 pixels it would have no height: sizes as published
        wide = REPOSITORY / "configs/Base-Mask2Former-small.yaml"
        mask2former = Segmenter.from_config(
            wide, "", opts=["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3", "INPUT.MAX_SIZE_TEST", "1333"]
        )
    result = mask2former(content, "all")
    assert result.image.shape[:2] == size
    assert result.semantic.shape == result.panoptic.segment_ids.shape == size
    assert result.instances.masks.shape[1:] == size


def test_what_cannot_be_resized_is_one_line(mask2former):
    with pytest.raises(ImageError, match=r"is too elongated to resize \(20000x50\)"):
        mask2former(PHOTOS["20000x50"][0])


CLASS_LISTS = {
    "emoji": ["🚗|🚙", "🌊: stuff", "👨‍👩‍👧", "ﬁre", "中文 字", "ß" * 300],
    "one": ["x"],
    "flags": ["sky: stuff seen", "car: thing unseen"],
}


@pytest.mark.parametrize("kind", CLASS_LISTS)
def test_every_class_list_gets_a_result(freeseg, kind):
    classes = CLASS_LISTS[kind]
    result = freeseg(noise(24, 32), "all", text=classes)
    assert len(result.vocabulary) == len(classes)
    assert 0 <= result.semantic.min() <= result.semantic.max() < len(classes)
    assert result.panoptic.segment_ids.shape == (24, 32)


@pytest.mark.parametrize("source", [[], "", " , ", ["car", "CAR"], ["\u200b"], ["a|b", "b"]])
def test_empty_and_double_classes_are_one_line(freeseg, source):
    with pytest.raises(ValueError, match=r"empty|stands for") as caught:
        freeseg(noise(8, 8), text=source)
    assert "\n" not in str(caught.value)


def test_ten_thousand_classes_are_decoded(freeseg, monkeypatch):
    def unit_vectors(names, *_):  # encoding as many texts takes minutes on a CPU
        return F.normalize(torch.randn(len(names), freeseg.model.clip_adapter.clip_model.dim))

    monkeypatch.setattr(freeseg.model.clip_adapter, "class_features", unit_vectors)
    monkeypatch.setattr(freeseg.model, "ensemble", None)
    names = [f"object number {index}" for index in range(10_000)]
    result = freeseg(noise(24, 32), "semantic", text=names)
    assert len(result.vocabulary) == 10_000
    assert result.semantic.shape == (24, 32)


def test_ten_thousand_classes_are_read_and_a_double_among_them_is_found():
    names = [f"object number {index}" for index in range(10_000)]
    assert len(read_vocabulary(names)) == 10_000
    with pytest.raises(ValueError, match=r"'object number 7' stands for class 8 .* class 10001"):
        read_vocabulary([*names, "object number 7"])
