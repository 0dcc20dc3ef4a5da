import pytest
import torch

from detectron2.structures import ImageList


def images(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in sizes]


def test_pads_right_and_bottom_with_the_value():
    first, second = images((10, 20), (15, 7))
    batch = ImageList.from_tensors([first, second], size_divisibility=8, pad_value=-1.5)
    assert batch.tensor.shape == (2, 3, 16, 24)
    assert [tuple(size) for size in batch.image_sizes] == [(10, 20), (15, 7)]
    assert len(batch) == 2
    for image, original in zip((batch[0], batch[1]), (first, second)):
        assert torch.equal(image, original)
    assert (batch.tensor == -1.5).sum() == batch.tensor.numel() - first.numel() - second.numel()


@pytest.mark.parametrize(
    ("sizes", "options", "expected"),
    [
        ([(10, 20)], {}, (10, 20)),
        ([(10, 20)], {"size_divisibility": 1}, (10, 20)),
        ([(10, 20)], {"size_divisibility": 16}, (16, 32)),
        ([(32, 48)], {"size_divisibility": 16}, (32, 48)),
        ([(10, 20), (30, 5)], {"padding_constraints": {"square_size": 40}}, (40, 40)),
        ([(9, 9)], {"size_divisibility": 32, "padding_constraints": {"size_divisibility": 4}},
         (12, 12)),
        ([(9, 9)], {"padding_constraints": {"square_size": 50, "size_divisibility": 16}}, (64, 64)),
        ([(9, 9)], {"padding_constraints": {"square_size": 0}}, (9, 9)),
    ],
)  # fmt: skip
def test_padded_size(sizes, options, expected):
    assert ImageList.from_tensors(images(*sizes), **options).tensor.shape[-2:] == expected


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16])
def test_keeps_dtype_and_leading_dimensions(dtype):
    ones = [torch.ones(2, 4, 3, 5).to(dtype), torch.ones(2, 4, 6, 2).to(dtype)]
    batch = ImageList.from_tensors(ones)
    assert batch.tensor.dtype == dtype
    assert batch.tensor.shape == (2, 2, 4, 6, 5)
    assert batch.tensor.sum() == 2 * 4 * (3 * 5 + 6 * 2)
    plain = ImageList.from_tensors([torch.ones(3, 5)])
    assert plain[0].shape == (3, 5)


def test_to_and_errors():
    batch = ImageList.from_tensors(images((4, 4))).to(torch.float64)
    assert batch.tensor.dtype == torch.float64
    assert batch.device.type == "cpu"
    with pytest.raises(AssertionError):
        ImageList.from_tensors([])
    with pytest.raises(AssertionError):
        ImageList.from_tensors([torch.ones(3, 4, 4), torch.ones(1, 4, 4)])


def test_result_does_not_share_memory():
    (image,) = images((8, 8))
    batch = ImageList.from_tensors([image])
    batch.tensor += 1
    assert image.max() < 1


def test_gradient_reaches_the_images():
    first, second = (image.requires_grad_() for image in images((3, 4), (5, 2)))
    ImageList.from_tensors([first, second], 4).tensor.sum().backward()
    assert torch.equal(first.grad, torch.ones(3, 3, 4))
    assert torch.equal(second.grad, torch.ones(3, 5, 2))
