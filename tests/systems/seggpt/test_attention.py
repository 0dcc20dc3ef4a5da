"""Attention over a canvas: three ways to compute it, against a map of all logits in float64."""

from __future__ import annotations

import pytest
import torch

from freeseg.systems.seggpt import attention
from freeseg.systems.seggpt.attention import CanvasAttention, Halves
from freeseg.systems.seggpt.network import PaintingNetwork, PaintingSizes

HEADS, SIZE = 2, 4  # so that a token has 8 channels
SIZES = PaintingSizes(
    side=16, patch=4, width=8, depth=4, num_heads=HEADS, pretrain_grid=3, merge_block=1,
    taps=(2, 3), decoder_width=3, drop_path=0.0,
)  # fmt: skip


def layer(grid: tuple[int, int]) -> CanvasAttention:
    torch.manual_seed(1)
    made = CanvasAttention(HEADS * SIZE, HEADS, grid, bias=True).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def by_hand(made: CanvasAttention, canvas: torch.Tensor) -> torch.Tensor:
    """Of one canvas [2h, w, C], logit by logit."""
    height, width = canvas.shape[:2]
    tokens = canvas.flatten(0, 1)
    query, key, value = made.qkv(tokens).view(len(tokens), 3, HEADS, SIZE).unbind(1)
    heads = []
    for head in range(HEADS):
        logits = torch.zeros(len(tokens), len(tokens), dtype=torch.float64)
        for one in range(len(tokens)):
            for other in range(len(tokens)):
                down = one // width - other // width + height - 1
                right = one % width - other % width + width - 1
                mine = query[one, head]
                logits[one, other] = (
                    mine @ key[other, head] / SIZE**0.5
                    + mine @ made.rel_pos_h[down]
                    + mine @ made.rel_pos_w[right]
                )
        heads.append(logits.softmax(1) @ value[:, head])
    return made.proj(torch.cat(heads, 1)).view_as(canvas)


def halves(groups: int, examples: int, lower: int, grid: tuple[int, int]) -> Halves:
    generator = torch.Generator().manual_seed(2)
    height, width = grid[0] // 2, grid[1]
    return Halves(
        *(
            torch.randn(groups, count, height, width, 8, generator=generator, dtype=torch.float64)
            for count in (examples, lower)
        )
    )


WAYS = {"in chunks": (False, 1 << 30), "a token at a time": (False, 1), "fused": (True, 0)}


