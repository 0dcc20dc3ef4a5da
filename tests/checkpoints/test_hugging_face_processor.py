"""Photos reach a model of a Hugging Face folder as the folder's image processor makes them."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.config import get_cfg
from detectron2.data import transforms as T
from freeseg import add_freeseg_config
from freeseg.checkpoints.hugging_face_processor import read_processor
from freeseg.data import SegmentationMapper
from freeseg.inference.input_size import InputSize

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[2] / "../shared"))
PHOTOS = SHARED / "data/show"
KINDS = {"mask2former": "Mask2Former", "maskformer": "MaskFormer", "oneformer": "OneFormer"}
SMALL = {"shortest_edge": 96, "longest_edge": 160}
FILES = {
    "mask2former": {"image_processor_type": "Mask2FormerImageProcessor", "size": SMALL},
    "mask2former-divisor": {"image_processor_type": "Mask2FormerImageProcessor", "size_divisor": 16}
    | {"size": SMALL},
    "mask2former-fixed": {
        "image_processor_type": "Mask2FormerImageProcessor",
        "size": {"height": 80, "width": 112},
    },
    "mask2former-list": {"image_processor_type": "Mask2FormerImageProcessor", "size": [64, 96]},
    "mask2former-old": {
        "feature_extractor_type": "Mask2FormerFeatureExtractor",
        "size": 64,
        "max_size": 100,
    },
    "mask2former-no-size": {"image_processor_type": "Mask2FormerImageProcessor", "max_size": 333},
    "mask2former-bicubic": {
        "image_processor_type": "Mask2FormerImageProcessorFast",
        "size": SMALL,
        "resample": 3,
    },
    "mask2former-raw": {
        "image_processor_type": "Mask2FormerImageProcessor",
        "do_resize": False,
        "do_rescale": False,
        "image_mean": [100.0, 110.0, 120.0],
        "image_std": [50.0, 60.0, 70.0],
    },
    "mask2former-scaled-only": {
        "image_processor_type": "Mask2FormerImageProcessor",
        "size": SMALL,
        "do_normalize": False,
        "rescale_factor": 0.5,
        "do_reduce_labels": True,
        "ignore_index": 255,
    },
    "maskformer": {"image_processor_type": "MaskFormerImageProcessor", "size": SMALL},
    "oneformer": {"image_processor_type": "OneFormerImageProcessor", "size": SMALL},
    "oneformer-fixed": {
        "image_processor_type": "OneFormerImageProcessor",
        "size": {"height": 70, "width": 90},
        "resample": 0,
    },
}
SIZES = [(96, 140), (333, 500), (500, 333), (97, 61), (120, 120), (41, 300), (427, 640)]


def folder_with(path: Path, values: dict) -> Path:
    (path / "preprocessor_config.json").write_text(json.dumps(values))
    return path


def theirs(folder: Path, kind: str, image: np.ndarray, backend: str) -> torch.Tensor:
    """What the port's processor makes of an image, float32 [3, h, w]."""
    pytest.importorskip("transformers", "5")
    module = importlib.import_module(
        f"transformers.models.{kind}.image_processing_{'pil_' if backend == 'Pil' else ''}{kind}"
    )
    processor = getattr(module, f"{KINDS[kind]}ImageProcessor{backend}").from_pretrained(folder)
    arguments = {"task_inputs": ["semantic"]} if kind == "oneformer" else {}
    batch = processor.preprocess([image], return_tensors="pt", **arguments)
    return batch["pixel_values"][0].float()


def config_of(folder: Path, kind: str):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    values = read_processor(folder, kind).config()
    cfg.merge_from_list([item for pair in values.items() for item in pair])
    return cfg


def ours(folder: Path, kind: str, image: np.ndarray) -> torch.Tensor:
    cfg = config_of(folder, kind)
    inputs = T.AugInput(image)
    SegmentationMapper(cfg, is_train=False).augmentations(inputs)
    pixels = torch.from_numpy(inputs.image.transpose(2, 0, 1).copy()).float()
    mean, deviation = torch.tensor(cfg.MODEL.PIXEL_MEAN), torch.tensor(cfg.MODEL.PIXEL_STD)
    return (pixels - mean[:, None, None]) / deviation[:, None, None]


