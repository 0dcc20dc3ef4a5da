"""Config keys of PointRend."""

from __future__ import annotations

from detectron2.config import CfgNode


def add_pointrend_config(cfg):
    """Add the keys of PointRend and Implicit PointRend to ``cfg``."""
    # A random crop is retried while one class covers more than this part of it.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    cfg.INPUT.COLOR_AUG_SSD = False

    coarse = cfg.MODEL.ROI_MASK_HEAD
    coarse.IN_FEATURES = ("p2",)
    coarse.NUM_FC, coarse.FC_DIM = 2, 1024
    coarse.OUTPUT_SIDE_RESOLUTION = 7
    coarse.POINT_HEAD_ON = False

    cfg.MODEL.POINT_HEAD = CfgNode(
        {
            "NAME": "StandardPointHead",
            "IN_FEATURES": ("p2",),
            "NUM_CLASSES": 80,
            "NUM_FC": 3,
            "FC_DIM": 256,
            "CLS_AGNOSTIC_MASK": False,
            "COARSE_PRED_EACH_LAYER": True,
            "COARSE_SEM_SEG_HEAD_NAME": "SemSegFPNHead",
            # Training: points per mask, and how many of them are sampled where it is uncertain.
            "TRAIN_NUM_POINTS": 14 * 14,
            "OVERSAMPLE_RATIO": 3,
            "IMPORTANCE_SAMPLE_RATIO": 0.75,
            # Inference: refinement steps and points refined in each.
            "SUBDIVISION_STEPS": 5,
            "SUBDIVISION_NUM_POINTS": 28 * 28,
        }
    )
    cfg.MODEL.IMPLICIT_POINTREND = CfgNode(
        {
            "IMAGE_FEATURE_ENABLED": True,
            "POS_ENC_ENABLED": True,
            "PARAMS_L2_REGULARIZER": 1e-5,
        }
    )
