"""How far a model knows what it sees: against sums by hand, and as systems give it."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import pytest
import torch

from freeseg import build_model
from freeseg.inference import dense_certainty, photo_certainty, segment_in_tiles
from freeseg.structures import (
    CERTAINTY_KEY,
    LABEL_MAP_KEY,
    ImageFeatures,
    SegmentationResult,
    Vocabulary,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_inputs import picture, three_classes

CLASSES = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]))  # "no object" last
MASKS = torch.tensor([[[0.9, 0.2]], [[0.5, 1 - 1e-6]]]).logit()


def test_a_pixel_is_as_certain_as_its_best_mask_and_a_photo_is_their_mean() -> None:
    expected = (0.7 * 0.9 + 0.3 * 1.0) / 2  # of 0.63 and 0.15, of 0.14 and 0.3
    assert photo_certainty(CLASSES, MASKS) == pytest.approx(expected, abs=1e-5)


def test_a_pixel_without_masks_is_as_certain_as_the_energy_of_its_cosines() -> None:
    cosines = torch.tensor([[[0.9, 0.1]], [[0.1, 0.1]], [[-0.2, 0.1]]])  # [K, 1, 2]
    powers = [math.exp(5 * cosine) for cosine in (0.9, 0.1, -0.2)]
    energies = math.log(sum(powers) / 3) / 5, 0.1  # of equal cosines it is they
    expected = (1 + sum(energies) / 2) / 2
    assert dense_certainty(5 * cosines, 5.0) == pytest.approx(expected, abs=1e-6)
    assert dense_certainty(5 * cosines[[2, 0, 1]], 5.0) == pytest.approx(expected, abs=1e-6)
    twice = torch.cat([cosines, cosines])
    assert dense_certainty(5 * twice, 5.0) == pytest.approx(expected, abs=1e-6)
    assert dense_certainty(-5 * torch.ones(3, 1, 1), 5.0) == pytest.approx(0, abs=1e-6)
    assert dense_certainty(5 * torch.ones(3, 1, 1), 5.0) == pytest.approx(1)


def test_order_of_classes_and_queries_changes_nothing() -> None:
    certainty = photo_certainty(CLASSES, MASKS)
    assert photo_certainty(CLASSES[:, [1, 0, 2]], MASKS) == certainty
    assert photo_certainty(CLASSES.flip(0), MASKS.flip(0)) == certainty


def test_padding_is_cut_off() -> None:
    features = ImageFeatures((), torch.zeros(2, 1, 16, 24), (64, 96), ((64, 96), (30, 40)))
    masks = torch.zeros(5, 16, 24)
    assert features.frames[0].without_padding(masks).shape == (5, 16, 24)
    assert features.frames[1].without_padding(masks).shape == (5, 8, 10), "7.5 rows are begun"


@pytest.mark.parametrize("padded", [(64, 96), (32, 48), (60, 90)])
def test_a_map_keeps_the_pixels_that_show_any_of_the_image(padded) -> None:
    """A pixel's share of the padded photo begins before the image ends."""
    masks = torch.rand(2, 16, 24)
    for image in [(1, 1), (30, 40), (31, 41), (32, 48), (28, 29)]:
        features = ImageFeatures((), torch.zeros(2, 1, 16, 24), padded, ((1, 1), image))
        rows = [row for row in range(16) if row * padded[0] / 16 < image[0]]
        columns = [column for column in range(24) if column * padded[1] / 24 < image[1]]
        wanted = masks[:, rows][:, :, columns]
        assert torch.equal(features.frames[1].without_padding(masks), wanted)


def test_certainty_is_the_mean_over_pixels_of_the_best_query() -> None:
    generator = torch.Generator().manual_seed(0)
    class_logits = torch.randn(4, 6, generator=generator)
    masks = torch.randn(4, 3, 5, generator=generator)
    total = 0.0
    for y, x in itertools.product(range(3), range(5)):
        total += max(
            float(class_logits[query].softmax(-1)[:5].max() * masks[query, y, x].sigmoid())
            for query in range(4)
        )
    assert photo_certainty(class_logits, masks) == pytest.approx(total / 15, rel=1e-5)


def test_energy_is_written_out_pixel_by_pixel() -> None:
    cosines = 2 * torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(0)) - 1
    energies = [
        math.log(sum(math.exp(7 * float(cosine)) for cosine in cosines[:, y, x]) / 4) / 7
        for y, x in itertools.product(range(3), range(5))
    ]
    expected = 0.5 + sum(energies) / 15 / 2
    assert dense_certainty(7 * cosines, 7.0) == pytest.approx(expected, abs=1e-6)


