"""The laws that every registered system keeps: weights that go and come, and training steps."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest
import torch

from freeseg.checkpoints import KEY_MAPS, StrictCheckpointer, detect_system
from freeseg.structures import Request, Wants, read_sample
from freeseg.systems import SegmentationSystem, systems

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_inputs import SIZE, annotated, picture
from tiny_systems import TINY, assert_equal, tiny

SYSTEMS = sorted(systems())
TRAINED = [name for name in SYSTEMS if name in TINY and TINY[name].batches()]


def answers(name, model):
    prompt = tiny(name).prompts(SIZE)[0]
    request = Request(0, tuple(model.answers), prompt, wants=Wants(certainty=True))
    with torch.inference_mode():
        return model.answer(model.encode(model.prepare([picture()["image"]])), [request])[0]


def trained_names(model) -> list[str]:
    return [name for name, weight in model.named_parameters() if weight.requires_grad]


@pytest.mark.parametrize("name", SYSTEMS)
def test_weights_make_a_fresh_model_the_same(name):
    first, second = tiny(name).build(0), tiny(name).build(1)
    names = trained_names(first)
    assert not any(
        torch.equal(first.get_parameter(each), second.get_parameter(each)) for each in names
    )
    assert list(second.load_state_dict(first.state_dict())) == [[], []]
    assert_equal(answers(name, first), answers(name, second))


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name in KEY_MAPS])
def test_names_of_weights_are_the_releases(model_of, name):
    assert detect_system(model_of(name).state_dict()) == name


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_checkpoint_of_the_same_model_leaves_nothing_to_report(model_of, name, tmp_path):
    model, path = tiny(name).build(1), tmp_path / "whole.pth"
    torch.save({"model": model_of(name).state_dict()}, path)
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(str(path))
    assert (checkpointer.missing, checkpointer.unused, checkpointer.misfit()) == ([], [], "")
    assert_equal(answers(name, model_of(name)), answers(name, model))


@pytest.mark.parametrize("name", SYSTEMS)
def test_foreign_and_missing_weights_are_reported_by_name(model_of, name, tmp_path):
    model, path = tiny(name).build(1), tmp_path / "odd.pth"
    state, gone = dict(model_of(name).state_dict()), trained_names(model)[-1]
    del state[gone]
    state["sem_seg_head.of_another"] = torch.zeros(2)
    torch.save({"model": state}, path)
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(str(path))
    assert (checkpointer.missing, checkpointer.unused) == ([gone], ["sem_seg_head.of_another"])
    with pytest.raises(ValueError, match="do not fit the model: 1 of its") as refusal:
        checkpointer.check_fit(str(path))
    assert gone in str(refusal.value)
    assert "1 weights are unknown to it: sem_seg_head.of_another" in str(refusal.value)


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_weight_learns_and_no_frozen_one(name):
    model = tiny(name).build(0).train()
    for batch in tiny(name).batches():
        losses = model(batch)
        assert losses
        assert all(loss.isfinite() and loss.dim() == 0 for loss in losses.values())
        sum(losses.values()).backward()
    moved = {each for each, weight in model.named_parameters() if weight.grad is not None}
    assert moved == set(trained_names(model))
    assert all(model.get_parameter(each).grad.isfinite().all() for each in moved)
    assert [each for each in moved if not model.get_parameter(each).grad.any()] == []


@pytest.mark.parametrize("name", TRAINED)
def test_detectron2s_dicts_train_as_samples_do(name):
    model = tiny(name).build(0).train()
    for batch in tiny(name).batches():
        torch.manual_seed(3)
        of_dicts = model(batch)
        torch.manual_seed(3)
        of_samples = model.losses([read_sample(one, model.ignore_label) for one in batch])
        assert of_dicts == of_samples


@pytest.mark.parametrize("name", TRAINED)
def test_a_resumed_step_repeats_the_uninterrupted_one(name, tmp_path):
    batches = tiny(name).batches()

    def step(model, optimizer, number):
        torch.manual_seed(number)
        optimizer.zero_grad()
        sum(model(batches[number % len(batches)]).values()).backward()
        optimizer.step()

    def begin(seed):
        model = tiny(name).build(seed).train()
        learning = [weight for weight in model.parameters() if weight.requires_grad]
        return model, torch.optim.AdamW(learning, 1e-3)

    whole, whole_optimizer = begin(0)
    step(whole, whole_optimizer, 0)
    kept = {"model": whole.state_dict(), "optimizer": whole_optimizer.state_dict()}
    torch.save(kept, tmp_path / "kept.pth")
    kept = torch.load(tmp_path / "kept.pth", weights_only=True)
    step(whole, whole_optimizer, 1)
    resumed, optimizer = begin(1)
    resumed.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    step(resumed, optimizer, 1)
    ends = resumed.state_dict()
    assert all(torch.equal(value, ends[key]) for key, value in whole.state_dict().items())


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_sample_without_annotation_is_refused_by_what_is_missing(name):
    model = tiny(name).build(0).train()
    with pytest.raises(ValueError, match="training needs inputs with instances or sem_seg"):
        model([picture()])


def test_a_system_without_losses_says_so():
    model = tiny("mask2former").build(0).train()
    model.losses = functools.partial(SegmentationSystem.losses, model)
    with pytest.raises(ValueError, match="Mask2Former has no losses here"):
        model([annotated([0])])


def test_a_system_without_batches_says_that_it_cannot_be_trained(model_of):
    others = set(SYSTEMS) - set(TRAINED)
    assert others == {"grounded_sam"}
    with pytest.raises(ValueError, match="GroundedSAM has no losses here: it cannot be trained"):
        model_of("grounded_sam").losses([])
