"""What SAM is asked in training, and what it is told about its answers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from freeseg.structures import SegmentationTarget
from freeseg.systems.sam.mask_decoder import DecodedMasks
from freeseg.systems.sam.prompts import BOTTOM_RIGHT, NO_POINT, PADDING, TOP_LEFT
from freeseg.systems.sam.training import ClickTraining
from freeseg.training.shares import accumulated

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import annotated
from tiny_systems import tiny_click, tiny_sam

SIDE, GRID = 64, 16  # pixels of the square, and cells of a mask
NO_BOX = {"box_share": 0.0}


def square(top=16, left=8, height=24, width=32):
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def target(*masks):
    stacked = torch.stack(masks) if masks else torch.zeros(0, SIDE, SIDE, dtype=torch.bool)
    return SegmentationTarget(torch.zeros(len(masks), dtype=torch.int64), stacked)


class Answers:
    """Stands for a decoder: gives logits that a test wrote, and keeps what it was asked."""

    def __init__(self, logits, qualities):
        self.logits, self.qualities = logits, qualities
        self.rows, self.prompts = [], []

    def __call__(self, rows, prompts):
        self.rows.append(rows)
        self.prompts.append(prompts)
        count = len(prompts)
        return DecodedMasks(self.logits.expand(count, -1, -1, -1), self.qualities.expand(count, -1))


def nothing(logit=-1.0):
    """Four masks that are empty."""
    return Answers(
        torch.full((1, 4, GRID, GRID), logit, requires_grad=True),
        torch.tensor([[0.1, 0.2, 0.4, 0.3]], requires_grad=True),
    )


def run(training, answers, *targets, seed=0):
    torch.manual_seed(seed)
    return training(answers, list(targets), (GRID, GRID))


@pytest.mark.parametrize("seed", range(5))
def test_clicks_lie_on_what_is_missing_and_stay(seed):
    mask, answers = square(), nothing()
    run(ClickTraining(num_points=3, **NO_BOX), answers, target(mask), seed=seed)
    assert len(answers.prompts) == 1 + 3 + 2  # two rounds bring nothing new
    last = answers.prompts[-1]
    on = last.labels[0] == 1
    assert int(on.sum()) == 1 + 3
    for x, y in last.points[0, on]:
        assert mask[int(y), int(x)]
        assert (x / 4) % 1 == (y / 4) % 1 == 0.5  # centres of the grid's cells
    for earlier, later in zip(answers.prompts, answers.prompts[1:]):
        known = earlier.points[0, earlier.labels[0] == 1]
        assert torch.equal(later.points[0, later.labels[0] == 1][: len(known)], known)


def test_rounds_without_a_click_are_one_among_the_others_and_the_last():
    training = ClickTraining(num_points=4)
    found = {tuple(training._rounds(torch.Generator().manual_seed(seed))) for seed in range(60)}
    assert all(
        rounds[0] and not rounds[-1] and sum(rounds) == 5 and len(rounds) == 7 for rounds in found
    )
    assert len(found) == 4
    assert ClickTraining(num_points=0)._rounds(torch.Generator()) == [True]


def test_what_is_too_much_is_clicked_off():
    answers = Answers(torch.ones(1, 4, GRID, GRID), torch.zeros(1, 4))  # all there is
    mask = square()
    run(ClickTraining(num_points=2, **NO_BOX), answers, target(mask))
    last = answers.prompts[-1]
    off = last.points[0, last.labels[0] == 0]
    assert len(off) == 2
    assert not any(mask[int(y), int(x)] for x, y in off)


def test_a_deepest_click_is_in_the_middle():
    answers = nothing()
    centre = torch.tensor([[8 + 16.0, 16 + 12.0]])
    run(ClickTraining(num_points=0, deepest_share=1.0, **NO_BOX), answers, target(square()))
    assert (answers.prompts[0].points[0, :1] - centre).abs().max() <= 4 + 2  # cells of four


def test_an_object_begins_with_its_box_or_a_click():
    boxed = nothing()
    run(ClickTraining(num_points=1, box_share=1.0), boxed, target(square()))
    first, last = boxed.prompts[0], boxed.prompts[-1]
    assert first.labels.tolist() == [[PADDING, TOP_LEFT, BOTTOM_RIGHT]]
    corners = first.points[0, 1:].flatten()
    true = torch.tensor([8.0, 16.0, 40.0, 40.0])
    assert 0 < (corners - true).abs().max() <= 0.45 * 32  # noise
    assert torch.equal(last.points[0, -2:], first.points[0, 1:])
    assert last.labels.tolist() == [[PADDING, 1, TOP_LEFT, BOTTOM_RIGHT]]
    clicked = nothing()
    run(ClickTraining(num_points=0, **NO_BOX), clicked, target(square()))
    assert clicked.prompts[0].labels.tolist() == [[1, NO_POINT, PADDING]]
    mixed = nothing()
    run(ClickTraining(num_points=0), mixed, target(*[square()] * 40))
    boxes = int((mixed.prompts[0].labels == TOP_LEFT).sum())
    assert 10 < boxes < 30


def test_logits_of_the_chosen_mask_come_back_without_gradient():
    logits = torch.arange(4.0)[None, :, None, None] - 2.0 + torch.zeros(1, 4, GRID, GRID)
    answers = Answers(logits.requires_grad_(), torch.tensor([[0.9, 0.2, 0.4, 0.3]]))
    run(ClickTraining(num_points=2, **NO_BOX), answers, target(square()))
    assert answers.prompts[0].mask_logits is None
    assert torch.equal(answers.prompts[1].mask_logits, logits[:, 2:3])  # best of the three
    assert torch.equal(answers.prompts[-1].mask_logits, logits[:, :1])  # of several prompts
    assert not any(each.mask_logits.requires_grad for each in answers.prompts[1:])


def by_hand(probability, covered):
    """Focal, dice and overlap of one mask that has a probability everywhere."""
    p, t = probability, covered
    as_one = 0.25 * (1 - p) ** 2 * -math.log(p)
    as_none = 0.75 * p**2 * -math.log(1 - p)
    cells = GRID * GRID
    dice = 1 - (2 * p * t * cells + 1) / (p * cells + t * cells + 1)
    return t * as_one + (1 - t) * as_none, dice, t if p > 0.5 else 0.0


def test_the_best_of_three_learns_and_all_qualities():
    covered = 24 * 32 / SIDE**2
    probabilities, qualities = [0.9, 0.3, 0.2, 0.6], [0.5, 0.1, 0.2, 0.7]
    logits = torch.tensor([math.log(p / (1 - p)) for p in probabilities])[None, :, None, None]
    logits = logits.expand(1, 4, GRID, GRID).clone().requires_grad_()
    told = torch.tensor([qualities], requires_grad=True)
    losses = run(ClickTraining(num_points=0, **NO_BOX), Answers(logits, told), target(square()))
    rows = [by_hand(p, covered) for p in probabilities[1:]]
    best = min(rows, key=lambda row: 20 * row[0] + row[1])
    wrong = [(said - row[2]) ** 2 for said, row in zip(qualities[1:], rows)]
    assert losses["loss_mask"].item() == pytest.approx(20 * best[0], rel=1e-5)
    assert losses["loss_dice"].item() == pytest.approx(best[1], rel=1e-5)
    assert losses["loss_quality"].item() == pytest.approx(sum(wrong) / 3, rel=1e-5)
    sum(losses.values()).backward()
    taught = [bool(each.any()) for each in logits.grad[0]]
    assert taught == [False, *(row is best for row in rows)]
    assert told.grad[0].ne(0).tolist() == [False, True, True, True]


def test_masks_that_are_not_the_best_learn_their_share():
    logits = torch.tensor([-1.0, -1.0, 0.0, 2.0])[None, :, None, None].expand(1, 4, GRID, GRID)
    answers = Answers(logits, torch.zeros(1, 4))
    covered = 24 * 32 / SIDE**2
    rows = [by_hand(1 / (1 + math.exp(-logit)), covered) for logit in (-1.0, 0.0, 2.0)]
    best, *others = sorted(rows, key=lambda row: 20 * row[0] + row[1])
    training = ClickTraining(num_points=0, others_share=0.2, **NO_BOX)
    losses = run(training, answers, target(square()))
    expected = 0.8 * best[1] + 0.1 * others[0][1] + 0.1 * others[1][1]
    assert losses["loss_dice"].item() == pytest.approx(expected, rel=1e-5)


def test_several_prompts_teach_the_first_mask_alone():
    answers = nothing()
    run(ClickTraining(num_points=1, **NO_BOX), answers, target(square()))["loss_mask"].backward()
    last = answers.prompts[-1]
    assert int(last.num_tokens) == 3
    assert answers.logits.grad[0, 0].any()


def test_a_model_of_one_mask_teaches_the_first_from_the_first_click_on():
    covered, told = 24 * 32 / SIDE**2, [0.5, 0.1, 0.2, 0.7]
    logits = torch.tensor([2.0, -1.0, 0.0, 1.0])[None, :, None, None].expand(1, 4, GRID, GRID)
    logits = logits.clone().requires_grad_()
    answers = Answers(logits, torch.tensor([told], requires_grad=True))
    training = ClickTraining(num_points=0, others_share=0.2, many_prompts=0, **NO_BOX)
    losses = run(training, answers, target(square()))
    focal, dice, overlap = by_hand(1 / (1 + math.exp(-2)), covered)
    assert losses["loss_mask"].item() == pytest.approx(20 * focal, rel=1e-5)
    assert losses["loss_dice"].item() == pytest.approx(dice, rel=1e-5)
    assert losses["loss_quality"].item() == pytest.approx((0.5 - overlap) ** 2, rel=1e-5)
    sum(losses.values()).backward()
    assert [bool(each.any()) for each in logits.grad[0]] == [True, False, False, False]
    run(ClickTraining(num_points=1, many_prompts=0, **NO_BOX), answers, target(square()))
    assert torch.equal(answers.prompts[-1].mask_logits, logits[:, :1])


def test_losses_are_means_over_objects_and_rounds():
    alone = run(ClickTraining(num_points=0, **NO_BOX), nothing(), target(square()))
    many = run(
        ClickTraining(num_points=0, **NO_BOX),
        nothing(),
        target(square(), square()),
        target(),
        target(square()),
    )
    torch.testing.assert_close(alone, many)
    with accumulated([1, 3], 2):  # this part has one of four objects
        part = run(ClickTraining(num_points=0, **NO_BOX), nothing(), target(square()))
    assert part["loss_mask"].item() == pytest.approx(alone["loss_mask"].item() / 2)


def test_what_is_clicked_at_is_neither_small_nor_large_and_not_too_many():
    large, small = square(0, 0, 62, 62), square(height=8, width=8)
    masks = [large, small, square()]
    answers = nothing()
    training = ClickTraining(num_points=0, area_range=(0.05, 0.9))
    run(training, answers, target(*masks), target(), target(square()))
    assert answers.rows == [[0, 2]]
    answers = nothing()
    run(ClickTraining(num_points=0, max_masks=2), answers, target(*[square()] * 5))
    assert answers.rows == [[0, 0]]


def test_a_batch_without_objects_has_losses_of_nothing():
    losses = run(ClickTraining(num_points=2), nothing(), target(), target())
    assert [loss.item() for loss in losses.values()] == [0, 0, 0]
    assert all(loss.requires_grad for loss in losses.values())


def test_images_are_encoded_once_for_all_objects_and_rounds():
    model, seen = tiny_sam().train(), []
    model.image_encoder.register_forward_hook(lambda *_: seen.append(1))
    losses = model([annotated([0, 1, 2]), annotated([1], 1)])
    sum(losses.values()).backward()
    assert len(seen) == 1


def test_a_model_learns_where_it_is_clicked():
    model = tiny_click(side=64).train()
    model.click_training = ClickTraining(num_points=1)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    batch = [annotated([0, 1]), annotated([0, 1, 2], 1)]
    totals = []
    for step in range(80):
        torch.manual_seed(step)
        total = sum(model(batch).values())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-10:]) < 0.6 * sum(totals[:10])