def test_of_two_decodings_of_a_photo_the_less_certain_one_counts() -> None:
    first, second = SegmentationResult(certainty=0.9), SegmentationResult(certainty=0.4)
    semantic = SegmentationResult(semantic=torch.zeros(1, 1))
    assert first.joined(second).certainty == second.joined(first).certainty == 0.4
    assert semantic.joined(first).certainty == first.joined(semantic).certainty == 0.9
    assert first.joined(semantic).semantic is semantic.semantic
    assert semantic.joined(semantic).certainty is None


@pytest.mark.parametrize(
    "config",
    [
        "Base-Mask2Former-small.yaml",
        "freeseg/shapes/toy.yaml",
        "oneformer/shapes/oneformer_small.yaml",
    ],
)
@pytest.mark.parametrize("is_map", [False, True], ids=["scores", "label map"])
@torch.no_grad()
def test_asking_changes_nothing_else_and_batches_change_no_certainty(config, is_map) -> None:
    model = small_model(config)
    asked = {"tasks": ("semantic", "panoptic", "instance"), LABEL_MAP_KEY: is_map}
    inputs = [{**picture(seed=seed), **asked} for seed in (0, 1)]
    plain = model(inputs)
    certain = model([{**x, CERTAINTY_KEY: True} for x in inputs])
    for index, (before, after) in enumerate(zip(plain, certain)):
        alone = model([{**inputs[index], CERTAINTY_KEY: True}])[0]
        assert 0 < after[CERTAINTY_KEY] < 1
        assert alone[CERTAINTY_KEY] == pytest.approx(after[CERTAINTY_KEY], abs=1e-5)
        assert CERTAINTY_KEY not in before
        assert torch.equal(before["sem_seg"], after["sem_seg"])
        assert torch.equal(before["panoptic_seg"][0], after["panoptic_seg"][0])
        assert before["panoptic_seg"][1] == after["panoptic_seg"][1]
        assert torch.equal(before["instances"].scores, after["instances"].scores)
        assert torch.equal(before["instances"].pred_masks, after["instances"].pred_masks)
    assert certain[0][CERTAINTY_KEY] != certain[1][CERTAINTY_KEY]


@torch.no_grad()
def test_a_model_of_pixels_is_as_certain_whatever_is_asked_for() -> None:
    model = small_model("lseg/shapes/small.yaml")
    inputs = [picture(seed=seed) for seed in (0, 1)]
    plain = model(inputs)
    asked = {CERTAINTY_KEY: True}
    certain = model([{**x, **asked} for x in inputs])
    for x, before, after in zip(inputs, plain, certain):
        assert torch.equal(before["sem_seg"], after["sem_seg"])
        assert CERTAINTY_KEY not in before
        words = {"vocabulary": Vocabulary.from_classes("lava: stuff, moon")}
        for more in ({LABEL_MAP_KEY: True}, words, {**words, LABEL_MAP_KEY: True}):
            alone = model([{**x, **asked, **more}])[0]
            assert alone[CERTAINTY_KEY] == pytest.approx(after[CERTAINTY_KEY], abs=1e-5)
    assert certain[0][CERTAINTY_KEY] != certain[1][CERTAINTY_KEY]
    # its own classes decide, all of them
    features = model.encode(model.prepare([inputs[0]["image"]]))
    text = model.text(model.vocabulary)
    logits = model.sem_seg_head.classify(features, text, model.vocabulary)[0]
    height, width = (-(-side // 2) for side in inputs[0]["image"].shape[-2:])
    expected = dense_certainty(logits[:, :height, :width], model.sem_seg_head.logit_scale)
    assert certain[0][CERTAINTY_KEY] == pytest.approx(expected, abs=1e-5)


def test_of_tiles_every_pixel_counts_once() -> None:
    asked = []

    def model(batch):
        asked.append(batch[0]["image"].shape)
        return [{CERTAINTY_KEY: 0.25 * len(asked)}]

    inputs = {"image": torch.zeros(3, 64, 128), "height": 64, "width": 128}
    output = segment_in_tiles(model, inputs, 2)
    assert len(asked) == 4
    assert output[CERTAINTY_KEY] == pytest.approx((0.25 + 0.5 + 0.75 + 1) / 4)


def small_model(config: str) -> torch.nn.Module:
    torch.manual_seed(0)
    cfg = three_classes(config)
    cfg.MODEL.DEVICE = "cpu"
    return build_model(cfg).eval()
