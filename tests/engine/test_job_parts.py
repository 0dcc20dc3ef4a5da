"""What a job's command line and configuration become, part by part."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from detectron2.utils.env import seed_all_rng
from freeseg.engine import AtomicCheckpointer, Trainer, evaluate, job, start_job
from freeseg.engine.job import evaluation_config, load_config, run_job
from freeseg.inference import AugmentedSemantic, SlidingWindow


def test_processes_are_launched_as_the_command_line_says(tiny_arguments, monkeypatch):
    asked = []
    monkeypatch.setattr(job, "launch", lambda *given, **more: asked.append((given, more)))
    flags = [
        "--num-gpus",
        "3",
        "--num-machines",
        "4",
        "--machine-rank",
        "2",
        "--dist-url",
        "tcp://a:1",
    ]
    args = tiny_arguments(flags=flags)
    start_job(args)
    where = {"num_machines": 4, "machine_rank": 2, "dist_url": "tcp://a:1"}
    assert asked == [((run_job, 3), {"device": "cpu", **where, "args": (args,)})]


def test_an_interrupted_job_says_how_to_go_on(tiny_arguments, monkeypatch, caplog):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "launch", interrupt)
    with pytest.raises(SystemExit) as stopped:
        start_job(tiny_arguments())
    assert stopped.value.code == 130
    assert stopped.value.__suppress_context__
    assert caplog.messages == ["interrupted: --resume goes on from the last checkpoint"]


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("is_evaluation", [True, False])
def test_a_job_trains_or_evaluates(tiny_arguments, monkeypatch, tmp_path, resume, is_evaluation):
    order = []

    def evaluate(cfg):
        order.append(("evaluate", cfg.OUTPUT_DIR, cfg.MODEL.IS_TRAIN))
        return lambda: "evaluated"

    def train(cfg, *, resume):
        order.append(("train", cfg.OUTPUT_DIR, cfg.MODEL.IS_TRAIN, resume))
        return lambda: "trained"

    monkeypatch.setattr(job, "_prepare_evaluation", evaluate)
    monkeypatch.setattr(job, "_prepare_training", train)
    monkeypatch.setattr(job, "_set_torch", lambda cfg, *, is_training: order.append(is_training))
    monkeypatch.setattr(job, "register_release_names", lambda: order.append("names"))
    torch.save({}, tmp_path / "model_final.pth")
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    (tmp_path / "config.yaml").write_text("{}")
    flags = ["--resume"] * resume + ["--eval-only"] * is_evaluation
    args = tiny_arguments("MODEL.WEIGHTS", "given.pth", flags=flags)
    seen = []
    plain = job.evaluation_config
    monkeypatch.setattr(
        job,
        "evaluation_config",
        lambda cfg, *, resume: seen.append(resume) or plain(cfg, resume=resume),
    )
    if is_evaluation:
        assert run_job(args) == "evaluated"
        assert order == ["names", False, ("evaluate", str(tmp_path / "evaluation"), False)]
        assert seen == [resume]
        assert (tmp_path / "evaluation/log.txt").is_file()
    else:
        assert run_job(args) == "trained"
        assert order == ["names", True, ("train", str(tmp_path), True, resume)]
        assert (tmp_path / "log.txt").is_file()


def test_a_training_begins_with_or_without_its_checkpoint(tiny_config, monkeypatch):
    asked = []
    monkeypatch.setattr(Trainer, "resume_or_load", lambda self, resume: asked.append(resume))
    for resume in (True, False):
        train = job._prepare_training(tiny_config("DATASETS.TEST", ()), resume=resume)
        assert train.__func__ is Trainer.train
    assert asked == [True, False]


@pytest.mark.parametrize("has_cuda", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_where_there_is_no_gpu_the_cpu_serves(
    tiny_arguments, monkeypatch, caplog, has_cuda, device
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    with caplog.at_level(logging.INFO, "freeseg"):
        cfg = load_config(tiny_arguments("MODEL.DEVICE", device, "SEED", 3))
        job._set_torch(cfg, is_training=False)
    unused = "MODEL.DEVICE is cpu: the GPU of this machine is not used"
    absent = "MODEL.DEVICE is cuda:1 but there is no CUDA: using cpu"
    said = {("cpu", True): [unused], ("cuda:1", False): [absent]}.get((device, has_cuda), [])
    assert caplog.messages == said
    assert (device if has_cuda else "cpu") == cfg.MODEL.DEVICE


def test_files_give_way_to_the_command_line(tiny_arguments, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(
        "SOLVER: {BASE_LR: 0.5, MAX_ITER: 77}\nDATASETS: {TEST_PANOPTIC: ['one', '']}\n"
    )
    args = tiny_arguments("SOLVER.MAX_ITER", 9, "DATASETS.TEST", ())
    args.config_file = str(file)
    args.opts = [*args.opts, "SOLVER.BASE_LR", "0.25"]
    cfg = load_config(args)
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER) == (0.25, 9)
    assert cfg.DATASETS.TEST == ("one",)
    assert cfg.is_frozen()
    assert cfg.MODEL.IS_TRAIN is True
    args.opts, args.eval_only = None, True
    cfg = load_config(args)
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER, cfg.MODEL.IS_TRAIN) == (0.5, 77, False)


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("has_model", [True, False])
def test_an_evaluation_has_its_own_folder_and_weights(tiny_config, tmp_path, resume, has_model):
    cfg = tiny_config("MODEL.WEIGHTS", "given.pth")
    if has_model:
        AtomicCheckpointer(nn.Linear(1, 1), str(tmp_path)).save("model_0000007")
        (tmp_path / "config.yaml").write_text("{}")
    found = evaluation_config(cfg, resume=resume)
    last = str(tmp_path / "model_0000007.pth")
    assert (last if resume and has_model else "given.pth") == found.MODEL.WEIGHTS
    assert found.is_frozen()
    assert cfg.MODEL.WEIGHTS == "given.pth"


@pytest.mark.parametrize("rank", [0, 3])
def test_every_process_has_numbers_of_its_own(tiny_config, monkeypatch, rank):
    monkeypatch.setattr(job.comm, "get_rank", lambda: rank)
    job._set_torch(tiny_config("SEED", 40), is_training=False)
    drawn = torch.rand(3)
    seed_all_rng(40 + rank)
    assert torch.equal(torch.rand(3), drawn)


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 2))


def test_random_weights_are_evaluated_aloud(tiny_config, model, caplog):
    before = model[0].weight.clone()
    with caplog.at_level(logging.WARNING, "freeseg"):
        job._load_weights(tiny_config("MODEL.WEIGHTS", ""), model)
    assert "MODEL.WEIGHTS is empty: evaluating a model with random weights" in caplog.messages
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("is_allowed", [True, False])
def test_weights_must_fit_unless_they_need_not(tiny_config, model, tmp_path, caplog, is_allowed):
    state = {"0.weight": torch.full((2, 2), 7.0), "gone.weight": torch.ones(1)}
    torch.save({"model": state}, tmp_path / "w.pth")
    cfg = tiny_config("MODEL.WEIGHTS", tmp_path / "w.pth", "MODEL.ALLOW_MISFIT", is_allowed)
    if is_allowed:
        job._load_weights(cfg, model)
        assert (model[0].weight == 7).all()
        assert not any("is empty" in line for line in caplog.messages)
        return
    with pytest.raises(ValueError, match=r"w\.pth"):
        job._load_weights(cfg, model)


@pytest.mark.parametrize("is_main", [True, False])
@pytest.mark.parametrize("results", [{"sem_seg": {"mIoU": 1.0}}, {}])
def test_the_main_process_alone_reports(tiny_config, monkeypatch, tmp_path, is_main, results):
    verified = []
    monkeypatch.setattr(job.comm, "is_main_process", lambda: is_main)
    monkeypatch.setattr(Trainer, "test", classmethod(lambda *_: results))
    monkeypatch.setattr(job, "verify_results", lambda cfg, found: verified.append(found))
    expected = ("TEST.EXPECTED_RESULTS", [["sem_seg", "mIoU", 1.0, 0.1]])
    cfg = tiny_config("MODEL.WEIGHTS", "", *expected)
    assert job._evaluate(cfg, nn.Identity()) == results
    names = {path.name for path in tmp_path.iterdir()}
    reported = {"results.json", "results.md"} if results else set()
    assert names == ({"config.yaml", *reported} if is_main else set())
    assert verified == ([results] if is_main and results else [])
    if is_main and results:
        stored = json.loads((tmp_path / "results.json").read_text())
        assert stored["weights"] == "random weights"
        assert f"\nOUTPUT_DIR: {tmp_path}\n" in (tmp_path / "config.yaml").read_text()
        assert Path(tmp_path / "results.md").read_text().endswith("Weights: random weights\n")


@pytest.mark.parametrize("slides", [True, False])
def test_copies_of_photos_are_asked_for_semantic_results_alone(
    tiny_config, monkeypatch, tmp_path, slides
):
    asked = []

    def note(cls, cfg, model, evaluators=None):
        node = cfg.MODEL.MASK_FORMER.TEST
        tasks = (node.SEMANTIC_ON, node.INSTANCE_ON, node.PANOPTIC_ON)
        asked.append((tasks, cfg.DATASETS.TEST, cfg.OUTPUT_DIR, cfg.TEST.AUG.IS_SLIDE, model))
        return {"sem_seg": {"mIoU": 1.0}}

    monkeypatch.setattr(Trainer, "test", classmethod(note))
    tasks = [f"MODEL.MASK_FORMER.TEST.{task}_ON" for task in ("SEMANTIC", "INSTANCE", "PANOPTIC")]
    on = [word for task in tasks for word in (task, True)]
    copies = ("TEST.AUG.ENABLED", True, "TEST.AUG.MIN_SIZES", (32,), "TEST.AUG.IS_SLIDE", slides)
    cfg, model = tiny_config(*on, *copies), nn.Identity()
    assert job._evaluate_augmented(cfg, model) == {"sem_seg_TTA": {"mIoU": 1.0}}
    [(found, sets, folder, is_slide, wrapped)] = asked
    assert (found, sets, is_slide) == ((True, False, False), ("tiny_val",), False)
    assert folder == str(tmp_path / "augmented")
    assert isinstance(wrapped, AugmentedSemantic)
    assert any(isinstance(one, SlidingWindow) for one in wrapped.modules()) is slides
    assert any(one is model for one in wrapped.modules())
    assert job._evaluate_augmented(tiny_config(), model) == {}


def test_evaluations_that_another_calls_have_their_own_folder_too(tiny_config, monkeypatch):
    order = []
    monkeypatch.setattr(job, "check_datasets", lambda cfg, **more: order.append(more))
    monkeypatch.setattr(job, "_load_weights", lambda cfg, model: order.append(cfg.MODEL.WEIGHTS))
    monkeypatch.setattr(job, "_evaluate", lambda cfg, model: order.append(type(model)) or "done")
    for resume, weights in ((True, "last.pth"), (False, "given.pth")):
        monkeypatch.setattr(
            *(job, "evaluation_config"),
            lambda cfg, *, resume: tiny_config("MODEL.WEIGHTS", ("given.pth", "last.pth")[resume]),
        )
        assert evaluate(tiny_config(), resume=resume) == "done"
        assert order[:2] == [{"is_training": False}, weights]
        assert order[2].__name__ == "TinySegmenter"
        order.clear()
