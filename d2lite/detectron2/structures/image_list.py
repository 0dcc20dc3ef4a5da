"""A batch of images of different sizes in one padded tensor."""

# scripted and traced: annotations are not postponed
from typing import Any

import torch
from torch import device  # by this name torchscript finds the type of a property

from detectron2.layers.wrappers import shapes_to_tensor


class ImageList:
    """Images padded at the right and bottom to one size, and their own sizes (height, width).

    While tracing, `image_sizes` holds tensors.
    """

    def __init__(self, tensor: torch.Tensor, image_sizes: list[tuple[int, int]]):
        self.tensor = tensor
        self.image_sizes = image_sizes

    @property
    def device(self) -> device:
        return self.tensor.device

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx) -> torch.Tensor:
        """Return one image in its own size."""
        height, width = self.image_sizes[idx][0], self.image_sizes[idx][1]
        return self.tensor[idx, ..., :height, :width]

    @torch.jit.unused
    def to(self, *args: Any, **kwargs: Any) -> "ImageList":
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @staticmethod
    def from_tensors(
        tensors: list[torch.Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: dict[str, int] | None = None,
    ) -> "ImageList":
        """Pad images [..., H_i, W_i] to their largest height and width.

        Args:
            tensors: images that differ in the last two dimensions only.
            size_divisibility: the padded size is a multiple of this, if above 1.
            pad_value: what padding holds.
            padding_constraints: "size_divisibility" overrides the argument; a positive
                "square_size" is the padded height and width before that.
        """
        assert isinstance(tensors, (tuple, list))
        assert len(tensors) > 0
        for image in tensors:
            assert isinstance(image, torch.Tensor), type(image)
            assert image.shape[:-2] == tensors[0].shape[:-2], image.shape

        sizes = [(image.shape[-2], image.shape[-1]) for image in tensors]
        traceable_sizes = [shapes_to_tensor([size[0], size[1]]) for size in sizes]
        padded_size = torch.stack(traceable_sizes).max(0).values
        if padding_constraints is not None:
            size_divisibility = padding_constraints.get("size_divisibility", size_divisibility)
            square_size = padding_constraints.get("square_size", 0)
            if square_size > 0:
                padded_size = torch.full_like(padded_size, square_size)
        if size_divisibility > 1:
            steps = (padded_size + (size_divisibility - 1)).div(
                size_divisibility, rounding_mode="floor"
            )
            padded_size = steps * size_divisibility
        batch = _pad_and_stack(list(tensors), padded_size, float(pad_value))
        if not torch.jit.is_scripting() and torch.jit.is_tracing():
            return ImageList(batch, traceable_sizes)
        return ImageList(batch, sizes)


@torch.jit.script_if_tracing
def _pad_and_stack(
    images: list[torch.Tensor], padded_size: torch.Tensor, pad_value: float
) -> torch.Tensor:
    """Return [N, ..., H, W]; scripted within a trace, which then works for other sizes."""
    leading = list(images[0].shape[:-2])
    shape = [len(images)] + leading + [int(padded_size[0]), int(padded_size[1])]  # noqa: RUF005
    batch = torch.full(shape, pad_value, dtype=images[0].dtype, device=images[0].device)
    for i, image in enumerate(images):
        batch[i, ..., : image.shape[-2], : image.shape[-1]].copy_(image)
    return batch
