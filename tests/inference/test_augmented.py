from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from freeseg.inference import AugmentedSemantic, PhotoInput, SlidingWindow, groups_by_size
from freeseg.inference.sliding import window_starts


class Brightness(nn.Module):
    """Semantic scores are the channels of the input at the size that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def forward(self, inputs):
        self.seen += [(tuple(x["image"].shape[-2:]), tuple(x["tasks"])) for x in inputs]
        return [self._one(x) for x in inputs]

    def _one(self, x):
        size = x.get("height", x["image"].shape[-2]), x.get("width", x["image"].shape[-1])
        scores = F.interpolate(x["image"][None].float(), size, mode="bilinear")[0]
        named = {"semantic": "sem_seg", "panoptic": "panoptic_seg"}
        return {named[task]: scores for task in x["tasks"]}


def picture(height=20, width=30):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=generator).byte()


@pytest.mark.parametrize(
    ("length", "window", "stride", "starts"),
    [
        (10, 4, 3, [0, 3, 6]),
        (10, 4, 4, [0, 4, 6]),
        (4, 4, 2, [0]),
        (3, 4, 2, [0]),
        (5, 4, 4, [0, 1]),
    ],
)
def test_windows_cover_everything(length, window, stride, starts):
    assert window_starts(length, window, stride) == starts


def test_windows_of_a_local_model_change_nothing():
    model = Brightness()
    whole = model([{"image": picture(), "tasks": ("semantic",)}])[0]["sem_seg"]
    sliding = SlidingWindow(model, window=(8, 12), stride=(5, 7), tasks=("semantic", "panoptic"))
    output = sliding([{"image": picture()}])[0]
    torch.testing.assert_close(output["sem_seg"], whole)
    sizes = {size for size, tasks in model.seen[1:] if tasks == ("semantic",)}
    assert sizes == {(8, 12)}
    assert model.seen.count(((20, 30), ("panoptic",))) == 1
    larger = sliding([{"image": picture(), "height": 40, "width": 60, "tasks": ("semantic",)}])[0]
    assert set(larger) == {"sem_seg"}
    expected = F.interpolate(whole[None], (40, 60), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(larger["sem_seg"], expected)


def test_a_stride_beyond_the_window_is_refused():
    with pytest.raises(ValueError, match=r"strides \(9, 7\) must be 1 to the window \(8, 12\)"):
        SlidingWindow(Brightness(), window=(8, 12), stride=(9, 7), tasks=("semantic",))


def test_augmentation_is_the_mean_over_sizes_and_mirror_images():
    model, image = Brightness(), picture()
    augmented = AugmentedSemantic(model, min_sizes=[10, 40], max_size=100, flip=True)
    found = augmented([{"image": image, "height": 16, "width": 24}])[0]["sem_seg"]
    expected = []
    photo = Image.fromarray(image.permute(1, 2, 0).numpy())
    for side in (10, 40):
        copy = np.asarray(photo.resize((side * 3 // 2, side), Image.BILINEAR))
        pixels = torch.from_numpy(copy.copy()).permute(2, 0, 1)[None].float()
        once = F.interpolate(pixels, (16, 24), mode="bilinear")
        mirrored = F.interpolate(pixels.flip(-1), (16, 24), mode="bilinear").flip(-1)
        expected += [once, mirrored]
    torch.testing.assert_close(found, torch.cat(expected).mean(0))
    assert [size for size, _ in model.seen] == [(10, 15)] * 2 + [(40, 60)] * 2
    plain = AugmentedSemantic(model, min_sizes=[20], max_size=100, flip=False)
    torch.testing.assert_close(plain([{"image": image}])[0]["sem_seg"], image.float())


class LeftAndRight(Brightness):
    """Brightness, and where in the copy a pixel is: mirrored copies are seen otherwise."""

    def _one(self, x):
        self.asked = {key: x.get(key) for key in ("label_map", "file_name")}
        found = super()._one(x)
        columns = torch.linspace(0, 200, found["sem_seg"].shape[-1])
        return {
            "sem_seg": found["sem_seg"] * torch.tensor([1.0, 0.5, 2.0])[:, None, None] + columns
        }


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("wants_map", [False, True])
def test_three_sizes_are_three_calls_written_out(flip, wants_map):
    """The largest copy is held by the long side; the caller's own keys reach the model."""
    model, image = LeftAndRight(), picture()
    wrapped = AugmentedSemantic(model, min_sizes=[10, 20, 40], max_size=48, flip=flip)
    asked = {
        "image": image,
        "height": 17,
        "width": 33,
        "file_name": "a.jpg",
        "label_map": wants_map,
    }
    found = wrapped([asked])[0]["sem_seg"]
    total = torch.zeros(3, 17, 33)
    photo = Image.fromarray(image.permute(1, 2, 0).numpy())
    for width, height in ((15, 10), (30, 20), (48, 32)):
        copy = torch.from_numpy(np.array(photo.resize((width, height), Image.BILINEAR)))
        request = {"tasks": ("semantic",), "height": 17, "width": 33}
        scores = LeftAndRight()([{**request, "image": copy.permute(2, 0, 1)}])[0]["sem_seg"]
        if flip:
            mirrored = copy.permute(2, 0, 1).flip(2)
            seen = LeftAndRight()([{**request, "image": mirrored}])[0]["sem_seg"].flip(2)
            assert (seen - scores).abs().max() > 100
            scores = (scores + seen) / 2
        total += scores / 3
    torch.testing.assert_close(found, total.argmax(0) if wants_map else total)
    assert model.asked == {"label_map": False, "file_name": "a.jpg"}
    assert len(model.seen) == 3 * (1 + flip)


