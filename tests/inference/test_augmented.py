from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from freeseg.inference import AugmentedSemantic, SlidingWindow, groups_by_padded_size
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


def test_images_of_one_padded_size_share_a_batch():
    sizes = [(30, 40), (64, 64), (32, 64), (20, 50), (64, 33)]
    assert groups_by_padded_size(sizes, 32) == [[0, 2, 3], [1, 4]]
    assert groups_by_padded_size(sizes, 0) == [[0], [1], [2], [3], [4]]
    assert groups_by_padded_size([], 32) == []


def test_labels_are_those_of_the_mean_scores():
    whole = [{"image": picture(), "label_map": True}]
    for wrapped in (
        SlidingWindow(Brightness(), window=(8, 12), stride=(5, 7), tasks=("semantic",)),
        AugmentedSemantic(Brightness(), min_sizes=(20, 30), max_size=60, flip=True),
    ):
        scores = wrapped([{"image": picture()}])[0]["sem_seg"]
        assert torch.equal(wrapped(whole)[0]["sem_seg"], scores.argmax(0))
