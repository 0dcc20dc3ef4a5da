from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest
import torch

from freeseg import build_model
from freeseg.structures import SegmentationTarget

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import SIZE, annotated, picture, three_classes

TASKS = ("semantic", "instance", "panoptic")


@pytest.fixture
def cfg():
    cfg = three_classes("oneformer/shapes/oneformer_small.yaml")
    cfg.MODEL.ONE_FORMER.TRAIN_NUM_POINTS = 32
    cfg.MODEL.ONE_FORMER.NUM_OBJECT_QUERIES = 9
    cfg.MODEL.TEXT_ENCODER.N_CTX = 2
    cfg.MODEL.TEST.OBJECT_MASK_THRESHOLD = 0.0
    return cfg


def build(cfg):
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    with torch.no_grad():  # start values leave most layers without effect
        for name, parameter in model.named_parameters():
            if "backbone" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def assert_same(first: dict, second: dict) -> None:
    assert set(first) == set(second)
    if "sem_seg" in first:
        assert (first["sem_seg"] - second["sem_seg"]).abs().max() <= 1e-5
    if "panoptic_seg" in first:
        assert torch.equal(first["panoptic_seg"][0], second["panoptic_seg"][0])
    if "instances" in first:
        a, b = first["instances"], second["instances"]
        assert (a.scores - b.scores).abs().max() <= 1e-5
        assert torch.equal(a.pred_masks, b.pred_masks)


@torch.no_grad()
def test_a_label_map_is_the_best_of_all_scores(cfg):
    model = build(cfg)
    wanted = {**picture(), "height": 70, "width": 90}
    scores, labels = (
        model([{**wanted, "label_map": flag}])[0]["sem_seg"] for flag in (False, True)
    )
    assert labels.dtype == torch.int64
    assert (labels == scores.argmax(0)).float().mean() > 0.999


def test_training_gives_every_loss_and_every_parameter_a_gradient(cfg):
    model = build(cfg).train()
    losses = model([annotated([0, 2], task="panoptic"), annotated([1], task="instance", seed=1)])
    layers = [*(f"_{i}" for i in range(cfg.MODEL.ONE_FORMER.DEC_LAYERS - 1)), ""]
    expected = {name + k for name in ("loss_ce", "loss_mask", "loss_dice") for k in layers}
    assert set(losses) == expected | {"loss_contrastive"}
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_picture_without_targets_trains(cfg):
    model = build(cfg).train()
    losses = model([annotated([], task="instance"), annotated([], task="semantic", seed=1)])
    sum(losses.values()).backward()
    assert losses["loss_mask"] == 0
    assert torch.isfinite(losses["loss_contrastive"])


