"""Two opinions on a region."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from freeseg.structures import ImageFeatures, Vocabulary
from freeseg.systems.freeseg.crops import MaskCrops, crop_features
from freeseg.systems.freeseg.ensemble import ProposalEnsemble, binary_masks, geometric_ensemble

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from largest_tensor import LargestTensor
from tiny_clip import tiny_clip

VOCABULARY = Vocabulary(("cat", "dog", "sky"), (True, True, False), (True, False, True))


def test_exponents_are_swapped_between_seen_and_unseen():
    query, region = torch.tensor([[0.5, 0.3]]), torch.tensor([[0.1, 0.9]])
    found = geometric_ensemble(query, region, torch.tensor([True, False]), 0.8)
    expected = [[0.5**0.8 * 0.1**0.2, 0.3**0.2 * 0.9**0.8]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_both_opinions_are_equal_at_one_half():
    query, region = torch.rand(4, 5), torch.rand(4, 5)
    flags = torch.tensor([True, False, True, False, False])
    found = geometric_ensemble(query, region, flags, 0.5)
    torch.testing.assert_close(found, (query * region).sqrt())


@pytest.mark.parametrize("threshold", [0.3, 0.5])
@pytest.mark.parametrize("queries", [1, 19])
def test_proposals_are_enlarged_a_few_at_a_time(queries, threshold):
    torch.manual_seed(0)
    mask_logits = torch.randn(queries, 12, 16)
    features = ImageFeatures((), mask_logits[None], (96, 128), ((90, 121),))
    with LargestTensor() as largest:
        found = binary_masks(mask_logits, features.frames[0], threshold)
    whole = F.interpolate(mask_logits[None], (96, 128), mode="bilinear", align_corners=True)[0]
    assert torch.equal(found, whole[:, :90, :121].sigmoid() > threshold)
    assert largest.values <= max(8 * 96 * 128, found.numel())


def test_a_proposal_is_where_it_is_more_probable_than_the_threshold():
    mask_logits = torch.tensor([0.0, 1e-3, -1e-3])[:, None, None].expand(-1, 3, 4)
    features = ImageFeatures((), torch.zeros(2, 1, 3, 4), (12, 16), ((12, 16), (9, 11)))
    found = binary_masks(mask_logits, features.frames[1], 0.5)
    assert found.shape == (3, 9, 11)
    assert [bool(mask.all()) for mask in found] == [False, True, False]
    assert [bool(mask.any()) for mask in found] == [False, True, False]


@pytest.fixture(scope="module")
def scene():
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 40, 50)).byte()
    mask_probs = torch.rand(4, 40, 50)
    mask_probs[1] = 0.2  # empty
    mask_probs[2, :, 9:] = 0
    return tiny_clip(), image, mask_probs > 0.5


@pytest.mark.parametrize("fill", ["mean", "zero"])
@torch.no_grad()
def test_a_region_is_cropped_painted_and_resized(scene, fill):
    encoder, image, masks = scene
    found, is_shown = crop_features(encoder, image, masks, MaskCrops(fill=fill))
    assert is_shown.tolist() == [True, False, True, True]
    mean, std = (
        torch.tensor(values).view(3, 1, 1) * 255
        for values in (encoder.pixel_mean, encoder.pixel_std)
    )
    background = mean if fill == "mean" else torch.zeros(3, 1, 1)
    expected = []
    for mask in masks[is_shown]:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        window = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        crop = torch.where(mask, image.float(), background)[(slice(None), *window)]
        crop = F.interpolate(
            ((crop - mean) / std)[None], (16, 16), mode="bicubic", align_corners=True
        )
        expected.append(encoder.encode_image(crop)[0])
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_an_empty_mask_leaves_the_models_opinion(scene):
    encoder, image, masks = scene
    text = F.normalize(torch.randn(3, 16), dim=-1)
    query_probs = torch.rand(4, 3)
    found = ProposalEnsemble(MaskCrops(), 0.8)(encoder, image, masks, query_probs, text, VOCABULARY)
    exponents = torch.tensor([0.8, 1 - 0.8, 0.8])
    torch.testing.assert_close(found[1], query_probs[1] ** exponents)
    assert (found[0] - query_probs[0] ** exponents).abs().max() > 1e-4
    alone = ProposalEnsemble(MaskCrops(), 0.0)(encoder, image, masks, query_probs, text, VOCABULARY)
    torch.testing.assert_close(alone.sum(1), torch.tensor([1.0, 0.0, 1.0, 1.0]))


@torch.no_grad()
def test_under_objectness_no_object_is_heard_once_whoever_names_the_class(scene):
    """The ensemble of what each says of an object, times the probability of an object."""
    encoder, image, masks = scene
    text = F.normalize(torch.randn(3, 16), dim=-1)
    query_probs = torch.rand(4, 4).softmax(-1)[:, :-1]
    is_object = query_probs.sum(1, keepdim=True)
    inputs = (encoder, image, masks)
    found = ProposalEnsemble(MaskCrops(), 0.8, objectness=True)(
        *inputs, query_probs, text, VOCABULARY
    )
    named = ProposalEnsemble(MaskCrops(), 0.8)(*inputs, query_probs / is_object, text, VOCABULARY)
    torch.testing.assert_close(found, named * is_object)
    alone = ProposalEnsemble(MaskCrops(), 0.0, objectness=True)(
        *inputs, query_probs, text, VOCABULARY
    )
    is_shown = torch.tensor([1.0, 0.0, 1.0, 1.0])
    torch.testing.assert_close(alone.sum(1), is_object[:, 0] * is_shown)


@torch.no_grad()
def test_larger_crops_stay_in_the_image(scene):
    encoder, image, masks = scene
    large, _ = crop_features(encoder, image, masks, MaskCrops(expand_ratio=1.5))
    exact, _ = crop_features(encoder, image, masks, MaskCrops())
    assert torch.isfinite(large).all()
    torch.testing.assert_close(large[0], exact[0], atol=1e-4, rtol=1e-3)  # already the whole image
    assert (large[1] - exact[1]).abs().max() > 1e-4


def test_an_encoder_without_image_tower_is_named(scene):
    _, image, masks = scene
    with pytest.raises(TypeError, match="Module has no image tower"):
        ProposalEnsemble(MaskCrops(), 0.8)(
            torch.nn.Module(), image, masks, torch.rand(4, 3), torch.rand(3, 16), VOCABULARY
        )
