"""Pretraining of a backbone on crops: it learns, and a model takes what it wrote."""

import pytest
import torch
from safetensors.torch import load_file

from freeseg.data.shapes.crops import cut_crops
from freeseg.data.shapes.vocabulary import UNSEEN, categories
from freeseg.engine.classification import (
    KEY,
    ClassificationSettings,
    classification_accuracy,
    pretrain_classifier,
    save_backbone,
)
from freeseg.modeling.backbone import TimmBackbone

GREY = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def crops():
    return cut_crops(12, seed=1, side=32, fill=GREY, exact=True, without=UNSEEN)


def test_no_crop_is_of_a_class_left_out(crops):
    names = [categories()[number].name for number in crops.classes.tolist()]
    assert not set(names) & set(UNSEEN)
    everything = cut_crops(12, seed=1, side=32, fill=GREY, exact=True)
    assert set(UNSEEN) & {categories()[number].name for number in everything.classes.tolist()}


def test_a_backbone_takes_the_weights_of_the_classifier(crops, tmp_path):
    settings = ClassificationSettings(steps=2, crops=8, warmup=1)
    model = pretrain_classifier("regnetx_002", crops, settings)
    save_backbone("regnetx_002", model, tmp_path / "backbone.safetensors", "two steps")
    state = load_file(tmp_path / "backbone.safetensors")
    backbone = TimmBackbone(name="regnetx_002", out_features=["res2", "res5"])
    names = {KEY + name.partition("body.")[2] for name in backbone.state_dict()}
    assert set(state) == names
    own = {key[len(KEY) :]: value for key, value in state.items()}
    backbone.body.load_state_dict(own)
    images = torch.rand(1, 3, 64, 64)
    expected = model.eval().forward_features(images)  # the deepest map
    found = backbone.eval()(images)["res5"]
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)  # half precision


def test_the_same_seed_gives_the_same_model(crops):
    settings = ClassificationSettings(steps=2, crops=8, warmup=1, seed=5)
    first, second = (pretrain_classifier("regnetx_002", crops, settings) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters()):
        assert torch.equal(one, other)


def test_accuracy_counts_what_is_named_right(crops):
    class Oracle(torch.nn.Module):
        def forward(self, pictures):
            logits = torch.zeros(len(pictures), 53)
            logits[:, crops.classes[0]] = 1
            return logits

    share = (crops.classes == crops.classes[0]).float().mean().item()
    assert classification_accuracy(Oracle(), crops) == pytest.approx(100 * share, abs=1e-4)
