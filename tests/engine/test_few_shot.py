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
from freeseg.engine.few_shot import FewShotJob, few_shot_table

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
