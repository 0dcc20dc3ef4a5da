from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from detectron2.structures import Boxes, Instances
from freeseg.engine import Trainer
from freeseg.engine.guard import LossGuard, plain_batch

NAN = float("nan")


def test_a_loss_that_is_no_number_stops_training_and_keeps_the_batch(
    tiny, tiny_config, tmp_path, monkeypatch
):
    plain = tiny.TinySegmenter.forward
    seen = []

    def third_is_nan(self, inputs):
        losses = plain(self, inputs)
        if self.training:
            seen.append(inputs)
            if len(seen) == 3:
                losses["loss_pixels"] = losses["loss_pixels"] * NAN
        return losses

    monkeypatch.setattr(tiny.TinySegmenter, "forward", third_is_nan)
    trainer = Trainer(tiny_config("SOLVER.MAX_ITER", 9, "SOLVER.CHECKPOINT_PERIOD", 1))
    expected = "loss_pixels is not finite at iteration 2: training stops, the batch is in "
    with pytest.raises(FloatingPointError, match=expected) as caught:
        trainer.train()
    assert "\n" not in str(caught.value)
    path = tmp_path / "bad_batch_0000002_rank0.pth"
    assert str(caught.value).endswith(str(path))

    saved = torch.load(path, weights_only=True)
    assert saved["iteration"] == 2
    assert torch.isnan(saved["losses"]["loss_pixels"])
    assert len(saved["batch"]) == len(seen[2]) == 4
    for row, one in zip(saved["batch"], seen[2]):
        assert row["file_name"] == one["file_name"]
        assert torch.equal(row["image"], one["image"])
        assert torch.equal(row["gt_classes"], one["instances"].gt_classes)
        assert torch.equal(row["gt_masks"], one["instances"].gt_masks.tensor)

    last = torch.load(tmp_path / "model_0000001.pth", weights_only=True)["model"]
    parameters = dict(trainer.model.named_parameters())
    assert parameters
    assert all(torch.equal(value, last[name]) for name, value in parameters.items())
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"


class Given(nn.Module):
    """Gives what it is called with."""

    def forward(self, losses):
        return losses


def guarded(folder, iteration=12):
    model, guard = Given(), LossGuard(folder)
    model.register_forward_hook(guard)
    guard.iteration = iteration
    return model


def giving(folder, losses):
    """A model in training whose losses are these."""
    model = guarded(folder / "new")
    model.forward = lambda batch: losses
    return model


@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
@pytest.mark.parametrize("is_other", [False, True])
def test_all_losses_that_are_not_finite_are_named(tmp_path, value, is_other):
    losses = {
        "loss_a": torch.tensor([0.0, value]),
        "loss_b": torch.tensor(1.0, requires_grad=True),
        "loss_c": torch.tensor(value if is_other else 1e30),
    }
    names = "loss_a, loss_c are" if is_other else "loss_a is"
    with pytest.raises(FloatingPointError, match=f"^{names} not finite at iteration 12: "):
        giving(tmp_path, losses)([])
    [path] = (tmp_path / "new").iterdir()
    assert path.name == "bad_batch_0000012_rank0.pth"
    saved = torch.load(path, weights_only=True)
    assert saved["losses"].keys() == losses.keys()
    assert not saved["losses"]["loss_b"].requires_grad
    assert saved["batch"] == []


def test_finite_losses_and_results_pass(tmp_path):
    model = guarded(tmp_path / "new")
    bad = torch.tensor(NAN)
    assert model({"loss": torch.tensor(1.0)})["loss"] == 1.0
    assert model([bad]) == [bad]
    assert model.eval()({"loss": bad})["loss"] is bad
    assert not (tmp_path / "new").exists()


def test_a_batch_that_cannot_be_kept_hides_no_loss(tmp_path, caplog):
    (tmp_path / "new").touch()
    model = giving(tmp_path, {"loss": torch.tensor(NAN)})
    with caplog.at_level(logging.ERROR), pytest.raises(FloatingPointError, match="loss is not"):
        model([])
    assert "the batch is lost: " in caplog.text


def test_a_plain_batch_holds_what_can_be_read_back(tmp_path):
    instances = Instances((4, 6))
    instances.gt_classes = torch.tensor([3, 1])
    instances.gt_boxes = Boxes(torch.tensor([[0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 4.0, 5.0]]))
    row = {"image": torch.ones(3, 4, 6), "file_name": "é", "height": 4, "scale": 0.5}
    batch = [{**row, "instances": instances, "task": None, "vocabulary": object()}, {"width": 7}]
    torch.save(plain_batch(batch), tmp_path / "batch.pth")
    first, second = torch.load(tmp_path / "batch.pth", weights_only=True)
    assert first.keys() == {*row, "gt_classes", "gt_boxes"}
    assert first["gt_boxes"].tolist() == instances.gt_boxes.tensor.tolist()
    assert (first["file_name"], first["height"], first["scale"]) == ("é", 4, 0.5)
    assert second == {"width": 7}
    assert "instances" in batch[0]
