"""What a decoder makes of padding, of tokens taken anew and of guides."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freeseg.layers import SelfAttentionLayer
from freeseg.modeling.decoder import DecoderSizes, MaskedQueryDecoder
from freeseg.structures import ImageFeatures, QueryGroup, QuerySet, TokenGroup

sys.path.insert(0, str(Path(__file__).parent))
from test_decoder import CHANNELS, build_decoder, object_group, random_features


def one_image(features: ImageFeatures, index: int) -> ImageFeatures:
    rows = slice(index, index + 1)
    levels = tuple(level[rows] for level in features.levels)
    return replace(
        features,
        levels=levels,
        mask_features=features.mask_features[rows],
        frames=features.frames[:1],
    )


def tokens_of(lengths, seed: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, length, CHANNELS, generator=generator) for length in lengths)


@pytest.mark.parametrize("decode", ["decode", "decode_final"])
def test_images_with_unlike_numbers_of_queries_are_those_alone(decode):
    """One has 5 prompts and 3 words, one has 2 and 1; rows beyond hold whatever."""
    decoder, features = build_decoder(), random_features()
    group, levels = object_group(5), tokens_of((3, 3, 3))
    padding = torch.arange(5)[None] >= torch.tensor([[5], [2]])
    token_padding = (torch.arange(3)[None] >= torch.tensor([[3], [1]]),) * 3
    owners = torch.tensor([[0, 0, 1, 1, 2], [1, 0, 0, 0, 0]])
    token_owners = (torch.tensor([[0, 1, 2], [1, 1, 1]]),) * 3
    queries = QuerySet(
        [replace(group, padding=padding, owners=owners)],
        [TokenGroup("words", levels, owners=token_owners, padding=token_padding)],
    )
    found = getattr(decoder, decode)(features, queries)
    together = (found.final if decode == "decode" else found).mask_logits
    assert together.isfinite().all()
    for index, (count, num_tokens) in enumerate(((5, 3), (2, 1))):
        rows = slice(index, index + 1)
        own = QueryGroup(
            "object",
            group.content[rows, :count],
            group.position[rows, :count],
            owners=owners[index, :count],
        )
        words = TokenGroup(
            "words",
            tuple(level[rows, :num_tokens] for level in levels),
            owners=tuple(part[index, :num_tokens] for part in token_owners),
        )
        alone = getattr(decoder, decode)(one_image(features, index), QuerySet([own], [words]))
        alone = (alone.final if decode == "decode" else alone).mask_logits
        torch.testing.assert_close(together[rows, :count], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_tokens_of_a_level_are_seen_by_its_layers_alone(level):
    decoder, features = build_decoder(), random_features()  # layers read levels 0, 1, 2, 0
    levels = tokens_of((4, 2, 3))
    changed = list(levels)
    changed[level] = changed[level].flip(2)
    one, other = (
        decoder.decode(features, QuerySet([object_group()], [TokenGroup("marks", tuple(given))]))
        for given in (levels, changed)
    )
    differs = [
        not torch.equal(a.queries, b.queries) for a, b in zip(one.layers, other.layers)
    ]  # before the first layer, and after each
    assert differs == [index > level for index in range(5)]


def test_tokens_that_no_group_reads_change_nothing():
    decoder, features = build_decoder(), random_features()
    group = object_group()
    blind = replace(group, reads=("object",))
    without = decoder.decode_final(features, QuerySet([group])).mask_logits
    unread = QuerySet([blind], [TokenGroup("marks", tokens_of((4, 2, 3)))])
    torch.testing.assert_close(decoder.decode_final(features, unread).mask_logits, without)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_self_attention_beside_tokens_is_pytorch_s_over_both(pre_norm):
    torch.manual_seed(0)
    layer = SelfAttentionLayer(channels=12, num_heads=3, pre_norm=pre_norm)
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.load_state_dict(layer.self_attn.state_dict())
    content, position, tokens = torch.randn(3, 2, 5, 12).split([1, 1, 1])
    content, position, tokens = content[0], position[0], tokens[0, :, :4]
    visible = torch.rand(2, 5, 9) > 0.4
    visible[..., 0] = True
    x = layer.norm(content) if pre_norm else content
    keys = torch.cat([x + position, tokens + tokens], 1)
    values = torch.cat([x, tokens], 1)
    attended = (
        content
        + theirs(x + position, keys, values, attn_mask=~visible.repeat_interleave(3, dim=0))[0]
    )
    expected = attended if pre_norm else layer.norm(attended)
    torch.testing.assert_close(layer(content, position, visible, tokens), expected)


def one_layer() -> MaskedQueryDecoder:
    torch.manual_seed(0)
    sizes = DecoderSizes(CHANNELS, CHANNELS, 16, num_heads=4, hidden_channels=48, num_layers=1)
    return MaskedQueryDecoder(sizes).eval()


def test_a_guide_is_looked_into_instead_of_one_s_own_mask():
    """Guided by what it predicts itself a group does as without; by another mask it does not."""
    decoder, features = one_layer(), random_features()
    before, memory = object_group(), object_group(3, name="memory")
    plain = decoder.decode(features, QuerySet([before, memory]))
    own = plain.layers[0].mask_logits[:, 5:]
    for guide, is_same in ((own, True), (own.roll(1, dims=1), False)):
        guided = QuerySet([before, replace(memory, guide=guide)])
        found = decoder.decode(features, guided)
        assert torch.equal(found.final.queries, plain.final.queries) == is_same
    everywhere = replace(memory, guide=torch.full((2, 3, 4, 4), -9.0))  # empty: looks everywhere
    whole = replace(memory, guide=torch.full((2, 3, 4, 4), 9.0))
    torch.testing.assert_close(
        decoder.decode(features, QuerySet([everywhere, before])).final.mask_logits,
        decoder.decode(features, QuerySet([whole, before])).final.mask_logits,
    )
