from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from freeseg.data.problems import RefusalError
from freeseg.engine import Trainer, evaluate, job, start_job

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


def test_copies_of_photos_are_for_datasets_with_semantic_truth(saved, tiny_config, monkeypatch):
    copies = ("TEST.AUG.ENABLED", True, "TEST.AUG.MIN_SIZES", (32,), "MODEL.WEIGHTS", saved[1])
    known = {"tiny_val": ("semantic",), "tiny_train": ("instance",)}
    monkeypatch.setattr(job, "judges", known.__getitem__)
    both = evaluate(tiny_config(*copies, "DATASETS.TEST", tuple(known)), resume=False)
    assert set(both) == {*known, "tiny_val_TTA"}
    assert "sem_seg" in both["tiny_val_TTA"]
    alone = evaluate(tiny_config(*copies, "DATASETS.TEST", ("tiny_train",)), resume=False)
    assert not any(name.endswith("_TTA") for name in alone)


def files(folder):
    """What a folder holds, but for logs, to which every job adds."""
    logs = ("log.txt", "metrics.json")
    kept = [path for path in folder.rglob("*") if path.is_file() and path.name not in logs]
    return {path: path.read_bytes() for path in kept if "tfevents" not in path.name}


@pytest.fixture
def finished(tiny_arguments, one_thread, tmp_path):
    """The files of a training."""
    start_job(tiny_arguments("SOLVER.MAX_ITER", 1))
    return files(tmp_path)


REFUSED = {
    "another number of classes": ("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2),
    "no set": ("DATASETS.TRAIN", ()),
    "no batch": ("SOLVER.IMS_PER_BATCH", 0),
    "a metric that nobody computes": ("TEST.BEST_METRIC", "segm/best"),
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_a_refused_training_says_only_why_and_changes_nothing(
    finished, tiny_arguments, tmp_path, capfd, options
):
    capfd.readouterr()
    with pytest.raises(RefusalError):
        start_job(tiny_arguments(*options))
    assert files(tmp_path) == finished
    assert capfd.readouterr().out == ""


def test_a_training_that_fails_in_its_first_step_changes_nothing(
    finished, tiny, tiny_arguments, tmp_path, monkeypatch
):
    monkeypatch.setattr(tiny.TinySegmenter, "logits", lambda self, images: images[:, :3] / 0)
    with pytest.raises(FloatingPointError, match="not finite at iteration 0"):
        start_job(tiny_arguments("SOLVER.MAX_ITER", 2, "SOLVER.BASE_LR", 0.5))
    now = files(tmp_path)
    assert {path: now[path] for path in finished} == finished


def test_the_configuration_is_that_of_the_last_training(finished, tiny_arguments, tmp_path):
    start_job(tiny_arguments("SOLVER.MAX_ITER", 1, "SOLVER.BASE_LR", 0.5))
    assert "BASE_LR: 0.5" in (tmp_path / "config.yaml").read_text()


def test_an_evaluation_leaves_what_a_training_says_of_its_model(finished, tiny_arguments, tmp_path):
    weights = ("MODEL.WEIGHTS", tmp_path / "model_final.pth")
    start_job(tiny_arguments(*weights, "INPUT.MIN_SIZE_TEST", 64, flags=["--eval-only"]))
    own = tmp_path / "evaluation"
    now = files(tmp_path)
    assert {path: now[path] for path in finished} == finished
    assert "MIN_SIZE_TEST: 64" in (own / "config.yaml").read_text()
    for folder, name in ((tmp_path, "model_final.pth"), (own, str(weights[1]))):
        assert json.loads((folder / "results.json").read_text())["weights"] == name
        assert f"Weights: {name}\n" in (folder / "results.md").read_text()
    assert "MIN_SIZE_TEST: 64" in (own / "log.txt").read_text()


def test_an_evaluation_resumes_with_the_last_checkpoint(finished, tiny_arguments, tmp_path):
    start_job(tiny_arguments(flags=["--eval-only", "--resume"]))
    results = json.loads((tmp_path / "evaluation/results.json").read_text())
    assert results["weights"] == str(tmp_path / "model_final.pth")
    assert results["tiny_val"] == json.loads((tmp_path / "results.json").read_text())["tiny_val"]


def test_two_processes_that_cannot_begin_say_so_in_one_line(in_two_processes, capfd):
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty") as error:
        in_two_processes("DATASETS.TRAIN", ())
    assert len(error.value.problems) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_a_job_says_once_that_there_is_no_gpu_and_gives_a_table_of_classes(
    saved, tiny_arguments, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    options = ("MODEL.DEVICE", "cuda", "MODEL.WEIGHTS", saved[1])
    start_job(tiny_arguments(*options, flags=["--eval-only"]))
    printed = (tmp_path / "log.txt").read_text()
    assert printed.count("there is no CUDA: using cpu") == 1
    assert capsys.readouterr().err == ""
    assert "OrderedDict" not in printed
    assert "| class | " in printed
