"""Registries, SemanticSegmentor with the FPN head, test-time augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from detectron2 import modeling
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import (
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    Backbone,
    DatasetMapperTTA,
    SemanticSegmentor,
    build_model,
    build_sem_seg_head,
)
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead


class Pixels(Backbone):
    """Gives the image back, averaged over 2x2 and over 4x4 pixels."""

    def output_shape(self):
        return {"fine": ShapeSpec(channels=3, stride=2), "coarse": ShapeSpec(channels=3, stride=4)}

    @property
    def size_divisibility(self):
        return 8

    def forward(self, x):
        assert x.shape[2] % 8 == 0
        assert x.shape[3] % 8 == 0
        return {"fine": F.avg_pool2d(x, 2), "coarse": F.avg_pool2d(x, 4)}


class FirstFeature(nn.Module):
    ignore_value = 255

    def forward(self, features, targets=None):
        if self.training:
            return None, {"ignored": (targets == 255).sum()}
        return F.interpolate(features["fine"], scale_factor=2), {}


def segmentor():
    return SemanticSegmentor(
        backbone=Pixels(), sem_seg_head=FirstFeature(), pixel_mean=[1.0, 2, 3], pixel_std=[2.0] * 3
    ).eval()


def test_images_are_normalised_padded_and_cut_again():
    image = torch.tensor([5.0, 6, 7]).view(3, 1, 1).expand(3, 12, 20)
    results = segmentor()([{"image": image, "height": 24, "width": 10}, {"image": image[:, :8]}])
    assert results[0]["sem_seg"].shape == (3, 24, 10)
    assert results[1]["sem_seg"].shape == (3, 8, 20)
    torch.testing.assert_close(results[0]["sem_seg"], torch.full((3, 24, 10), 2.0))


def test_padding_of_labels_is_ignored_in_training():
    inputs = [
        {"image": torch.zeros(3, 8, 16), "sem_seg": torch.zeros(8, 16, dtype=torch.long)},
        {"image": torch.zeros(3, 5, 11), "sem_seg": torch.zeros(5, 11, dtype=torch.long)},
    ]
    losses = segmentor().train()(inputs)
    assert losses["ignored"] == 8 * 16 - 5 * 11


def test_segmentor_holds_no_pixel_statistics_in_its_weights():
    assert list(segmentor().state_dict()) == []


def fpn_head(**kwargs):
    options = {"num_classes": 4, "conv_dims": 6, "common_stride": 2, "norm": ""}
    return SemSegFPNHead(Pixels().output_shape(), **{**options, **kwargs})


def test_fpn_head_names_and_sizes():
    head = fpn_head()
    expected = [f"{m}.{k}" for m in ("fine.0", "coarse.0", "predictor") for k in ("weight", "bias")]
    assert list(head.state_dict()) == expected
    features = Pixels()(torch.rand(1, 3, 16, 24))
    head.eval()
    logits, losses = head(features)
    assert logits.shape == (1, 4, 16, 24)
    assert losses == {}


def test_fpn_head_sums_its_levels():
    head = fpn_head().eval()
    features = Pixels()(torch.rand(1, 3, 16, 24))
    with torch.no_grad():
        fine = head.fine(features["fine"])
        coarse = F.interpolate(
            F.relu(F.conv2d(features["coarse"], head.coarse[0].weight, head.coarse[0].bias, 1, 1)),
            scale_factor=2,
            mode="bilinear",
            align_corners=False,
        )
        expected = head.predictor(fine + coarse)
        torch.testing.assert_close(head.layers(features), expected)


def test_fpn_head_loss_is_the_cross_entropy_at_full_size():
    head = fpn_head(loss_weight=3.0, ignore_value=9)
    features = Pixels()(torch.rand(1, 3, 16, 24))
    labels = torch.randint(0, 4, (1, 16, 24))
    labels[:, :4] = 9
    _, losses = head(features, labels)
    head.eval()
    logits, _ = head(features)
    kept = labels != 9
    by_hand = -F.log_softmax(logits, 1).gather(1, labels.where(kept, 0)[:, None])[:, 0][kept].mean()
    torch.testing.assert_close(losses["loss_sem_seg"], 3 * by_hand)


def test_fpn_head_needs_features():
    with pytest.raises(ValueError, match="SemSegFPNHead"):
        SemSegFPNHead({}, num_classes=1, conv_dims=1, common_stride=4)


def test_head_and_model_are_found_by_name():
    @SEM_SEG_HEADS_REGISTRY.register()
    class HeadOfThisTest(nn.Module):
        def __init__(self, cfg, input_shape):
            super().__init__()
            self.shape = input_shape

    @META_ARCH_REGISTRY.register()
    class ModelOfThisTest(nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.head = build_sem_seg_head(cfg, {"a": ShapeSpec(channels=1)})
            self.weight = nn.Parameter(torch.zeros(1))

    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "ModelOfThisTest"
    cfg.MODEL.SEM_SEG_HEAD.NAME = "HeadOfThisTest"
    model = build_model(cfg)
    assert isinstance(model, ModelOfThisTest)
    assert model.head.shape == {"a": ShapeSpec(channels=1)}
    assert model.weight.device.type == "cpu"
    cfg.MODEL.META_ARCHITECTURE = "NoModel"
    with pytest.raises(KeyError, match="NoModel"):
        build_model(cfg)


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        ("BACKBONE_REGISTRY", "build_resnet_backbone"),
        ("META_ARCH_REGISTRY", "SemanticSegmentor"),
        ("SEM_SEG_HEADS_REGISTRY", "SemSegFPNHead"),
    ],
)
def test_registries_know_upstreams_names(registry, name):
    assert name in getattr(modeling, registry)


def test_test_time_augmentation_makes_all_sizes_with_and_without_flip():
    mapper = DatasetMapperTTA(min_sizes=[20, 30], max_size=1000, flip=True)
    image = torch.randint(0, 255, (3, 20, 40), dtype=torch.uint8)
    outputs = mapper({"image": image, "height": 40, "width": 80, "name": "x"})
    sizes = [tuple(o["image"].shape[1:]) for o in outputs]
    assert sizes == [(20, 40), (20, 40), (30, 60), (30, 60)]
    assert torch.equal(outputs[0]["image"], image)
    assert torch.equal(outputs[1]["image"], image.flip(2))
    # The transforms lead from the original image, which is twice as large.
    corner = np.array([[80.0, 40.0]])
    assert outputs[0]["transforms"].apply_coords(corner.copy()).tolist() == [[40, 20]]
    assert outputs[1]["transforms"].apply_coords(corner.copy()).tolist() == [[0, 20]]


def test_test_time_augmentation_from_config():
    mapper = DatasetMapperTTA(get_cfg())
    assert (mapper.min_sizes, mapper.max_size, mapper.flip) == (
        (400, 500, 600, 700, 800, 900, 1000, 1100, 1200),
        4000,
        True,
    )
