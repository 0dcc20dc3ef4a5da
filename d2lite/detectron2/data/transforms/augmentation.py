"""The interface of augmentations, and what they are applied to."""

from __future__ import annotations

import inspect
import pprint
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform, TransformList

__all__ = [
    "AugInput",
    "Augmentation",
    "AugmentationList",
    "StandardAugInput",
    "TransformGen",
    "apply_augmentations",
    "apply_transform_gens",
]

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _check_img_dtype(img: Any) -> None:
    assert isinstance(img, np.ndarray), f"an image should be a numpy array, got {type(img)}"
    assert img.ndim in (2, 3), f"an image should have 2 or 3 axes, got {img.ndim}"


def _get_aug_input_args(aug: Augmentation, aug_input: Any) -> list[Any]:
    """Collect from the input what the augmentation's ``get_transform`` takes."""
    if aug.input_args is None:
        aug.input_args = _argument_names(aug)
    values = []
    for name in aug.input_args:
        if not hasattr(aug_input, name):
            raise AttributeError(
                f"{type(aug)}.get_transform needs '{name}', which {type(aug_input)} lacks"
            )
        values.append(getattr(aug_input, name))
    return values


def _argument_names(aug: Augmentation) -> tuple[str, ...]:
    parameters = inspect.signature(aug.get_transform).parameters
    if len(parameters) == 1:
        return ("image",)  # a single argument is the image, whatever its name
    for parameter in parameters.values():
        if parameter.kind in _VARIADIC:
            raise TypeError(
                f"{type(aug)}.get_transform takes *args or **kwargs, so it cannot be known what "
                "to pass; name the arguments, set input_args, or define __call__"
            )
    return tuple(parameters)


class Augmentation:
    """A policy, usually a random one, which looks at the data and chooses a ``Transform``.

    The transform itself is deterministic, so that it can be applied to everything that belongs
    to an image. Subclasses define ``get_transform``.

    Attributes:
        input_args: names of the input's attributes which ``get_transform`` takes; by default
            the names of its arguments.
    """

    input_args: tuple[str, ...] | None = None

    def _init(self, params: dict[str, Any] | None = None) -> None:
        """Make attributes of a constructor's ``locals()``."""
        for name, value in (params or {}).items():
            if name != "self" and not name.startswith("_"):
                setattr(self, name, value)

    def get_transform(self, *args: Any) -> Transform:
        """Choose the transform for some data.

        By convention an argument called ``image`` is [H, W] or [H, W, C], uint8 or floating
        point; ``boxes`` is float32 [N, 4] in absolute xyxy; ``sem_seg`` is uint8 [H, W].
        """
        raise NotImplementedError

    def __call__(self, aug_input: Any) -> Transform:
        """Transform the input in place, and return the transform that was chosen."""
        transform = self.get_transform(*_get_aug_input_args(self, aug_input))
        assert isinstance(transform, Transform), (
            f"{type(self)}.get_transform must return an instance of Transform! "
            f"Got {type(transform)} instead."
        )
        aug_input.transform(transform)
        return transform

    def _rand_range(
        self, low: float = 1.0, high: float | None = None, size: Any = None
    ) -> np.ndarray:
        """Draw uniformly from [low, high), or from [0, low)."""
        if high is None:
            low, high = 0, low
        return np.random.uniform(low, high, [] if size is None else size)

    def __repr__(self) -> str:
        """Show the arguments which were given, if they are attributes."""
        parameters = inspect.signature(self.__init__).parameters
        shown = []
        for name, parameter in parameters.items():
            if parameter.kind in _VARIADIC or not hasattr(self, name):
                return super().__repr__()
            value = getattr(self, name)
            if value is not parameter.default:
                text = pprint.pformat(value)
                shown.append(f"{name}={'...' if chr(10) in text else text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    __str__ = __repr__


class _TransformToAug(Augmentation):
    """The policy that always chooses the same transform."""

    def __init__(self, tfm: Transform) -> None:
        self.tfm = tfm

    def get_transform(self, *args: Any) -> Transform:
        return self.tfm

    def __call__(self, aug_input: Any) -> Transform:
        aug_input.transform(self.tfm)
        return self.tfm

    def __repr__(self) -> str:
        return repr(self.tfm)

    __str__ = __repr__


def _transform_to_aug(tfm_or_aug: Transform | Augmentation) -> Augmentation:
    assert isinstance(tfm_or_aug, (Transform, Augmentation)), tfm_or_aug
    return tfm_or_aug if isinstance(tfm_or_aug, Augmentation) else _TransformToAug(tfm_or_aug)


class AugmentationList(Augmentation):
    """Augmentations one after another, each of which sees what the ones before have made.

    There is no ``get_transform``, because a later transform depends on transformed data.
    """

    def __init__(self, augs: Sequence[Augmentation | Transform]) -> None:
        """Collect augmentations and transforms."""
        super().__init__()
        self.augs = [_transform_to_aug(aug) for aug in augs]

    def __call__(self, aug_input: Any) -> TransformList:
        return TransformList([aug(aug_input) for aug in self.augs])

    def __repr__(self) -> str:
        return f"AugmentationList[{', '.join(map(str, self.augs))}]"

    __str__ = __repr__


class AugInput:
    """An image with boxes and semantic labels, which are transformed together.

    For other data, write a class which has the attributes that the augmentations ask for and a
    method ``transform(tfm)``.
    """

    def __init__(
        self,
        image: np.ndarray,
        *,
        boxes: np.ndarray | None = None,
        sem_seg: np.ndarray | None = None,
    ) -> None:
        """Collect what belongs together.

        Args:
            image: [H, W] or [H, W, C], uint8, or floating point in [0, 1] or [0, 255].
            boxes: float32 [N, 4] in absolute xyxy.
            sem_seg: uint8 [H, W], a label per pixel.
        """
        _check_img_dtype(image)
        self.image, self.boxes, self.sem_seg = image, boxes, sem_seg

    def transform(self, tfm: Transform) -> None:
        """Replace each attribute by its transformed version."""
        self.image = tfm.apply_image(self.image)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)

    def apply_augmentations(
        self, augmentations: Sequence[Augmentation | Transform]
    ) -> TransformList:
        """Apply the augmentations in their order, and return the transforms they chose."""
        return AugmentationList(augmentations)(self)


def apply_augmentations(
    augmentations: Sequence[Augmentation | Transform], inputs: np.ndarray | AugInput
) -> tuple[Any, TransformList]:
    """Augment an image or an ``AugInput``; return it with the transforms that were applied."""
    if isinstance(inputs, np.ndarray):
        wrapped = AugInput(inputs)
        transforms = wrapped.apply_augmentations(augmentations)
        return wrapped.image, transforms
    return inputs, inputs.apply_augmentations(augmentations)


# Names from earlier versions, which much code still uses.
apply_transform_gens = apply_augmentations
TransformGen = Augmentation
StandardAugInput = AugInput
