import os

import pytest

from detectron2 import model_zoo

MASK_RCNN = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x"
WEIGHTS = (
    "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x/"
    "137260431/model_final_a54504.pkl"
)


def test_yaml_config():
    assert os.path.isfile(model_zoo.get_config_file(MASK_RCNN + ".yaml"))
    cfg = model_zoo.get_config(MASK_RCNN + ".yaml")
    assert cfg.MODEL.META_ARCHITECTURE == "GeneralizedRCNN"
    assert cfg.MODEL.BACKBONE.NAME == "build_resnet_fpn_backbone"
    assert cfg.MODEL.MASK_ON is True
    assert cfg.MODEL.RPN.IN_FEATURES == ["p2", "p3", "p4", "p5", "p6"]
    assert cfg.MODEL.ROI_BOX_HEAD.NUM_FC == 2
    assert cfg.INPUT.MIN_SIZE_TRAIN == (640, 672, 704, 736, 768, 800)
    assert cfg.SOLVER.STEPS == (60000, 80000)
    assert cfg.DATASETS.TEST == ("coco_2017_val",)
    assert cfg.MODEL.WEIGHTS.startswith("detectron2://ImageNetPretrained")
    assert model_zoo.get_config(MASK_RCNN + ".yaml", trained=True).MODEL.WEIGHTS == WEIGHTS


def test_lazy_config():
    cfg = model_zoo.get_config(MASK_RCNN + ".py", trained=True)
    assert cfg.train.init_checkpoint == WEIGHTS
    assert cfg.train.max_iter == 90000
    assert cfg.optimizer.lr == 0.02
    assert cfg.dataloader.train.total_batch_size == 16
    assert cfg.dataloader.test.mapper.image_format == "BGR"


def test_checkpoint_url():
    assert model_zoo.get_checkpoint_url(MASK_RCNN + ".yaml") == WEIGHTS
    with pytest.raises(RuntimeError, match="not available"):
        model_zoo.get_checkpoint_url("no/such.yaml")


def test_unknown_config():
    with pytest.raises(RuntimeError, match="not available"):
        model_zoo.get_config("no/such.yaml")
