"""LSeg's head against a direct computation of its pixel embeddings."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from detectron2.layers import ShapeSpec
from freeseg.structures import Vocabulary
from freeseg.systems.lseg.head import LSegHead
from freeseg.systems.lseg.regularisation import SpatialRegularisation, build_regularisation

SCALE = 1 / 0.07
NOTHING = {"kind": "none", "depth": 0, "activation": "lrelu"}
SHAPE = {f"res{level}": ShapeSpec(channels=2 + level, stride=2**level) for level in (2, 3, 4, 5)}


def head(width=24, channels=6, regularisation=NOTHING):
    torch.manual_seed(0)
    return LSegHead(
        input_shape=SHAPE,
        channels=channels,
        embedding_channels=width,
        norm="BN",
        logit_scale=SCALE,
        regularisation=regularisation,
    ).eval()


def maps(batch=2):
    torch.manual_seed(1)
    return {
        name: torch.randn(batch, each.channels, 128 // each.stride, 64 // each.stride)
        for name, each in SHAPE.items()
    }


def texts(count, width=24):
    torch.manual_seed(2)
    return F.normalize(torch.randn(count, width), dim=-1)


def names(count):
    return Vocabulary(tuple(f"label {row}" for row in range(count)), (False,) * count)


def directly(model, features, text):
    """As the paper writes it: fuse, double, embed, normalise, multiply."""
    x = None
    for level in (4, 3, 2, 1):
        block = getattr(model, f"refinenet{level}")
        fine = getattr(model, f"layer{level}_rn")(list(features.values())[level - 1])
        x = fine if x is None else x + block.resConfUnit1(fine)
        x = block.resConfUnit2(x)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        x = block.out_conv(x)
    embedding = F.normalize(model.head1(x), dim=1)
    return SCALE * torch.einsum("bdhw,td->bthw", embedding, text)


@pytest.mark.parametrize(("width", "channels"), [(24, 6), (5, 6), (6, 6), (7, 6)])
def test_logits_are_scaled_cosines_of_embedded_pixels(width, channels):
    model, text = head(width, channels), texts(3, width)
    encoded = model.encode_image(maps(), (128, 64), [(128, 64)] * 2)
    found = model(encoded, text, names(3))
    assert found.shape == (2, 3, 64, 32)
    torch.testing.assert_close(found, directly(model, maps(), text), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [24, 5])
def test_gradients_are_those_of_the_direct_computation(width):
    grads = []
    for compute in (
        lambda model: model(
            model.encode_image(maps(), (128, 64), [(128, 64)] * 2), texts(3, width), names(3)
        ),
        lambda model: directly(model, maps(), texts(3, width)),
    ):
        model = head(width)
        (compute(model) * torch.linspace(-1, 1, 64 * 32).reshape(64, 32)).mean().backward()
        grads.append({name: each.grad for name, each in model.named_parameters()})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        if grad is None:
            assert name.startswith("refinenet4.resConfUnit1")
            continue
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-3, atol=1e-5)


def test_a_class_is_as_likely_as_the_best_of_its_texts():
    model, text = head(), texts(3)
    encoded = model.encode_image(maps(), (128, 64), [(128, 64)] * 2)
    alone = model(encoded, text, names(3))
    vocabulary = Vocabulary(("car", "sky"), (True, False), synonyms=(("car", "auto"), ("sky",)))
    merged = model(encoded, text, vocabulary)
    torch.testing.assert_close(merged[:, 0], alone[:, :2].amax(1))
    torch.testing.assert_close(merged[:, 1], alone[:, 2])


@pytest.mark.parametrize("kind", ["none", "bottleneck", "depthwise"])
def test_permuting_labels_permutes_logits(kind):
    model = head(regularisation={"kind": kind, "depth": 3, "activation": "tanh"})
    encoded, order = model.encode_image(maps(), (128, 64), [(128, 64)] * 2), [2, 0, 1]
    found = model(encoded, texts(3), names(3))
    permuted = model(encoded, texts(3)[order], names(3))
    torch.testing.assert_close(permuted, found[:, order])


@pytest.mark.parametrize("kind", ["bottleneck", "depthwise"])
@pytest.mark.parametrize(("activation", "function"), [("relu", F.relu), ("tanh", torch.tanh)])
def test_regularisation_is_one_filter_for_all_labels(kind, activation, function):
    block = SpatialRegularisation(kind=kind, depth=2, activation=activation)
    filtered = block.depthwise["depthwise"]
    x = torch.randn(2, 3, 5, 6)

    def once(maps, last):
        found = torch.stack(
            [filtered(maps[:, [label]])[:, 0] for label in range(maps.shape[1])], dim=1
        )
        if kind == "bottleneck":
            found = found + maps.max(1, keepdim=True).values
        return found if last else function(found)

    torch.testing.assert_close(block(x), once(once(x, False), True))
    assert sum(each.numel() for each in block.parameters()) == 10


def test_a_regularisation_of_no_depth_is_none():
    assert build_regularisation(**NOTHING) is None
    assert build_regularisation(kind="bottleneck", depth=0, activation="lrelu") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "conv"}, "none, bottleneck, depthwise"),
        ({"activation": "gelu"}, "relu, lrelu, tanh"),
        ({"depth": -1}, "at least 1"),
    ],
)
def test_unknown_regularisations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build_regularisation(**{"kind": "bottleneck", "depth": 2, "activation": "relu", **changes})


def test_parameters_without_a_gradient_are_frozen():
    model = head().train()
    encoded = model.encode_image(maps(), (128, 64), [(128, 64)] * 2)
    model(encoded, texts(3), names(3)).square().mean().backward()
    unused = {name for name, each in model.named_parameters() if each.grad is None}
    frozen = {name for name, each in model.named_parameters() if not each.requires_grad}
    assert unused == frozen == {name for name in frozen if "refinenet4.resConfUnit1" in name}
    assert frozen


def test_four_maps_are_needed():
    with pytest.raises(ValueError, match="four maps"):
        LSegHead(
            input_shape={"res2": SHAPE["res2"]},
            channels=4,
            embedding_channels=4,
            norm="BN",
            logit_scale=1.0,
            regularisation=NOTHING,
        )