@pytest.mark.parametrize("wants_map", [False, True])
def test_windows_are_summed_and_counted_pixel_by_pixel(wants_map):
    """Windows of a model to which it matters where in a window a pixel is; the last ends it."""
    model, image = LeftAndRight(), picture()
    wrapped = SlidingWindow(model, window=(8, 12), stride=(5, 7), tasks=("semantic",))
    found = wrapped([{"image": image, "label_map": wants_map, "file_name": "a.jpg"}])[0]["sem_seg"]
    total, count = np.zeros((3, 20, 30)), np.zeros((20, 30))
    for top in (0, 5, 10, 12):
        for left in (0, 7, 14, 18):
            part = image[:, top : top + 8, left : left + 12]
            scores = LeftAndRight()([{"image": part, "tasks": ("semantic",)}])[0]["sem_seg"]
            total[:, top : top + 8, left : left + 12] += scores.numpy()
            count[top : top + 8, left : left + 12] += 1
    wanted = torch.from_numpy(total / count).float()
    torch.testing.assert_close(found, wanted.argmax(0) if wants_map else wanted)
    assert model.asked == {"label_map": False, "file_name": "a.jpg"}
    assert len(model.seen) == 16


def test_a_picture_smaller_than_the_window_is_one():
    model, image = LeftAndRight(), picture(6, 9)
    wrapped = SlidingWindow(model, window=(8, 12), stride=(8, 12), tasks=("semantic",))
    found = wrapped([{"image": image, "height": 12, "width": 27}])[0]["sem_seg"]
    scores = LeftAndRight()([{"image": image, "tasks": ("semantic",)}])[0]["sem_seg"]
    wanted = F.interpolate(scores[None], (12, 27), mode="bilinear")[0]
    torch.testing.assert_close(found, wanted)
    assert [size for size, _ in model.seen] == [(6, 9)]


@pytest.mark.parametrize("stride", [(0, 7), (5, 0), (5, 13), (9, 12)])
def test_strides_are_from_one_to_the_window(stride):
    with pytest.raises(ValueError, match="must be 1 to the window"):
        SlidingWindow(Brightness(), window=(8, 12), stride=stride, tasks=("semantic",))
    for limit in ((1, 1), (8, 12)):
        SlidingWindow(Brightness(), window=(8, 12), stride=limit, tasks=("semantic",))


@pytest.mark.parametrize(
    ("sizes", "divisor", "groups"),
    [
        ([(30, 40), (64, 64), (32, 64), (20, 50), (64, 33)], 32, [[0, 2, 3], [1, 4]]),
        ([(30, 40), (64, 64), (32, 64), (20, 50)], 0, [[0], [1], [2], [3]]),
        ([(30, 40), (64, 64), (30, 40)], 1, [[0, 2], [1]]),
        ([(32, 64), (33, 64), (32, 65), (1, 33)], 32, [[0, 3], [1], [2]]),
        ([], 32, []),
    ],
)
def test_images_of_one_padded_size_share_a_batch(sizes, divisor, groups):
    padded_size = PhotoInput(size_divisibility=divisor).padded_size
    assert groups_by_size(list(map(padded_size, sizes))) == groups


def test_labels_are_those_of_the_mean_scores():
    whole = [{"image": picture(), "label_map": True}]
    for wrapped in (
        SlidingWindow(Brightness(), window=(8, 12), stride=(5, 7), tasks=("semantic",)),
        AugmentedSemantic(Brightness(), min_sizes=(20, 30), max_size=60, flip=True),
    ):
        scores = wrapped([{"image": picture()}])[0]["sem_seg"]
        assert torch.equal(wrapped(whole)[0]["sem_seg"], scores.argmax(0))
