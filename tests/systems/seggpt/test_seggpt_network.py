"""Gradients of attention against the formula written out, and the laws of the network."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from freeseg.systems.seggpt.attention import CanvasAttention, Halves
from freeseg.systems.seggpt.network import Block, PaintingNetwork, PaintingSizes, mean_edge

WIDTH, HEADS = 12, 3
SIZES = PaintingSizes(
    side=16,
    patch=4,
    width=WIDTH,
    depth=5,
    num_heads=HEADS,
    pretrain_grid=3,
    merge_block=1,
    taps=(2, 4),
    decoder_width=3,
    drop_path=0.0,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stirred(module):
    """In double precision, with weights that all count."""
    module = module.double()
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            weight.add_(noise(*weight.shape, seed=number) * 0.3)
    return module


def halves(groups, uppers, lowers, height, width):
    return Halves(
        noise(groups, uppers, height, width, WIDTH, seed=1),
        noise(groups, lowers, height, width, WIDTH, seed=2),
    )


def by_hand(module, canvas):
    """What the tokens of one canvas [H, w, C] take, by a map of all pairs and its sums in loops."""
    height, width, channels = canvas.shape
    size = channels // module.num_heads
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    queries, keys, values = module.qkv(canvas.flatten(0, 1)).chunk(3, dim=-1)
    heads = []
    for head in range(module.num_heads):
        part = slice(head * size, (head + 1) * size)
        q, k, v = queries[:, part], keys[:, part], values[:, part]
        logits = q @ k.mT / math.sqrt(size)
        for token in range(len(q)):
            of_rows = module.rel_pos_h[rows[token] - rows + height - 1]  # [L, d]
            of_columns = module.rel_pos_w[columns[token] - columns + width - 1]
            logits[token] += (of_rows + of_columns) @ q[token]
        heads.append(logits.softmax(-1) @ v)
    return module.proj(torch.cat(heads, dim=-1)).view(height, width, channels)


def expected(module, tokens, is_mean):
    """Halves of all canvases, each computed by itself."""
    height = tokens.upper.shape[2]
    whole = torch.stack(
        [torch.stack([by_hand(module, each) for each in group]) for group in tokens.rows()]
    )
    upper, lower = whole[:, :, :height], whole[:, :, height:]
    return upper, lower.mean(1, keepdim=True) if is_mean else lower


def test_gradients_are_those_of_the_formula():
    module = stirred(CanvasAttention(6, 2, (4, 3), bias=True))
    upper = noise(1, 2, 2, 3, 6, seed=1).requires_grad_()
    lower = noise(1, 1, 2, 3, 6, seed=2).requires_grad_()
    learned = [upper, lower, *module.parameters()]
    weights = [noise(*half.shape, seed=3) for half in (upper, lower)]

    def gradients(found):
        total = sum((weight * half).sum() for weight, half in zip(weights, found))
        return torch.autograd.grad(total, learned)

    tokens = Halves(upper, lower)
    found = gradients(module(tokens, is_mean=True, upper_rows=2))
    for one, other in zip(found, gradients(expected(module, tokens, is_mean=True))):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
        assert other.abs().max() > 0


# the network


@pytest.mark.parametrize("rows", [1, 2])
def test_last_rows_of_a_block_are_those_of_all(rows):
    block = stirred(Block(SIZES, 0.0))
    for uppers in (1, 3):
        tokens = halves(2, uppers, 1, 4, 4)
        whole, part = block(tokens, True), block(tokens, True, rows)
        assert part.upper.shape[2] == rows
        torch.testing.assert_close(part.upper, whole.upper[:, :, -rows:])
        torch.testing.assert_close(part.lower, whole.lower)


def network(**changes):
    torch.manual_seed(0)
    return stirred(PaintingNetwork(replace(SIZES, **changes))).eval()


def painted_apart(model, photos, targets, queries, kind):
    """Queries [B, 3, S, S] under one example, as whole canvases."""
    count, grid = len(queries), model.sizes.side // model.sizes.patch
    masked = torch.arange(2 * grid)[None, :, None].expand(count, -1, grid) >= grid
    canvas = torch.cat([photos.expand_as(queries), queries], dim=2)
    target = torch.cat([targets.expand_as(queries)] * 2, dim=2)
    return model(canvas, target, masked, torch.full((count,), kind))


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_query_under_an_example_is_the_lower_half_of_its_canvas(kind):
    model = network()
    photo, target, queries = noise(1, 3, 16, 16), noise(1, 3, 16, 16, seed=1), noise(2, 3, 16, 16)
    with torch.no_grad():
        stream = model.target_stream(target, kind)
        patches = model.patches(queries)[:, None]
        seen = model.photo_stream(model.patches(photo), patches, kind)
        taps = model.after_merge(model.merged(stream, seen), upper_rows=1)
        found = model.decode(taps.lower[:, 0], mean_edge(taps))
        whole = painted_apart(model, photo, target, queries, kind)
    assert whole.shape == (2, 3, 32, 16)
    torch.testing.assert_close(found, whole[:, :, 16:], atol=1e-9, rtol=1e-9)


def test_kinds_have_tokens_of_their_own():
    model = network()
    pictures = [noise(1, 3, 16, 16, seed=seed) for seed in range(3)]
    with torch.no_grad():
        semantic, instance, neither = (painted_apart(model, *pictures, kind) for kind in range(3))
        model.type_token_cls.zero_()
        model.type_token_ins.zero_()
        assert not torch.allclose(semantic, instance)
        torch.testing.assert_close(painted_apart(model, *pictures, 0), neither)
        painter = network(has_kinds=False)
        painter.load_state_dict(model.state_dict(), strict=False)
        torch.testing.assert_close(painted_apart(painter, *pictures, 1), neither)
    assert len(painter.state_dict()) == len(model.state_dict()) - 2


def test_an_edge_is_the_last_pixel_row_of_what_lies_above():
    model = network()
    taps = noise(2, 8, 4, 2 * WIDTH)
    with torch.no_grad():
        whole = model.decode(taps)
        below, alone = model.decode(taps[:, 4:], taps[:, 3]), model.decode(taps[:, 4:])
    torch.testing.assert_close(below, whole[:, :, 16:], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(alone[:, :, 1:], below[:, :, 1:], atol=1e-12, rtol=1e-12)
    assert (alone[:, :, 0] - below[:, :, 0]).abs().max() > 1e-3


@pytest.mark.parametrize(("table", "side"), [(16, 24), (16, 8)])
def test_a_network_for_another_size_is_one_whose_tables_are_resized(table, side):
    kept, own = network(side=side, table_side=table), network(side=side)
    state = kept.state_dict()
    for name in [name for name in state if "rel_pos" in name]:
        length = len(own.state_dict()[name])
        assert len(state[name]) != length
        resized = torch.nn.functional.interpolate(state[name].T[None], length, mode="linear")
        state[name] = resized[0].T
    own.load_state_dict(state)
    pictures = [noise(1, 3, side, side, seed=seed) for seed in range(3)]
    with torch.no_grad():
        torch.testing.assert_close(
            painted_apart(kept, *pictures, 0), painted_apart(own, *pictures, 0), atol=1e-9, rtol=0
        )


def test_blocks_are_passed_by_in_training_alone_and_whole_canvases_at_once():
    model = network(drop_path=0.9)
    pictures = [noise(1, 3, 16, 16, seed=seed) for seed in range(3)]
    with torch.no_grad():
        first, second = (painted_apart(model, *pictures, 0) for _ in range(2))
        assert torch.equal(first, second)
        torch.testing.assert_close(first, painted_apart(network(), *pictures, 0))
        torch.manual_seed(0)
        block, tokens = model.blocks[-1].train(), halves(40, 1, 1, 4, 4)
        found = block(tokens)
    passed = [(half == before).flatten(1).all(1) for half, before in zip(found, tokens)]
    assert passed[0].equal(passed[1])  # 0.9 ** 2 of them, for attention and perceptron
    assert 20 <= passed[0].sum() < 40


def test_weights_begin_as_the_releases_do():
    model = PaintingNetwork(replace(SIZES, width=96))
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith("bias") and not name.startswith(("patch_embed", "decoder_pred")):
            assert not value.any(), name
        if "rel_pos" in name:
            assert not value.any(), name
        if "_token" in name or name in ("pos_embed", "blocks.0.mlp.fc1.weight"):
            assert 0.013 < value.std() < 0.027, name
    assert (state["norm.weight"] == 1).all()
