from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freeseg import build_model

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import SIZE, annotated, picture, three_classes


@pytest.fixture
def cfg():
    cfg = three_classes("Base-Mask2Former-small.yaml")
    cfg.MODEL.MASK_FORMER.TRAIN_NUM_POINTS = 32
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = 8
    cfg.MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD = 0.0
    return cfg


@pytest.fixture
def model(cfg):
    torch.manual_seed(0)
    return build_model(cfg).eval()


def test_published_name_is_the_same_model(cfg):
    cfg.MODEL.META_ARCHITECTURE = "MaskFormer"
    assert type(build_model(cfg)).__mro__[1].__name__ == "Mask2Former"


def test_training_gives_every_loss_and_every_parameter_a_gradient(model):
    model.train()
    losses = model([annotated([0, 2]), annotated([1], seed=1)])
    layers = ["_0", "_1", "_2", ""]
    expected = {name + k for name in ("loss_ce", "loss_mask", "loss_dice") for k in layers}
    assert set(losses) == expected
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_picture_without_targets_trains(model):
    model.train()
    losses = model([annotated([]), annotated([])])
    sum(losses.values()).backward()
    assert losses["loss_mask"] == 0
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_a_few_steps_learn_one_picture(model):
    """The whole chain of losses, matching and gradients points the right way."""
    torch.manual_seed(0)
    batch = [annotated([0, 2]), annotated([0, 2], seed=1)]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    model.train()
    totals = []
    for _ in range(12):
        total = sum(model(batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.6 * totals[0]


@torch.no_grad()
def test_results_have_the_size_that_is_asked_for(model):
    output = model([{**picture(), "height": 30, "width": 50}])[0]
    assert output["sem_seg"].shape == (3, 30, 50)
    assert output["panoptic_seg"][0].shape == (30, 50)
    assert output["panoptic_seg"][0].dtype == torch.int32
    assert output["instances"].image_size == (30, 50)
    assert set(output["instances"].pred_classes.tolist()) <= {0, 1}
    assert model([picture()])[0]["sem_seg"].shape[1:] == SIZE


@torch.no_grad()
def test_only_the_tasks_of_the_input_are_answered(model):
    outputs = model([{**picture(), "tasks": ("semantic",)}, {**picture(), "tasks": ("panoptic",)}])
    assert [set(output) for output in outputs] == [{"sem_seg"}, {"panoptic_seg"}]
    everything = model([picture()])[0]
    assert set(everything) == {"sem_seg", "panoptic_seg", "instances"}
    torch.testing.assert_close(everything["sem_seg"], outputs[0]["sem_seg"])
    with pytest.raises(ValueError, match="selection of the tasks"):
        model([{**picture(), "tasks": ("depth",)}])


@torch.no_grad()
def test_a_batch_of_two_sizes_equals_each_alone_up_to_its_padding(model):
    """A picture at the padded size alone sees what it sees beside a smaller one."""
    large, small = picture(64, 96), picture(40, 64, seed=1)
    alone = model([large])[0]["sem_seg"]
    together = model([large, small])
    torch.testing.assert_close(together[0]["sem_seg"], alone, atol=1e-5, rtol=1e-4)
    assert together[1]["sem_seg"].shape[1:] == (40, 64)


@torch.no_grad()
def test_scoring_before_resizing_is_an_option_for_semantic_output(cfg):
    torch.manual_seed(0)
    test = cfg.MODEL.MASK_FORMER.TEST
    test.INSTANCE_ON = test.PANOPTIC_ON = False
    first, last = build_model(cfg).eval(), None
    assert first.assemble.resize_masks_first is False
    test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = True
    last = build_model(cfg).eval()
    last.load_state_dict(first.state_dict())
    wanted = {**picture(), "height": 96, "width": 128}
    before, after = (model([wanted])[0]["sem_seg"] for model in (first, last))
    assert before.shape == after.shape == (3, 96, 128)
    assert 0 < (before - after).abs().max() < 0.1
    same = {**picture(), "height": SIZE[0], "width": SIZE[1]}
    torch.testing.assert_close(first([same])[0]["sem_seg"], last([same])[0]["sem_seg"])


@torch.no_grad()
@pytest.mark.parametrize("scores_first", [False, True])
def test_a_label_map_is_the_best_of_all_scores(model, scores_first):
    model.assemble = replace(model.assemble, resize_masks_first=not scores_first)
    wanted = {**picture(), "height": 70, "width": 90, "tasks": ("semantic",)}
    scores, labels = (
        model([{**wanted, "label_map": flag}])[0]["sem_seg"] for flag in (False, True)
    )
    assert labels.dtype == torch.int64
    assert (labels == scores.argmax(0)).float().mean() > 0.999


def test_missing_backbone_map_is_named(cfg):
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["res2", "res3", "res4", "p7"]
    with pytest.raises(ValueError, match=r"asks for \['p7'\], the backbone gives"):
        build_model(cfg)


def test_unsupported_decoder_input_is_named(cfg):
    cfg.MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE = "res5"
    with pytest.raises(ValueError, match="must be 'multi_scale_pixel_decoder', got 'res5'"):
        build_model(cfg)
