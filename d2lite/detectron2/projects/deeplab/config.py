"""Config keys of DeepLab."""

from __future__ import annotations


def add_deeplab_config(cfg):
    """Add DeepLab's keys to ``cfg``."""
    # A random crop is retried while one class covers more than this part of it.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0

    # LR_SCHEDULER_NAME "WarmupPolyLR": exponent, and the fraction of the rate it never goes below.
    cfg.SOLVER.POLY_LR_POWER = 0.9
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 0.0

    head = cfg.MODEL.SEM_SEG_HEAD
    head.ASPP_CHANNELS, head.ASPP_DROPOUT = 256, 0.1
    head.ASPP_DILATIONS = [6, 12, 18]
    head.LOSS_TYPE = "hard_pixel_mining"  # or "cross_entropy"
    head.PROJECT_FEATURES, head.PROJECT_CHANNELS = ["res2"], [48]
    head.USE_DEPTHWISE_SEPARABLE_CONV = False

    resnet = cfg.MODEL.RESNETS
    resnet.STEM_TYPE = "deeplab"  # or "basic"
    resnet.RES4_DILATION = 1
    resnet.RES5_MULTI_GRID = [1, 2, 4]  # factors on the dilation of the blocks of res5
