"""LSeg's configurations are read, built and, shrunk, trained for one step."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.structures import BitMasks, Instances
from freeseg import add_freeseg_config, build_model
from freeseg.catalog import dataset_metadata
from freeseg.config import vit_arguments
from freeseg.engine import parameter_groups

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "configs/lseg"
ALL = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in CONFIGS.rglob("*.yaml")
    if not path.name.startswith("Base-")
)


def load(name: str):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / name))
    return cfg


def shrunk(name: str):
    cfg = load(name)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.DPT.PRETRAINED = False
    cfg.MODEL.DPT.EMBED_DIM, cfg.MODEL.DPT.NUM_HEADS = 24, 2
    cfg.MODEL.DPT.DEPTH, cfg.MODEL.DPT.TAPS = 4, [0, 1, 2, 3]
    cfg.MODEL.DPT.CHANNELS = [8, 8, 8, 8]
    cfg.MODEL.RESNETS.DEPTH = 50
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 8
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 4
    cfg.MODEL.RESNETS.NORM = cfg.MODEL.SEM_SEG_HEAD.NORM = "BN"  # SyncBN needs several GPUs
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 12
    cfg.MODEL.TEXT_ENCODER.NAME, cfg.MODEL.LSEG.EMBEDDING_DIM = "toy_clip", 64
    cfg.MODEL.TEXT_ENCODER.CACHE = False
    return cfg


def test_there_are_configurations():
    assert len(ALL) >= 12


@pytest.mark.parametrize("name", ALL)
def test_every_configuration_trains_a_step_when_shrunk(name):
    cfg = shrunk(name)
    model = build_model(cfg).train()
    datasets = cfg.DATASETS.TRAIN or cfg.DATASETS.TEST
    assert set(model.vocabularies) == set(datasets)
    batch = []
    for dataset in datasets:
        instances = Instances((64, 64))
        instances.gt_classes = torch.tensor(model.vocabularies[dataset].seen_classes()[:1])
        instances.gt_masks = BitMasks(torch.ones(1, 64, 64, dtype=torch.bool))
        image = torch.zeros(3, 64, 64)
        batch.append({"image": image, "instances": instances, "dataset_name": dataset})
    (loss,) = model(batch * 2).values()
    loss.backward()
    assert torch.isfinite(loss)
    assert loss > 0
    rates = {group["lr"] for group in parameter_groups(cfg, model)}
    wanted = {cfg.SOLVER.BASE_LR, cfg.SOLVER.BASE_LR * cfg.SOLVER.BACKBONE_MULTIPLIER}
    assert rates == wanted


@pytest.mark.parametrize("name", ["pascal_5i/rn101.yaml", "fss_1000/vitl16.yaml"])
def test_a_picture_of_any_size_is_segmented(name):
    model = build_model(shrunk(name)).eval()
    assert model.size_divisibility == 32
    with torch.no_grad():
        for height, width in ((75, 64), (61, 107)):  # no multiples of a stride
            (output,) = model([{"image": torch.zeros(3, height, width)}])
            assert output["sem_seg"].shape == (21, height, width)


def test_the_base_is_the_releases_recipe():
    cfg = load("ade20k/vitl16.yaml")
    solver = cfg.SOLVER
    assert (solver.OPTIMIZER, solver.MOMENTUM, solver.WEIGHT_DECAY) == ("SGD", 0.9, 1e-4)
    assert (solver.BASE_LR * solver.BACKBONE_MULTIPLIER, solver.BASE_LR) == (0.004, 0.04)
    assert solver.MAX_ITER == 240 * 20210 / 16
    assert (cfg.INPUT.BASE_SIZE, cfg.INPUT.IMAGE_SIZE) == (520, 480)
    assert cfg.MODEL.PIXEL_MEAN == cfg.MODEL.PIXEL_STD == [127.5, 127.5, 127.5]


def test_every_fold_of_a_benchmark_has_a_training_set_without_its_classes():
    for name in (name for name in ALL if re.match("(pascal_5i|coco_20i)/", name)):
        for dataset in load(name).DATASETS.TRAIN:
            assert 0 in dataset_metadata(dataset).trainable_flag


def test_variants_of_the_study_change_the_regularisation():
    study = runpy.run_path(str(ROOT / "tools/ablate.py"))["STUDIES"]["lseg"]()
    depths = set()
    for variant in study.variants:
        cfg = get_cfg()
        add_freeseg_config(cfg)
        cfg.merge_from_file(str(study.config))
        cfg.merge_from_list(list(variant.options))
        block = build_model(cfg).sem_seg_head.head_block
        depths.add(0 if block is None else block.depth)
    assert depths == {0, 1, 2, 4}


@pytest.mark.parametrize(
    ("options", "is_wanted"),
    [
        ([], True),
        (["MODEL.IS_TRAIN", False], False),
        (["MODEL.WEIGHTS", "demo_e200.ckpt"], False),
    ],
)
def test_only_a_new_training_asks_for_pretrained_weights(options, is_wanted):
    cfg = load("ade20k/vitl16.yaml")
    cfg.merge_from_list(options)
    assert vit_arguments(cfg)["pretrained"] is is_wanted
