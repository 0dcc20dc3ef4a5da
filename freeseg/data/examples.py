"""Examples for in-context systems, from photos and masks as people have them, and their files.

Shapes: M masks, H W size of a photo.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from freeseg.files import write_bytes
from freeseg.images import ImageError, ImageSource, read_image
from freeseg.structures import Enrolled, Example, LearnedExample, Prompt, Vocabulary

FORMAT, ABOUT = "freeseg.example.1", "example"
EXAMPLE_SUFFIX = ".safetensors"
VOID = 255  # of label maps that number more than one object

MaskSource = Union[str, "os.PathLike[str]", Image.Image, npt.NDArray[Any], Tensor]
AnyExample = Example | LearnedExample
ExampleSource = Union[
    Enrolled,
    AnyExample,
    str,
    "os.PathLike[str]",
    tuple[ImageSource, Any],
    Sequence[Union[AnyExample, str, "os.PathLike[str]", tuple[ImageSource, Any]]],
]


def read_example(
    photo: ImageSource,
    masks: MaskSource | Sequence[MaskSource] | Mapping[str, MaskSource],
    names: Sequence[str] | None = None,
) -> Example:
    """A photo with what is marked in it.

    Args:
        photo: What `freeseg.images.read_image` reads.
        masks: One mask [H, W], bool; several, [M, H, W] or a list; a map [H, W] of numbers, where 0
            is nothing and, of several numbers, 255 is unknown; a PNG of one; or {name: mask}.
        names: Of the objects, in their order; masks of one name are one object, also in other
            examples. Without names the numbers of a map, or the places of masks, say which is
            which.

    Raises:
        ImageError: The photo or a mask cannot be read.
        ValueError: Masks are malformed, of another size than the photo, or of another number than
            the names.
    """
    image = read_image(photo)
    if isinstance(masks, Mapping):
        if names is not None:
            raise ValueError("masks have names already: {name: mask} takes no others")
        names = list(masks)
        masks = list(masks.values())
        planes, ids = _stacked([_one_mask(each, name) for each, name in zip(masks, names)])
    else:
        planes, ids = _read_masks(masks)
    size = image.shape[:2]
    if planes.shape[1:] != size:
        raise ValueError(
            f"masks of {planes.shape[1]}x{planes.shape[2]} (height x width) do not lie on a photo "
            f"of {size[0]}x{size[1]}"
        )
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    bools = torch.from_numpy(planes)
    if names is None:
        return Example(pixels, bools, ids=torch.tensor(ids, dtype=torch.int64))
    if len(names) != len(planes):
        raise ValueError(f"{len(names)} names for {len(planes)} masks")
    listed = tuple(dict.fromkeys(names))
    labels = torch.tensor([listed.index(name) for name in names], dtype=torch.int64)
    vocabulary = Vocabulary.from_classes(listed) if listed else None
    return Example(pixels, bools, labels if vocabulary else None, vocabulary)


def is_numbered(masks: MaskSource | Sequence[MaskSource] | Mapping[str, MaskSource]) -> bool:
    """Whether masks, as of `read_example`, are one map whose numbers say which object is which.

    A bool mask is none, nor is one in black and white.
    """
    if isinstance(masks, (list, tuple, Mapping)):
        return False
    values = _array(masks, "the mask")
    return values.ndim == 2 and values.dtype != bool and set(np.unique(values)) - {0} != {VOID}


def read_examples(source: ExampleSource) -> tuple[AnyExample, ...] | Enrolled:
    """Examples as a session takes them.

    Args:
        source: An example, a file of one, or (photo, masks) as of `read_example`; a list of such;
            or what `Segmenter.enroll` has made.

    Raises:
        ValueError: There is none, or one is nothing of this kind.
    """
    if isinstance(source, Enrolled):
        return source
    is_one = isinstance(source, (Example, LearnedExample, str, os.PathLike))
    is_pair = isinstance(source, tuple) and len(source) == 2 and not _is_example(source[1])
    several = [source] if is_one or is_pair else list(source)  # type: ignore[arg-type]
    if not several:
        raise ValueError("an empty list of examples shows nothing")
    return tuple(_one_example(each, number) for number, each in enumerate(several))


def with_examples(prompt: Prompt, source: ExampleSource) -> Prompt:
    """A prompt that has examples, too; see `read_examples`."""
    found = read_examples(source)
    if isinstance(found, Enrolled):
        return replace(prompt, enrolled=found)
    return replace(prompt, examples=found)


def _is_example(value: Any) -> bool:
    is_file = isinstance(value, (str, os.PathLike)) and os.fspath(value).endswith(EXAMPLE_SUFFIX)
    return isinstance(value, (Example, LearnedExample)) or is_file


def _one_example(value: Any, number: int) -> AnyExample:
    if isinstance(value, (Example, LearnedExample)):
        return value
    if isinstance(value, (str, os.PathLike)):
        return load_example(value)
    if isinstance(value, tuple) and len(value) == 2:
        return read_example(*value)
    raise ValueError(
        f"example {number} is an Example, a file of one, or (photo, masks), "
        f"got {type(value).__name__}"
    )


def _read_masks(masks: Any) -> tuple[npt.NDArray[np.bool_], list[int]]:
    """Planes bool [M, H, W] and the number of each."""
    if isinstance(masks, (list, tuple)):
        return _stacked([_one_mask(each, number) for number, each in enumerate(masks)])
    values = _array(masks, "the mask")
    if values.ndim == 3:
        return _stacked([_one_mask(each, number) for number, each in enumerate(values)])
    if values.ndim != 2:
        raise ValueError(f"masks are [H, W] or [M, H, W], got {values.shape}")
    numbers = [int(number) for number in np.unique(values) if number]
    if min(numbers, default=0) < 0:
        raise ValueError(f"a map of objects has numbers from 0 on, got {min(numbers)}")
    if numbers == [VOID]:  # black and white
        return (values != 0)[None], [1]
    if len(numbers) > 1:
        numbers = [number for number in numbers if number != VOID]
    planes = [values == number for number in numbers]
    return np.stack(planes) if planes else np.zeros((0, *values.shape), bool), numbers


def _stacked(planes: Sequence[npt.NDArray[np.bool_]]) -> tuple[npt.NDArray[np.bool_], list[int]]:
    sizes = {plane.shape for plane in planes}
    if len(sizes) != 1:
        raise ValueError("masks have to be of one size, and there has to be one")
    return np.stack(list(planes)), list(range(1, len(planes) + 1))


def _one_mask(mask: Any, name: str | int) -> npt.NDArray[np.bool_]:
    values = _array(mask, f"mask {name}")
    if values.ndim != 2:
        raise ValueError(f"mask {name} is [H, W], got {values.shape}")
    return values != 0


def _array(mask: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(mask, (str, os.PathLike)):
        try:
            with Image.open(mask) as opened:
                opened.load()
                return _array(opened, os.fspath(mask))
        except FileNotFoundError:
            raise ImageError(os.fspath(mask), "no such file") from None
        except (UnidentifiedImageError, OSError, SyntaxError):
            raise ImageError(os.fspath(mask), "is no picture of a mask") from None
    if isinstance(mask, Image.Image):
        if mask.mode not in ("1", "L", "P", "I", "I;16"):
            raise ImageError(name, f"a mask has one channel, not {mask.mode}")
        return np.asarray(mask)
    values = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if values.dtype.kind not in "biu":
        raise ValueError(f"{name} has to be of bool or whole numbers, got {values.dtype}")
    return values


def save_example(example: AnyExample, path: str | os.PathLike[str]) -> None:
    """Writes an example into a file, atomically; `load_example` reads it."""
    tensors = {
        name: value.contiguous().cpu()
        for name, value in vars(example).items()
        if isinstance(value, Tensor)
    }
    about: dict[str, Any] = {"format": FORMAT, "system": getattr(example, "system", "")}
    if example.vocabulary is not None:
        about["classes"] = [list(example.vocabulary.names), list(example.vocabulary.is_thing)]
    # one entry: of several the order would be another in every file
    write_bytes(Path(path), save(tensors, {ABOUT: json.dumps(about)}))


def load_example(path: str | os.PathLike[str]) -> AnyExample:
    """An example out of its file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is none, or of a later version.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"example {os.fspath(path)} does not exist")
    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads((file.metadata() or {}).get(ABOUT, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)} is no file of an example: {error}") from None
    if about.get("format") != FORMAT:
        found = about.get("format", "another kind of file")
        raise ValueError(f"{os.fspath(path)} is no file of an example: {found}, not {FORMAT}")
    vocabulary = None
    if "classes" in about:
        names, things = about["classes"]
        vocabulary = Vocabulary(tuple(names), tuple(things))
    if about["system"]:
        return LearnedExample(about["system"], vocabulary=vocabulary, **tensors)
    return Example(vocabulary=vocabulary, **tensors)
