from __future__ import annotations

import pytest
import torch

from detectron2.layers import ShapeSpec
from freeseg.modeling import MSDeformAttnPixelDecoder, MultiScaleMaskedTransformerDecoder
from freeseg.modeling.decoder import DecoderSizes, MaskedQueryDecoder, mask_visibility
from freeseg.structures import ImageFeatures, QueryGroup, QuerySet

CHANNELS = 32
SIZES = [(2, 3), (4, 6), (8, 12)]
SHAPES = {
    "res2": ShapeSpec(channels=8, stride=4),
    "res3": ShapeSpec(channels=12, stride=8),
    "res4": ShapeSpec(channels=16, stride=16),
    "res5": ShapeSpec(channels=20, stride=32),
}


def build_decoder(cls=MaskedQueryDecoder, *, options=(), **extra):
    torch.manual_seed(0)
    sizes = DecoderSizes(
        in_channels=CHANNELS,
        channels=CHANNELS,
        mask_channels=16,
        num_heads=4,
        hidden_channels=48,
        num_layers=4,
        **dict.fromkeys(options, True),
    )
    return cls(sizes=sizes, **extra).eval()


def random_features(batch_size: int = 2, seed: int = 0) -> ImageFeatures:
    generator = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    levels = tuple(rand(batch_size, CHANNELS, *size) for size in SIZES)
    return ImageFeatures(levels, rand(batch_size, 16, 16, 24), (64, 96), ((64, 96),) * batch_size)


def object_group(num_queries: int = 5, batch_size: int = 2, name: str = "object", **fields):
    generator = torch.Generator().manual_seed(len(name))
    rand = lambda: torch.randn(batch_size, num_queries, CHANNELS, generator=generator)  # noqa: E731
    return QueryGroup(name, rand(), rand(), **fields)


class TestMaskVisibility:
    def test_inside_the_mask_only(self):
        logits = torch.full((1, 1, 4, 4), -1.0)
        logits[..., :2, :] = 1.0
        assert mask_visibility(logits, (2, 2))[0, 0].tolist() == [True, True, False, False]

    def test_an_empty_mask_looks_everywhere(self):
        assert mask_visibility(torch.full((1, 2, 4, 4), -1.0), (2, 2)).all()

    def test_no_gradient_passes(self):
        logits = torch.randn(1, 1, 4, 4, requires_grad=True)
        assert not mask_visibility(logits, (2, 2)).requires_grad


class TestMaskedQueryDecoder:
    def test_predictions_are_one_more_than_layers(self):
        output = build_decoder().decode(random_features(), QuerySet([object_group()]))
        assert len(output.layers) == 5
        assert output.final.queries.shape == (2, 5, CHANNELS)
        assert output.final.mask_logits.shape == (2, 5, 16, 24)

    def test_a_batch_of_two_equals_two_batches_of_one(self):
        decoder, features, group = build_decoder(), random_features(), object_group()
        both = decoder.decode(features, QuerySet([group])).final.mask_logits
        for i in range(2):
            part = ImageFeatures(
                tuple(level[i : i + 1] for level in features.levels),
                features.mask_features[i : i + 1],
                features.padded_size,
                features.image_sizes[:1],
            )
            own = QueryGroup("object", group.content[i : i + 1], group.position[i : i + 1])
            alone = decoder.decode(part, QuerySet([own])).final.mask_logits
            torch.testing.assert_close(both[i : i + 1], alone)

    def test_permuting_queries_permutes_masks(self):
        decoder, features, group = build_decoder(), random_features(), object_group()
        order = torch.tensor([3, 0, 4, 1, 2])
        shuffled = QueryGroup("object", group.content[:, order], group.position[:, order])
        masks = decoder.decode(features, QuerySet([group])).final.mask_logits
        permuted = decoder.decode(features, QuerySet([shuffled])).final.mask_logits
        torch.testing.assert_close(masks[:, order], permuted, atol=1e-4, rtol=1e-4)

    def test_a_group_nobody_reads_changes_nothing(self):
        decoder, features = build_decoder(), random_features()
        group = object_group(reads=("object",))
        alone = decoder.decode(features, QuerySet([group])).final.mask_logits
        queries = QuerySet([group, object_group(3, name="hidden", reads=("hidden",))])
        beside = decoder.decode(features, queries).final.mask_logits
        torch.testing.assert_close(queries.split(beside)["object"], alone, atol=1e-4, rtol=1e-4)

    def test_a_group_that_reads_no_image_ignores_it(self):
        decoder = build_decoder()
        blind = QuerySet([object_group(reads=("object",), reads_image=False)])
        one = decoder.decode(random_features(seed=0), blind).final.queries
        two = decoder.decode(random_features(seed=1), blind).final.queries
        torch.testing.assert_close(one, two)

    def test_wrong_number_of_levels(self):
        features = random_features()
        short = ImageFeatures(
            features.levels[:2], features.mask_features, (64, 96), ((64, 96),) * 2
        )
        with pytest.raises(ValueError, match="wanted 3 feature levels, got 2"):
            build_decoder().decode(short, QuerySet([object_group()]))

    def test_projection_only_where_widths_differ(self):
        assert not list(build_decoder().input_proj.parameters())
        forced = build_decoder(options=["enforce_input_projection"])
        assert [tuple(p.weight.shape) for p in forced.input_proj] == [(32, 32, 1, 1)] * 3

    def test_pre_norm_runs(self):
        output = build_decoder(options=["pre_norm"]).decode(
            random_features(), QuerySet([object_group()])
        )
        assert torch.isfinite(output.final.mask_logits).all()


