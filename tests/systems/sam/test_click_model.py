"""The small SAM: a backbone's maps, prompts that are drawn, and weights that it begins with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from freeseg import Segmenter, build_model
from freeseg.checkpoints import KEY_MAPS, StrictCheckpointer, detect_system, read_checkpoint
from freeseg.config import add_freeseg_config
from freeseg.structures import EverythingSettings
from freeseg.systems.sam.mask_decoder import NEIGHBOURS, Neighbourhood
from freeseg.systems.sam.prompt_encoder import REACH, PromptEncoder, drawn_maps
from freeseg.systems.sam.prompts import NO_POINT, PADDING, PointPrompts
from freeseg.systems.sam.pyramid_encoder import PyramidEncoder

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import CONFIGS
from tiny_systems import tiny_click, tiny_click_config

SIDE = 128


@pytest.fixture(scope="module")
def model():
    return tiny_click(3)


@pytest.fixture(scope="module")
def session(model):
    photo = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return Segmenter(model).open(photo)


def prompts(points, labels, boxes=None, logits=None):
    points = torch.tensor(points, dtype=torch.float32)
    boxes = torch.full((len(points), 4), torch.nan) if boxes is None else torch.tensor(boxes)
    return PointPrompts.of_marks(points, torch.tensor(labels), boxes, logits)


@torch.inference_mode()
def test_maps_have_the_strides_of_sam(model):
    features = model.encode(model.prepare([torch.zeros(3, 96, 128)]))
    assert [tuple(each.shape) for each in features.maps] == [
        (1, 32, 8, 8),
        (1, 8, 16, 16),
        (1, 4, 32, 32),
    ]
    found = model.decode(features, [0, 0], prompts([[[5, 5]], [[90, 40]]], [[1], [1]]))
    assert found.mask_logits.shape == (2, 4, 32, 32)


class Maps(Backbone):
    """Random maps by their strides; those of `changed` are of another seed."""

    def __init__(self, strides):
        super().__init__()
        self.strides = strides
        self.changed = ()

    def forward(self, images):
        found = {}
        for name, spec in self.output_shape().items():
            generator = torch.Generator().manual_seed(len(name) + (name in self.changed))
            side = images.shape[-1] // spec.stride
            found[name] = torch.randn(1, 3, side, side, generator=generator)
        return found

    def output_shape(self):
        return {f"res{n}": ShapeSpec(channels=3, stride=s) for n, s in enumerate(self.strides, 2)}


def test_details_of_other_strides_are_refused():
    with pytest.raises(ValueError, match=r"details .* have strides \[4, 4\], wanted \[8, 4\]"):
        PyramidEncoder(
            backbone=Maps([4, 4, 16]), coarse=["res4"], details=["res3", "res2"], out_channels=8
        )


@pytest.mark.parametrize("top_down", [False, True])
def test_details_have_coarser_maps_in_them_where_they_are_carried_down(top_down):
    torch.manual_seed(0)
    backbone = Maps([4, 8, 16, 32])
    encoder = PyramidEncoder(
        backbone=backbone,
        coarse=["res4", "res5"],
        details=["res3", "res2"],
        out_channels=16,
        top_down=top_down,
    ).eval()
    images = torch.zeros(1, 3, 64, 64)
    before = encoder(images)
    assert [tuple(each.shape) for each in before] == [(1, 16, 4, 4), (1, 4, 8, 8), (1, 2, 16, 16)]
    moved = {}
    for name in ("res2", "res3", "res5"):
        backbone.changed = (name,)
        after = encoder(images)
        moved[name] = [not torch.equal(one, other) for one, other in zip(before, after)]
    assert moved == {
        "res2": [False, False, True],
        "res3": [False, True, top_down],
        "res5": [True, top_down, top_down],
    }


def test_points_fade_and_boxes_and_masks_are_filled():
    logits = torch.full((2, 1, 32, 32), -2.0)
    said = prompts(
        [[[66.0, 34.0], [10.0, 10.0]], [[0.0, 0.0], [0.0, 0.0]]],
        [[1, 0], [PADDING, PADDING]],
        [[torch.nan] * 4, [16.0, 32.0, 48.0, 96.0]],
        logits,
    )
    off, on, box, mask = drawn_maps(said, (32, 32), SIDE).unbind(1)
    assert on[0].argmax() == 8 * 32 + 16  # the cell around (66, 34)
    assert on[0, 8, 16].item() == pytest.approx(1.0)
    assert on[0, 8, 18].item() == pytest.approx(np.exp(-8 / (REACH * SIDE)), rel=1e-5)
    assert off[0].argmax() == 2 * 32 + 2
    assert not box[0].any()
    assert not off[1].any()
    assert not on[1].any()
    inside = torch.zeros(32, 32)
    inside[8:24, 4:12] = 1
    assert torch.equal(box[1], inside)
    torch.testing.assert_close(mask, torch.full((2, 32, 32), 1 / (1 + np.exp(2.0))).float())


def test_an_object_without_a_mask_draws_none():
    logits = torch.zeros(2, 1, 32, 32)
    logits[1] = torch.nan
    said = prompts([[[5, 5]], [[5, 5]]], [[1], [1]], logits=logits)
    said = PointPrompts(said.points, said.labels, logits, torch.tensor([True, False]))
    mask = drawn_maps(said, (32, 32), SIDE)[:, 3]
    assert mask[0].eq(0.5).all()
    assert not mask[1].any()


def test_points_say_what_lies_under_them():
    torch.manual_seed(0)
    encoder = PromptEncoder(channels=8, content_channels=3)
    columns = torch.arange(8.0).expand(1, 3, 8, 8)
    points = torch.tensor([[[4.0, 60.0], [60.0, 4.0]]])
    at = {}
    for label in (0, 1, 2, NO_POINT):
        labels = torch.full((1, 2), label)
        with_map = encoder.embed_points(points, labels, 64, [columns])
        without = encoder.embed_points(points, labels, 64, [torch.zeros_like(columns)])
        at[label] = with_map - without
    assert not at[2].any()
    assert not at[NO_POINT].any()
    weight = encoder.content.weight.sum(1)
    for place, column in enumerate((0.0, 7.0)):
        for label in (0, 1):
            torch.testing.assert_close(at[label][0, place], weight * column, atol=1e-5, rtol=1e-5)
    shared = encoder.embed_points(points.expand(3, -1, -1), torch.ones(3, 2).long(), 64, [columns])
    alone = encoder.embed_points(points, torch.ones(1, 2).long(), 64, [columns])
    torch.testing.assert_close(shared, alone.expand(3, -1, -1))


def test_neighbours_change_nothing(session):
    many = session(points=[[(20, 30), (60, 11)], [(70, 50)]], signs=[[1, 0], [1]])
    alone = session(points=[(70, 50)])
    second = many.objects.owners == 1
    torch.testing.assert_close(
        many.objects.qualities[second], alone.objects.qualities, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("many", [3, 0], ids=["three", "one"])
def test_everything_is_what_each_click_finds(model, session, monkeypatch, many):
    monkeypatch.setattr(model.mask_decoder, "many_prompts", many)
    grid = [(0.25, 0.5), (0.75, 0.25)]
    found = session.everything(
        point_grids=[grid], min_quality=-10.0, min_stability=0.0, max_overlap=1.0
    )
    assert len(found.objects) > 0
    points = [[[128 * x, 96 * y]] for x, y in grid]
    each = session(points=points)
    wanted = {round(float(quality), 4) for quality in each.objects.qualities}
    assert len(wanted) == len(grid) * (3 if many else 1)
    assert {round(float(quality), 4) for quality in found.objects.qualities} <= wanted


def test_a_model_says_how_it_looks_for_everything():
    cfg = tiny_click_config()
    node = cfg.MODEL.SAM.EVERYTHING
    node.POINTS_PER_SIDE, node.MIN_QUALITY, node.MIN_STABILITY = 3, -10.0, 0.0
    node.STABILITY_MARGIN, node.MAX_OVERLAP = 0.5, 0.4
    model = build_model(cfg).eval()
    own = EverythingSettings(
        points_per_side=3,
        min_quality=-10.0,
        min_stability=0.0,
        stability_margin=0.5,
        max_overlap=0.4,
    )
    assert model.everything_settings == own
    session = Segmenter(model).open(np.zeros((96, 128, 3), dtype=np.uint8))
    found, expected = session.everything(), session.everything(own)
    assert len(found.objects) > 0
    assert np.array_equal(found.objects.qualities, expected.objects.qualities)
    assert len(session.everything(min_quality=10.0).objects) == 0


def published_names(counts):
    """Names of an EfficientNet-Lite's tensors in their order, by its stages' numbers of blocks."""
    norm = ("weight", "bias", "running_mean", "running_var")

    def layers(block, pairs):
        for convolution, batch_norm in pairs:
            yield f"{block}{convolution}.weight"
            yield from (f"{block}{batch_norm}.{kind}" for kind in norm)

    yield from layers("", [("_conv_stem", "_bn0")])
    for number in range(sum(counts)):
        later = [("_expand_conv", "_bn0")] if number else []
        pairs = [*later, ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        yield from layers(f"_blocks.{number}.", pairs)


@pytest.mark.parametrize(
    ("name", "counts"), [("lite0", (1, 2, 2, 3, 3, 4, 1)), ("lite1", (1, 3, 3, 4, 4, 5, 1))]
)
def test_imagenet_weights_of_the_packages_are_timms(name, counts):
    body = timm.create_model(f"tf_efficientnet_{name}", features_only=True)
    ours = [key for key in body.state_dict() if not key.endswith("num_batches_tracked")]
    theirs = list(published_names(counts))
    classifier = ["_conv_head.weight", "_bn1.weight", "_bn1.running_mean", "_fc.weight"]
    state = {key: torch.tensor(number) for number, key in enumerate(theirs)}
    state.update({key: torch.tensor(-1) for key in (*classifier, "_bn0.num_batches_tracked")})
    assert detect_system(state) == "efficientnet-lite"
    converted = KEY_MAPS["efficientnet-lite"].convert(state).state
    by_number = sorted(converted, key=lambda key: int(converted[key]))
    assert by_number == [f"image_encoder.backbone.body.{key}" for key in ours]


def test_other_efficientnets_are_refused_by_their_blocks():
    state = {f"_blocks.{n}._bn1.weight": torch.zeros(1) for n in range(5)}
    with pytest.raises(ValueError, match="have 16 or 21 blocks, these are 5"):
        KEY_MAPS["efficientnet-lite"].convert(state)


def configuration(name):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "sam" / name))
    return cfg


def test_the_small_one_of_shapes_begins_with_a_mask2formers_backbone():
    cfg = configuration("shapes.yaml")
    model = build_model(cfg)
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(cfg.MODEL.WEIGHTS)
    assert checkpointer.unused == []
    assert not any(".backbone." in name for name in checkpointer.missing)
    stored = read_checkpoint(CONFIGS.parent / "weights/shapes_regnetx_002.safetensors")
    body = model.image_encoder.backbone.body.state_dict()
    assert all(torch.equal(body[key], stored[f"backbone.body.{key}"].float()) for key in body)
    assert model.size_divisibility == cfg.INPUT.TEST_RESIZE.LONG_SIDE == 128


def test_the_configuration_builds_what_it_says():
    cfg = configuration("click.yaml")
    model = build_model(cfg)
    count = sum(each.numel() for each in model.state_dict().values())
    assert 2 * count < 15e6  # bytes in half precision
    assert model.size_divisibility == cfg.INPUT.TEST_RESIZE.LONG_SIDE == 512


def test_pixels_are_told_about_their_neighbours_alone_and_in_the_beginning_nothing():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 8, 20, 20, generator=generator, requires_grad=True)
    layer = Neighbourhood(8)
    assert torch.equal(layer(maps), maps)
    torch.nn.init.normal_(layer.across.weight, generator=generator)
    layer(maps)[0, :, 10, 10].sum().backward()
    reached = torch.nonzero(maps.grad.abs().sum(1))
    half = NEIGHBOURS // 2
    assert reached.amin(0).tolist() == [0, 10 - half, 10 - half]
    assert reached.amax(0).tolist() == [0, 10 + half, 10 + half]


def test_masks_are_made_of_mixed_pixels_at_every_stride(model):
    prompt = prompts([[[60, 50]]], [[1]])
    with torch.inference_mode():
        features = model.encode(model.prepare([torch.rand(3, 96, 128) * 255]))
        found = model.decode(features, [0], prompt).mask_logits
        for layer in model.mask_decoder.mixing:
            told = layer.across.bias.clone()
            layer.across.bias += 1.0
            assert (model.decode(features, [0], prompt).mask_logits - found).abs().max() > 1e-3
            layer.across.bias.copy_(told)
