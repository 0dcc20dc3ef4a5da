"""A benchmark in miniature, from files to the table, with results counted by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from detectron2.config import get_cfg
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg import add_freeseg_config
from freeseg.data.photos import PhotoReader
from freeseg.engine.few_shot import FewShotJob, few_shot_table, load_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


@META_ARCH_REGISTRY.register()
class RedIsForeground(nn.Module):
    """Takes what is red for the class, whatever the class is called; cats it never finds."""

    def __init__(self, cfg):
        super().__init__()
        del cfg
        self.asked = []

    def forward(self, inputs):
        self.asked += [x["vocabulary"].names for x in inputs]
        return [
            {"sem_seg": (x["image"][0] > 127).long() * (x["vocabulary"].names[1] != "cat")}
            for x in inputs
        ]


@pytest.fixture
def cfg():
    config = get_cfg()
    add_freeseg_config(config)
    config.INPUT.FORMAT = "RGB"
    config.DATALOADER.NUM_WORKERS = 0
    config.MODEL.DEVICE, config.MODEL.META_ARCHITECTURE = "cpu", "RedIsForeground"
    return config


def add_image(root, name, red, labels):
    """A photo whose `red` columns are red, and its mask; columns are 8 pixels wide."""
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    for column in red:
        pixels[:, 8 * column : 8 * column + 8, 0] = 255
    mask = np.repeat(np.array([labels], dtype=np.uint8), 8, axis=1).repeat(32, axis=0)
    for folder, picture, suffix in (
        ("JPEGImages", pixels, "jpg"),
        ("SegmentationClassAug", mask, "png"),
    ):
        path = root / "VOC2012" / folder / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, **({"quality": 100} if suffix == "jpg" else {}))


@pytest.fixture
def root(tmp_path):
    add_image(tmp_path, "a", red=[0, 1], labels=[1, 1, 0, 0])  # aeroplane: found as it is
    add_image(tmp_path, "b", red=[0, 1], labels=[1, 0, 0, 255])  # aeroplane: 1 of 2
    add_image(tmp_path, "c", red=[3], labels=[0, 0, 3, 3])  # bird: 1 of 2
    add_image(tmp_path, "d", red=[0], labels=[8, 0, 0, 0])  # cat: never found
    add_image(tmp_path, "e", red=[0], labels=[7, 0, 0, 0])  # car: found
    lists = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("a\nb\nc\nd\ne\n")
    return tmp_path


@pytest.mark.parametrize("side", [0, 64])
def test_by_hand(cfg, root, side):
    job = FewShotJob("pascal_5i", root, ("0", "1"), num_episodes=6, side=side)
    results = job.run(cfg)
    first, second = results["0"], results["1"]
    # columns: aeroplane 3 of 4, bird 1 of 2; six episodes show every image twice
    assert first["IoU-aeroplane"] == pytest.approx(75.0, abs=1.0)
    assert first["IoU-bird"] == pytest.approx(50.0, abs=1.0)
    assert first["mIoU"] == pytest.approx(62.5, abs=1.0)
    # background: a 2 of 2, b 1 of 2, c 2 of 3; foreground 4 of 6
    assert first["FB-IoU"] == pytest.approx(100 * (5 / 7 + 4 / 6) / 2, abs=1.0)
    assert second["mIoU"] == pytest.approx(50.0, abs=1.0)
    table = few_shot_table({"0": {"mIoU": 62.5, "FB-IoU": 70}, "1": {"mIoU": 50, "FB-IoU": 60}})
    assert table.splitlines()[2:] == [
        "| 0 | 62.50 | 70.00 |",
        "| 1 | 50.00 | 60.00 |",
        "| mean | 56.25 | 65.00 |",
    ]


def test_weights_of_every_fold_have_their_own_file(cfg, root, monkeypatch):
    from freeseg.engine import few_shot

    asked = []
    model = RedIsForeground(cfg)
    monkeypatch.setattr(
        few_shot, "load_model", lambda _, weights: (asked.append(weights), model)[1]
    )
    cfg.MODEL.WEIGHTS = "checkpoints/pascal_fold{fold}.ckpt"
    FewShotJob("pascal_5i", root, ("0", "1"), num_episodes=1).run(cfg)
    assert asked == ["checkpoints/pascal_fold0.ckpt", "checkpoints/pascal_fold1.ckpt"]
    assert model.asked == [("others", "aeroplane"), ("others", "cat")]


@torch.no_grad()
def test_lseg_is_told_the_classes_name(cfg, root):
    from lseg_parts import tiny_lseg

    model, lists = tiny_lseg().eval(), []
    model.sem_seg_head.register_forward_pre_hook(lambda _, inputs: lists.append(inputs))
    text = model.text
    model.text = lambda vocabulary: (lists.append(vocabulary.names), text(vocabulary))[1]
    job = FewShotJob("pascal_5i", root, num_episodes=3, background="all the rest")
    results = job.run_fold(model, "0", cfg)
    assert lists == [("all the rest", "aeroplane")] * 2 + [("all the rest", "bird")]
    assert 0 <= results["mIoU"] <= 100


def test_a_fold_is_read_as_the_job_says(cfg, root, monkeypatch):
    from freeseg.engine import few_shot

    asked = {}

    def sample(benchmark, examples, **given):
        asked["sampled"] = (benchmark.name, [one.image.stem for one in examples], given)
        return ["the episodes"]

    def loader(episodes, mapper, num_workers):
        asked["loader"] = (episodes, vars(mapper), num_workers)
        return "the loader"

    def judge(model, loader, evaluator):
        assert not torch.is_grad_enabled()
        asked["judged"] = (model, loader, evaluator)
        return {"few_shot": {"mIoU": 1.0}}

    monkeypatch.setattr(few_shot, "sample_episodes", sample)
    monkeypatch.setattr(few_shot, "build_episode_loader", loader)
    monkeypatch.setattr(few_shot, "inference_on_dataset", judge)
    monkeypatch.setattr(few_shot, "FewShotEvaluator", lambda names: names)
    cfg.INPUT.FORMAT, cfg.DATALOADER.NUM_WORKERS, cfg.INPUT.WHITE_LEVEL = "BGR", 3, 4095
    job = FewShotJob("pascal_5i", root, (), 5, 7, 11, 64, "all the rest", True)
    assert job.run_fold("the model", "0", cfg) == {"mIoU": 1.0}
    benchmark = few_shot.load_benchmark("pascal_5i")
    name, stems, given = asked["sampled"]
    assert name == benchmark.name
    assert sorted(stems) == ["a", "b", "c"]
    assert given == {"shots": 5, "seed": 7, "count": 11}
    episodes, mapper, num_workers = asked["loader"]
    assert (episodes, num_workers) == (["the episodes"], 3)
    assert mapper == {
        **{"benchmark": benchmark, "image_format": "BGR", "side": 64},
        **{"background": "all the rest", "uses_release_texts": True},
        "reader": PhotoReader.from_config(cfg),
    }
    assert mapper["reader"] != PhotoReader()
    names = {number: benchmark.text(number) for number in benchmark.fold("0")}
    assert asked["judged"] == ("the model", "the loader", names)


@pytest.mark.parametrize("weights", ["all.pth", "{fold}/of {fold}.pth"])
@pytest.mark.parametrize("folds", [(), ("2", "0")])
def test_folds_share_a_model_or_have_their_own(cfg, monkeypatch, caplog, weights, folds):
    from freeseg.engine import few_shot

    loaded, asked = [], []
    monkeypatch.setattr(few_shot, "load_model", lambda _, path: loaded.append(path) or path)

    def run_fold(self, model, fold, _):
        asked.append((model, fold))
        return {"mIoU": float(fold) + 0.126, "FB-IoU": 50.0}

    monkeypatch.setattr(FewShotJob, "run_fold", run_fold)
    cfg.MODEL.WEIGHTS = weights
    with caplog.at_level("INFO", "freeseg"):
        results = FewShotJob("pascal_5i", Path("x"), folds).run(cfg)
    names = list(folds or "0123")
    paths = [weights.replace("{fold}", name) for name in names]
    assert asked == list(zip(paths, names))
    assert loaded == (paths if "{fold}" in weights else ["all.pth"])
    assert {name: row["mIoU"] for name, row in results.items()} == {
        name: float(name) + 0.126 for name in names
    }
    assert caplog.messages[0] == f"pascal_5i, fold {names[0]}: mIoU {names[0]}.13, FB-IoU 50.00"


@pytest.mark.parametrize("is_allowed", [True, False])
def test_weights_must_fit_unless_they_need_not(cfg, tmp_path, is_allowed):
    cfg.MODEL.ALLOW_MISFIT = is_allowed
    torch.save({"model": {"another.weight": torch.ones(1)}}, tmp_path / "w.pth")
    if is_allowed:
        assert not load_model(cfg, str(tmp_path / "w.pth")).training
        return
    with pytest.raises(ValueError, match=r"another\.weight"):
        load_model(cfg, str(tmp_path / "w.pth"))


def test_one_fold_has_no_mean():
    table = few_shot_table({"0": {"mIoU": 62.5, "FB-IoU": 70}})
    assert table.splitlines() == [
        *("| fold | mIoU | FB-IoU |", "| --- | ---: | ---: |", "| 0 | 62.50 | 70.00 |")
    ]


def test_a_job_is_the_protocols_unless_told():
    assert vars(FewShotJob("fss_1000", Path("x"))) == {
        **{"benchmark": "fss_1000", "root": Path("x"), "folds": (), "shots": 0, "seed": 0},
        **{"num_episodes": None, "side": 480, "background": "others"},
        "uses_release_texts": False,
    }
