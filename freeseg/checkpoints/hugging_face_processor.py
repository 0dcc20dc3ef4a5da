"""What an image processor of Hugging Face's does with a photo, as configuration keys.

Both spellings are known: that of today, and that of the feature extractors before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freeseg.checkpoints.json_object import read_json_object

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # PIL's, by number
_SHORTEST, _LONGEST = 800, 1333  # the processors' own
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_DIVISORS = {"mask2former": 32, "maskformer": 32, "oneformer": 0}  # OneFormer's has none


@dataclass(frozen=True)
class ProcessorSettings:
    """What is in a folder's file, and which one that is.

    Attributes:
        values: Of the file; empty where there is none.
        source: Its name, or why there is none.
        kind: Whose processor it is, a key of `_DIVISORS`.
    """

    values: Mapping[str, Any]
    source: str
    kind: str

    def config(self) -> dict[str, Any]:
        """Configuration keys: size, filter, mean and deviation of a photo.

        Raises:
            ValueError: The file says what no such processor does; the message has the key.
        """
        resizing = self._resizing() if self.values.get("do_resize", True) else _UNCHANGED
        scale = 1.0
        if self.values.get("do_rescale", True):
            scale = 1 / self.values.get("rescale_factor", 1 / 255)
        mean, deviation = [0.0] * 3, [1.0] * 3
        if self.values.get("do_normalize", True):
            mean = self._colours("image_mean", _MEAN)
            deviation = self._colours("image_std", _DEVIATION)
        return {
            "INPUT.FORMAT": "RGB",
            **resizing,
            "MODEL.PIXEL_MEAN": [value * scale for value in mean],
            "MODEL.PIXEL_STD": [value * scale for value in deviation],
            # what is left of 32 by the processor, the port's model takes as it is
            "MODEL.MASK_FORMER.SIZE_DIVISIBILITY": 0,
            "MODEL.ONE_FORMER.SIZE_DIVISIBILITY": 0,
        }

    def _resizing(self) -> dict[str, Any]:
        number = self.values.get("resample", FILTERS.index("bilinear"))
        if number not in range(len(FILTERS)):
            raise ValueError(
                f"{self.source}: resample is a number of PIL's filters, got {number!r}"
            )
        return {
            **self._size(),
            "INPUT.TEST_RESIZE.DIVISOR": self._divisor(),
            "INPUT.TEST_RESIZE.FILTER": FILTERS[number],
            "INPUT.TEST_RESIZE.ROUNDS_DOWN": True,
        }

    def _size(self) -> dict[str, Any]:
        size = self.values.get("size")
        longest = self.values.get("max_size", self.values.get("_max_size", _LONGEST))
        if size is None:
            size = _SHORTEST
        if isinstance(size, int):
            size = {"shortest_edge": size}
        if isinstance(size, list) and len(size) == 2:
            size = {"height": size[0], "width": size[1]}
        sides = _sides(size)
        if set(sides) == {"height", "width"}:
            return {"INPUT.TEST_RESIZE.SIZE": [sides["height"], sides["width"]]}
        if "shortest_edge" in sides and set(sides) <= {"shortest_edge", "longest_edge"}:
            limit = sides.get("longest_edge", longest)
            return {"INPUT.MIN_SIZE_TEST": sides["shortest_edge"], "INPUT.MAX_SIZE_TEST": limit}
        raise ValueError(
            f"{self.source}: wanted size as shortest_edge and longest_edge or as height and "
            f"width, in pixels, got {size!r}"
        )

    def _divisor(self) -> int:
        default = _DIVISORS[self.kind]
        if not default:
            return 0
        old = self.values.get("size_divisibility", default)
        divisor = self.values.get("size_divisor", old)
        if not _is_side(divisor) and divisor != 0:
            raise ValueError(f"{self.source}: size_divisor is a number of pixels, got {divisor!r}")
        return int(divisor)

    def _colours(self, key: str, default: Sequence[float]) -> list[float]:
        values = self.values.get(key, default)
        if isinstance(values, (int, float)):
            values = [values] * 3
        is_list = isinstance(values, (list, tuple)) and len(values) == 3
        if not is_list or not all(isinstance(value, (int, float)) for value in values):
            raise ValueError(f"{self.source}: {key} is a number per channel, got {values!r}")
        return [float(value) for value in values]


_UNCHANGED = {"INPUT.MIN_SIZE_TEST": 0}


def read_processor(folder: Path, model_type: str) -> ProcessorSettings:
    """Reads the image processor of a folder; without one it is that of the model's type.

    Raises:
        ValueError: The file is not what it should be.
    """
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            values = read_json_object(folder / name)
            values = values.get("image_processor", values)  # as processors of transformers 5 write
            return ProcessorSettings(values, name, _kind(values, model_type))
    return ProcessorSettings({}, f"the port's own: no {PROCESSOR_FILES[0]}", model_type)


def _kind(values: Mapping[str, Any], model_type: str) -> str:
    """Whose processor it is; that of the model where it is of another model altogether."""
    name = values.get("image_processor_type") or values.get("feature_extractor_type") or ""
    kinds = [kind for kind in _DIVISORS if str(name).lower().startswith(kind)]
    return kinds[0] if kinds else model_type


def _sides(size: Any) -> dict[str, int]:
    """The sides that a size names; none where one is not a number of pixels."""
    if not isinstance(size, dict):
        return {}
    sides = {key: value for key, value in size.items() if value is not None}
    return sides if all(map(_is_side, sides.values())) else {}


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
