"""Examples from photos and masks as people have them, and their files."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from freeseg.data import load_example, read_example, read_examples, save_example
from freeseg.images import ImageError
from freeseg.structures import Enrolled, Example, LearnedExample, Vocabulary

HEIGHT, WIDTH = 12, 20
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[2:6, 3:9] = True
MAP = np.zeros((HEIGHT, WIDTH), np.uint8)
MAP[2:6, 3:9], MAP[7:9, 10:12] = 4, 2


def png(values) -> Image.Image:
    return Image.fromarray(values)


ONE = {  # ways to say one mask, and the number it has
    "bool": (MASK, 1),
    "0 and 1": (MASK.astype(np.uint8), 1),
    "black and white": (MASK.astype(np.uint8) * 255, 1),
    "another number": (MASK.astype(np.int64) * 7, 7),
    "tensor": (torch.from_numpy(MASK), 1),
    "picture": (png(MASK.astype(np.uint8) * 255), 1),
    "one bit": (png(MASK), 1),
}


@pytest.mark.parametrize(("given", "number"), ONE.values(), ids=ONE)
def test_a_mask_is_what_is_not_zero(given, number):
    example = read_example(PHOTO, given)
    np.testing.assert_array_equal(example.masks.numpy(), MASK[None])
    assert example.ids.tolist() == [number]
    np.testing.assert_array_equal(example.image.permute(1, 2, 0).numpy(), PHOTO)


@pytest.mark.parametrize("kind", ["array", "file", "palette"])
def test_a_map_has_an_object_for_every_number_but_0_and_void(tmp_path, kind):
    values = MAP.copy()
    values[0] = 255
    given = values
    if kind != "array":
        given, picture = tmp_path / "map.png", png(values)
        if kind == "palette":
            picture.putpalette(bytes(range(256)) * 3)
        picture.save(given)
    example = read_example(PHOTO, given)
    assert example.ids.tolist() == [2, 4]
    np.testing.assert_array_equal(example.masks.numpy(), [MAP == 2, MAP == 4])


def test_several_masks_and_names():
    planes = np.stack([MASK, ~MASK])
    for given in (planes, [MASK, ~MASK], torch.from_numpy(planes)):
        example = read_example(PHOTO, given)
        assert example.ids.tolist() == [1, 2]
        np.testing.assert_array_equal(example.masks.numpy(), planes)
    named = read_example(PHOTO, {"cup": MASK, "table": ~MASK})
    assert named.vocabulary.names == ("cup", "table")
    assert (named.labels.tolist(), named.ids) == ([0, 1], None)
    alike = read_example(PHOTO, planes, names=["cup", "cup"])
    assert (alike.vocabulary.names, alike.labels.tolist()) == (("cup",), [0, 0])


def test_a_turned_photo_is_upright_and_so_are_its_masks():
    stored = Image.fromarray(np.rot90(PHOTO).copy())
    exif = stored.getexif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    file = io.BytesIO()
    stored.save(file, format="PNG", exif=exif)
    example = read_example(file.getvalue(), MASK)
    np.testing.assert_array_equal(example.image.permute(1, 2, 0).numpy(), PHOTO)


WRONG = {
    "another size": (MASK[:5], r"masks of 5x20 .* do not lie on a photo of 12x20"),
    "fractions": (MASK.astype(np.float32), "bool or whole numbers, got float32"),
    "four axes": (MASK[None, None], r"\[H, W\] or \[M, H, W\], got \(1, 1, 12, 20\)"),
    "colours": (png(PHOTO), "a mask has one channel, not RGB"),
    "negative": (-MAP.astype(np.int64), "numbers from 0 on, got -4"),
    "one negative number": (-MASK.astype(np.int64), "numbers from 0 on, got -1"),
    "unlike sizes": ([MASK, MASK[:4]], "of one size"),
    "none": ([], "there has to be one"),
    "no file": ("gone.png", "gone.png: no such file"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_mask_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        read_example(PHOTO, given)


def test_names_have_to_fit(tmp_path):
    with pytest.raises(ValueError, match="2 names for 1 masks"):
        read_example(PHOTO, MASK, names=["a", "b"])
    with pytest.raises(ValueError, match="masks have names already"):
        read_example(PHOTO, {"a": MASK}, names=["a"])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="is no picture of a mask"):
        read_example(PHOTO, tmp_path / "broken.png")


def test_examples_are_one_or_several_of_any_kind(tmp_path):
    example = read_example(PHOTO, MASK)
    save_example(example, tmp_path / "a.safetensors")
    assert read_examples(example) == (example,)
    assert len(read_examples((PHOTO, MASK))) == 1
    found = read_examples([example, tmp_path / "a.safetensors", (PHOTO, {"x": MASK})])
    assert [type(each) for each in found] == [Example] * 3
    pair = read_examples((example, str(tmp_path / "a.safetensors")))
    assert len(pair) == 2  # two examples, not a photo and a mask
    enrolled = Enrolled("SegGPT", (1,), None, None)
    assert read_examples(enrolled) is enrolled
    with pytest.raises(ValueError, match="an empty list of examples"):
        read_examples([])
    with pytest.raises(ValueError, match="example 1 is an Example, a file of one, or"):
        read_examples([example, 3])


def learned() -> LearnedExample:
    image, target = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return LearnedExample(
        "SegGPT",
        image,
        target,
        torch.tensor([[255, 0, 0], [0, 0, 255]], dtype=torch.uint8),
        torch.tensor([1, 2]),
        torch.tensor([0, 1]),
        Vocabulary(("cup", "sea"), (True, False)),
    )


@pytest.mark.parametrize(
    "example", [read_example(PHOTO, MAP), read_example(PHOTO, {"cup": MASK}), learned()]
)
def test_a_file_has_all_of_an_example(tmp_path, example):
    path = tmp_path / "example.safetensors"
    save_example(example, path)
    found = load_example(path)
    assert type(found) is type(example)
    for name, value in vars(example).items():
        other = getattr(found, name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other)
            assert value.dtype == other.dtype
        else:
            assert value == other


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors does not exist"):
        load_example(tmp_path / "gone.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(ValueError, match="is no file of an example"):
        load_example(tmp_path / "text.safetensors")
    save_file({"weight": torch.ones(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"another kind of file, not freeseg\.example\.1"):
        load_example(tmp_path / "weights.safetensors")