def test_closed_set_decoder_classifies_every_layer():
    decoder = build_decoder(MultiScaleMaskedTransformerDecoder, num_queries=6, num_classes=7)
    predictions = decoder(random_features())
    assert [tuple(p.class_logits.shape) for p in predictions] == [(2, 6, 8)] * 5


class TestPixelDecoder:
    def build(self, **changes):
        torch.manual_seed(0)
        arguments = {
            "input_shape": SHAPES,
            "encoder_features": ("res3", "res4", "res5"),
            "channels": CHANNELS,
            "mask_channels": 16,
            "norm": "GN",
            "common_stride": 4,
            "encoder": {
                "hidden_channels": 48,
                "dropout": 0.0,
                "num_heads": 4,
                "num_layers": 2,
                "num_points": 3,
            },
        }
        return MSDeformAttnPixelDecoder(**{**arguments, **changes}).eval()

    def features(self, height: int = 64, width: int = 96):
        torch.manual_seed(1)
        return {
            name: torch.randn(2, spec.channels, height // spec.stride, width // spec.stride)
            for name, spec in SHAPES.items()
        }

    def test_gives_three_levels_coarse_to_fine_and_a_stride_4_embedding(self):
        mask_features, levels = self.build()(self.features())
        assert mask_features.shape == (2, 16, 16, 24)
        assert [tuple(level.shape[1:]) for level in levels] == [(32, *size) for size in SIZES]

    def test_two_top_down_steps(self):
        decoder = self.build(encoder_features=("res4", "res5"))
        mask_features, levels = decoder(self.features())
        assert mask_features.shape[-2:] == (16, 24)
        assert [level.shape[-2:] for level in levels] == SIZES
        assert hasattr(decoder, "adapter_2")

    def test_a_gap_in_the_pyramid_is_refused(self):
        shapes = {name: SHAPES[name] for name in ("res4", "res5")}
        with pytest.raises(ValueError, match="cannot reach stride 4 from 16"):
            self.build(input_shape=shapes, encoder_features=("res4", "res5"))

    def test_stays_in_float32_under_autocast(self):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mask_features, levels = self.build()(self.features())
        assert mask_features.dtype == levels[0].dtype == torch.float32


@pytest.mark.parametrize("num_queries", [1, 7])
def test_final_prediction_alone_equals_the_last_of_all(num_queries):
    decoder, features = build_decoder(), random_features()
    queries = QuerySet([object_group(num_queries)])
    with torch.no_grad():
        last = decoder.decode(features, queries).layers[-1]
        alone = decoder.decode_final(features, queries)
    torch.testing.assert_close(alone.queries, last.queries)
    torch.testing.assert_close(alone.mask_logits, last.mask_logits)
