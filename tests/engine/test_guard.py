from __future__ import annotations

import pytest
import torch

from freeseg.engine import Trainer

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
