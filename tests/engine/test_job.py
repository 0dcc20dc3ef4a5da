from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from freeseg.engine import Trainer, evaluate

WINDOW = 16  # a quarter of a picture


@pytest.fixture
def saved(tiny_config, tmp_path):
    """A model with random weights, its file, and what the test loader gives."""
    cfg = tiny_config()
    model = Trainer.build_model(cfg).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
    images = [row for batch in Trainer.build_test_loader(cfg, "tiny_val") for row in batch]
    return model, tmp_path / "weights.pth", images


def quarters(model, image: torch.Tensor) -> torch.Tensor:
    """Scores of a square image, each quarter segmented without its neighbours."""
    rows = [
        torch.cat(
            [
                model([{"image": part, "height": WINDOW, "width": WINDOW}])[0]["sem_seg"]
                for part in row.split(WINDOW, dim=-1)
            ],
            dim=-1,
        )
        for row in image.split(WINDOW, dim=-2)
    ]
    return torch.cat(rows, dim=-2)


def mean_iou(scores: list[torch.Tensor], images: list[dict]) -> float:
    guess = np.stack([row.argmax(0).numpy() for row in scores])
    files = [row["file_name"].replace(".png", "_labels.png") for row in images]
    truth = np.stack([np.array(Image.open(name)) for name in files])
    pairs = [(guess == label, truth == label) for label in range(3)]
    return 100 * float(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs]))


@torch.no_grad()
def test_evaluation_slides_windows_over_the_photo_and_over_its_mirror_image(
    saved, tiny_config, tmp_path
):
    model, weights, images = saved
    sizes = ("TEST.AUG.CROP_SIZE", (WINDOW, WINDOW), "TEST.AUG.STRIDE", (WINDOW, WINDOW))
    copies = ("TEST.AUG.ENABLED", True, "TEST.AUG.FLIP", True, "TEST.AUG.MIN_SIZES", (32,))
    cfg = tiny_config("MODEL.WEIGHTS", weights, "TEST.AUG.IS_SLIDE", True, *sizes, *copies)
    results = evaluate(cfg, resume=False)

    plain = [quarters(model, row["image"]) for row in images]
    mirrored = [quarters(model, row["image"].flip(-1)).flip(-1) for row in images]
    both = [(one + other) / 2 for one, other in zip(plain, mirrored)]
    assert results["sem_seg"]["mIoU"] == pytest.approx(mean_iou(plain, images))
    assert results["sem_seg_TTA"]["mIoU"] == pytest.approx(mean_iou(both, images))
    assert results["sem_seg"]["mIoU"] != pytest.approx(results["sem_seg_TTA"]["mIoU"])
    whole = [model([row])[0]["sem_seg"] for row in images]
    assert results["sem_seg"]["mIoU"] != pytest.approx(mean_iou(whole, images))
    assert "| semantic, augmented |" in (tmp_path / "results.md").read_text()


def test_one_copy_of_the_same_size_changes_nothing(saved, tiny_config):
    same = ("TEST.AUG.ENABLED", True, "TEST.AUG.FLIP", False, "TEST.AUG.MIN_SIZES", (32,))
    results = evaluate(tiny_config("MODEL.WEIGHTS", saved[1], *same), resume=False)
    assert results["sem_seg_TTA"] == pytest.approx(results["sem_seg"])