def test_a_few_steps_learn_two_pictures(cfg):
    model = build(cfg).train()
    batch = [annotated([0, 2], task="panoptic"), annotated([1], task="semantic", seed=1)]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    totals = []
    for _ in range(12):
        total = sum(model(batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.7 * totals[0]


def test_texts_of_an_image_are_its_targets_then_the_task_then_learned_context(cfg):
    model = build(cfg)
    target = SegmentationTarget(torch.tensor([2, 0, 0]), torch.zeros(3, *SIZE).bool())
    texts = model.embed_texts(["panoptic"], [target])[0]  # [Q, C]
    assert texts.shape == (9, cfg.MODEL.ONE_FORMER.HIDDEN_DIM)
    assert torch.equal(texts[7:], model.prompt_ctx.weight)
    assert torch.equal(texts[0], texts[1])  # two cats come first
    assert not torch.equal(texts[1], texts[2])  # the sky
    assert torch.equal(texts[3], texts[6])  # padding
    other = model.embed_texts(["instance"], [target])[0]
    assert torch.equal(other[2], texts[2])
    assert not torch.equal(other[3], texts[3])  # an instance photo


@torch.no_grad()
def test_the_task_is_given_at_run_time_and_changes_the_queries(cfg):
    model = build(cfg)
    semantic, panoptic = (
        model([{**picture(), "task": task, "tasks": ("semantic",)}])[0]["sem_seg"]
        for task in ("semantic", "panoptic")
    )
    assert (semantic - panoptic).abs().max() > 1e-4
    own = model([{**picture(), "tasks": TASKS}])[0]
    assert (own["sem_seg"] - semantic).abs().max() <= 1e-5
    cfg.MODEL.TEST.TASK_PER_OUTPUT = False  # the release's evaluation
    single = build(cfg)([{**picture(), "tasks": TASKS}])[0]
    assert (single["sem_seg"] - panoptic).abs().max() <= 1e-5
    with pytest.raises(ValueError, match="wanted a task among"):
        model([{**picture(), "task": "depth"}])


@torch.no_grad()
def test_a_batch_of_mixed_tasks_and_sizes_equals_each_alone(cfg):
    model = build(cfg)
    batch = [
        {**picture(48, 64), "tasks": ("semantic",)},
        {**picture(90, 40, seed=1), "tasks": ("panoptic", "instance")},
        {**picture(33, 64, seed=2), "task": "instance", "height": 20, "width": 30},
        {**picture(64, 64, seed=3)},
    ]
    together = model(batch)
    for one, output in zip(batch, together):
        assert_same(output, model([one])[0])
    assert set(together[3]) == {"sem_seg", "panoptic_seg", "instances"}


@torch.no_grad()
def test_three_tasks_encode_the_image_once(cfg, monkeypatch):
    model = build(cfg)
    decoder = model.sem_seg_head.predictor
    first_layer = decoder.class_transformer.decoder["layers"][0]
    once = (model.backbone, first_layer, decoder.input_proj[0])
    batch_sizes = []

    def counted(forward, *inputs):
        batch_sizes.append(len(inputs[0]))
        return forward(*inputs)

    for part in once:
        monkeypatch.setattr(part, "forward", functools.partial(counted, part.forward))
    model([{**picture(), "tasks": TASKS}])
    assert batch_sizes == [1] * len(once)  # a batch of one image, not of three requests


@pytest.mark.parametrize("num_images", [1, 2])
@torch.no_grad()
def test_tasks_that_share_an_image_see_nothing_of_each_other(cfg, num_images):
    model = build(cfg)
    features = model.encode(
        model.prepare([picture(seed=seed)["image"] for seed in range(num_images)])
    )
    tokens = model.embed_tasks([*TASKS, *reversed(TASKS)])[: 3 * num_images]
    together = model.sem_seg_head.final(features, tokens.view(num_images, 3, -1))
    repeated = features.select([index for index in range(num_images) for _ in range(3)])
    alone = model.sem_seg_head.final(repeated, tokens)
    torch.testing.assert_close(together.class_logits, alone.class_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.mask_logits, alone.mask_logits, rtol=0, atol=1e-5)
    assert (alone.class_logits[0] - alone.class_logits[1]).abs().max() > 1e-4


@torch.no_grad()
def test_without_the_text_mapper_results_are_the_same_and_its_weights_are_ignored(cfg):
    trained = build(cfg)
    cfg.MODEL.IS_TRAIN = False
    model = build(cfg)
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"backbone", "sem_seg_head", "task_mlp", "criterion"}
    model.load_state_dict(trained.state_dict(), strict=True)
    assert_same(model([picture()])[0], trained([picture()])[0])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MODEL.ONE_FORMER.ENC_LAYERS", 2, "must be 0, got 2"),
    ],
)
def test_settings_that_cannot_work_are_refused(cfg, key, value, message):
    cfg.merge_from_list([key, value])
    with pytest.raises(ValueError, match=message):
        build_model(cfg)


@pytest.mark.parametrize("is_train", [True, False])
@torch.no_grad()
def test_contexts_of_another_width_bother_nobody_but_training(cfg, is_train):
    plain = build(cfg)
    cfg.merge_from_list(["MODEL.TEXT_ENCODER.WIDTH", 128, "MODEL.IS_TRAIN", is_train])
    model = build(cfg)
    left_out = ("text_encoder.", "text_projector.", "prompt_ctx.")
    state = plain.state_dict()
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith(left_out)}, False)
    assert_same(model([picture()])[0], plain([picture()])[0])
    if is_train:
        assert model.prompt_ctx.weight.shape == (cfg.MODEL.TEXT_ENCODER.N_CTX, 128)
        with pytest.raises(ValueError, match=r"WIDTH 128 must be HIDDEN_DIM .* to train"):
            model.train()([annotated([0], task="panoptic")])


@torch.no_grad()
def test_texts_of_another_width_train_without_contexts(cfg):
    cfg.merge_from_list(["MODEL.TEXT_ENCODER.WIDTH", 128, "MODEL.TEXT_ENCODER.N_CTX", 0])
    batch = [annotated([0, 2], task="panoptic"), annotated([1], task="instance", seed=1)]
    assert build(cfg).train()(batch)["loss_contrastive"] > 0


@torch.no_grad()
def test_ablations_change_what_they_say(cfg):
    tokens = build(cfg).embed_tasks(TASKS)[:, None]
    features = torch.randn(3, cfg.MODEL.SEM_SEG_HEAD.MASK_DIM, 8, 8)
    cfg.MODEL.ONE_FORMER.TASK_INIT = False
    start = build(cfg).sem_seg_head.predictor.task_queries(
        features[:1].expand(3, -1, -1, -1), tokens
    )
    assert (start.content()[0, :-1] - start.content()[1, :-1]).abs().max() <= 1e-5
    assert (start.content()[0, -1] - start.content()[1, -1]).abs().max() > 1e-4
    cfg.MODEL.TEXT_ENCODER.N_CTX = 0
    assert build(cfg).prompt_ctx is None
    cfg.MODEL.ONE_FORMER.CONTRASTIVE_WEIGHT = 0.0
    model = build(cfg).train()
    assert model.text_encoder is None
    assert "loss_contrastive" not in model([annotated([0], task="panoptic")])