@pytest.mark.parametrize("grid", [(4, 3), (2, 5), (6, 2)])
@pytest.mark.parametrize(("is_fused", "chunk"), WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("examples", [1, 3])
@torch.no_grad()
def test_every_way_is_the_map_of_all_logits(monkeypatch, grid, is_fused, chunk, examples):
    monkeypatch.setattr(attention, "_wants_fused", lambda _: is_fused)
    monkeypatch.setattr(attention, "CHUNK_BYTES", chunk)
    made, tokens = layer(grid), halves(2, examples, 1, grid)
    found = made(tokens, True, grid[0] // 2)
    assert tokens.is_shared == (examples > 1)
    for group in range(2):
        canvases = [by_hand(made, canvas) for canvas in tokens.rows()[group]]
        upper = torch.stack([canvas[: grid[0] // 2] for canvas in canvases])
        lower = torch.stack([canvas[grid[0] // 2 :] for canvas in canvases]).mean(0)
        torch.testing.assert_close(found.upper[group], upper)
        torch.testing.assert_close(found.lower[group, 0], lower)


@torch.no_grad()
@pytest.mark.parametrize("is_mean", [False, True])
def test_lower_halves_of_their_own_are_averaged_where_it_is_asked(is_mean):
    grid = (4, 3)
    made, tokens = layer(grid), halves(1, 3, 3, grid)
    found = made(tokens, is_mean, 2)
    canvases = torch.stack([by_hand(made, canvas) for canvas in tokens.rows()[0]])
    lower = canvases[:, 2:]
    wanted = lower.mean(0).expand_as(lower) if is_mean else lower
    torch.testing.assert_close(found.lower[0], wanted)
    torch.testing.assert_close(found.upper[0], canvases[:, :2])


@torch.no_grad()
def test_only_the_last_rows_of_upper_halves_are_computed_where_that_is_enough():
    grid = (6, 3)
    made, tokens = layer(grid), halves(2, 2, 1, grid)
    whole, part = made(tokens, True, 3), made(tokens, True, 1)
    torch.testing.assert_close(part.upper, whole.upper[:, :, -1:])
    torch.testing.assert_close(part.lower, whole.lower)


def test_logits_of_canvases_of_unlike_size_do_not_overflow(monkeypatch):
    """A shared softmax keeps every canvas on its own scale."""
    monkeypatch.setattr(attention, "_wants_fused", lambda _: False)
    made, tokens = layer((4, 3)), halves(1, 2, 1, (4, 3))
    tokens.upper[:, 0] *= 300
    with torch.no_grad():
        found = made(tokens, True, 2).lower[0, 0]
        lower = torch.stack([by_hand(made, canvas)[2:] for canvas in tokens.rows()[0]]).mean(0)
    torch.testing.assert_close(found, lower)


@torch.no_grad()
def test_tables_for_another_size_are_resized_linearly():
    table = torch.arange(5.0)[:, None] * torch.tensor([1.0, -2.0])  # for a side of 3
    grown = attention._relative(table, 4)
    assert grown.shape == (4, 4, 2)
    assert torch.equal(grown[0, 3], grown[0, 3].clone())
    along = torch.stack([grown[0, 3], grown[0, 0], grown[3, 0]])  # -3, 0 and 3 steps
    torch.testing.assert_close(along[1], table[2])
    torch.testing.assert_close(along[0] + along[2], 2 * table[2])
    assert torch.equal(attention._relative(table, 3)[2, 0], table[4])


def network(**changes) -> PaintingNetwork:
    torch.manual_seed(3)
    made = PaintingNetwork(PaintingSizes(**{**vars(SIZES), **changes})).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def inputs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    photos, targets = (torch.randn(2, 3, 32, 16, generator=generator) for _ in range(2))
    masked = torch.zeros(2, 8, 4, dtype=torch.bool)
    masked[:, 4:] = True
    return photos, targets, masked, torch.tensor([0, 1])


@torch.no_grad()
def test_the_query_half_is_what_the_whole_canvas_has_there():
    made = network()
    photos, targets, masked, kinds = inputs()
    whole = made(photos, targets, masked, kinds)
    for row, kind in enumerate(kinds.tolist()):
        stream = made.target_stream(targets[row : row + 1, :, :16], kind)
        upper = made.patches(photos[row : row + 1, :, :16])
        seen = made.photo_stream(upper, made.patches(photos[row, :, 16:][None, None]), kind)
        taps = made.after_merge(made.merged(stream, seen), upper_rows=1)
        half = made.decode(taps.lower[:, 0], taps.upper[:, 0, -1])
        torch.testing.assert_close(half[0], whole[row, :, 16:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_hidden_targets_and_targets_of_other_canvases_change_nothing():
    made = network()
    photos, targets, masked, kinds = inputs()
    other = targets.clone()
    other[:, :, 16:] = 7.0  # hidden
    other[1, :, :16] = 7.0  # of the other canvas
    first, second = made(photos, targets, masked, kinds), made(photos, other, masked, kinds)
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_everything_that_counts_gets_a_gradient():
    made = network().train()
    photos, targets, masked, kinds = inputs()
    made(photos, targets, masked, kinds).square().mean().backward()
    without = [name for name, each in made.named_parameters() if each.grad is None]
    assert without == []


@torch.no_grad()
def test_blocks_are_passed_by_in_training_alone():
    made, given = network(drop_path=0.9), inputs()
    assert torch.equal(made(*given), made(*given))
    made.train()
    torch.manual_seed(0)
    assert not torch.equal(made(*given), made(*given))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"taps": (1, 3)}, "stand behind the merging block 1"),
        ({"taps": (2, 4)}, "and before 4"),
        ({"taps": (3, 2)}, "numbers of blocks in order"),
        ({"side": 18}, "a multiple of the patch 4, got 18"),
        ({"table_side": 6}, "a multiple of the patch 4, got 6"),
        ({"num_heads": 3}, "3 heads do not divide a width of 8"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PaintingSizes(**{**vars(SIZES), **changes})