def levels(folder: Path, kind: str) -> torch.Tensor:
    """How much one level of 255 is after normalising, [3, 1, 1]."""
    return 1 / torch.tensor(config_of(folder, kind).MODEL.PIXEL_STD)[:, None, None]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_size_and_pixels_are_those_of_the_ports_processor(tmp_path, name, size):
    kind = name.split("-")[0]
    folder = folder_with(tmp_path, FILES[name])
    image = np.random.default_rng(size[0]).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = ours(folder, kind, image)
    torch.testing.assert_close(found, theirs(folder, kind, image, "Pil"), rtol=1e-5, atol=1e-4)
    # torchvision's filters work in fixed point as PIL's do, two levels off at most
    fast = theirs(folder, kind, image, "")
    assert fast.shape == found.shape
    if FILES[name].get("resample") != 0:  # whose nearest pixel is another one at a tie
        assert ((found - fast).abs() / levels(folder, kind)).max() <= 2.01


@pytest.mark.parametrize("kind", KINDS)
def test_every_size_is_that_of_the_ports_processor(tmp_path, kind):
    from transformers.image_transforms import get_size_with_aspect_ratio

    folder = folder_with(tmp_path, {"size": {"shortest_edge": 51, "longest_edge": 133}})
    size = InputSize.from_config(config_of(folder, kind))
    step = 1 if kind == "oneformer" else 32
    for height in range(20, 400, 7):
        for width in range(20, 400, 11):
            plain = get_size_with_aspect_ratio((height, width), 51, 133)
            stretched = tuple(-(-side // step) * step for side in plain)
            assert size.of_image(height, width) == stretched, (height, width)


@pytest.mark.parametrize("name", ["mask2former", "mask2former-fixed", "oneformer"])
def test_photos_are_seen_as_by_the_port(tmp_path, name):
    if not PHOTOS.is_dir():
        pytest.skip(f"no photos at {PHOTOS}")
    kind = name.split("-")[0]
    size = {"shortest_edge": 512, "longest_edge": 2048}
    if name.endswith("fixed"):
        size = {"height": 384, "width": 384}
    folder = folder_with(tmp_path, {**FILES[name], "size": size})
    for file in ("bus_street.jpg", "cat_desk.jpg", "elephant.jpg"):
        image = np.asarray(Image.open(PHOTOS / file).convert("RGB"))
        found = ours(folder, kind, image)
        torch.testing.assert_close(found, theirs(folder, kind, image, "Pil"), rtol=1e-5, atol=1e-4)
        distance = (found - theirs(folder, kind, image, "")).abs() / levels(folder, kind)
        assert distance.max() <= 1.01, file
        assert distance.mean() < 0.05, file


def test_a_folder_without_a_processor_has_the_ports_own(tmp_path):
    settings = read_processor(tmp_path, "mask2former")
    assert settings.source == "the port's own: no preprocessor_config.json"
    size = InputSize.from_config(config_of(tmp_path, "mask2former"))
    assert size == InputSize(800, 1333, divisor=32, rounds_down=True)
    assert str(size) == (
        "shortest side 800, longest at most 1333, stretched to multiples of 32, bilinear"
    )


def test_a_processor_inside_another_and_the_first_spellings_are_read(tmp_path):
    inner = {"size": 500, "_max_size": 900, "size_divisibility": 8}
    content = {"image_processor": inner, "processor_class": "X"}
    (tmp_path / "processor_config.json").write_text(json.dumps(content))
    assert read_processor(tmp_path, "mask2former").source == "processor_config.json"
    size = InputSize.from_config(config_of(tmp_path, "mask2former"))
    assert size == InputSize(500, 900, divisor=8, rounds_down=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": {"longest_edge": 5}}, "wanted size as shortest_edge and longest_edge or"),
        ({"size": {"height": 5}}, "wanted size as"),
        ({"size": {"max_height": 5, "max_width": 6}}, "wanted size as"),
        ({"size": {"height": 5, "width": "wide"}}, "wanted size as .*'wide'"),
        ({"size": -5}, "wanted size as .*-5"),
        ({"size": "large"}, "wanted size as .*large"),
        ({"resample": 17}, "resample is a number of PIL's filters, got 17"),
        ({"size_divisor": "x"}, "size_divisor is a number of pixels, got 'x'"),
        ({"image_mean": [1, 2]}, r"image_mean is a number per channel, got \[1, 2\]"),
        ({"image_std": ["a", "b", "c"]}, "image_std is a number per channel"),
    ],
)
def test_what_no_processor_does_is_one_line(tmp_path, values, message):
    with pytest.raises(ValueError, match=f"^preprocessor_config.json: .*{message}") as caught:
        read_processor(folder_with(tmp_path, values), "mask2former").config()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[1]", "holds a list, wanted an object")]
)
def test_a_damaged_file_is_one_line(tmp_path, text, message):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ValueError, match=rf"preprocessor_config.json {message}"):
        read_processor(tmp_path, "mask2former")
