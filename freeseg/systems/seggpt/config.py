"""SegGPT's keys, and their translation into parts; see `freeseg.config`."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from freeseg.systems.seggpt.network import PaintingSizes
from freeseg.systems.seggpt.training import ContextTraining


def add_seggpt_keys(cfg: CfgNode) -> None:
    """Adds the section of SegGPT; the release has no yaml, so all of it is ours."""
    cfg.MODEL.SEGGPT = node = CfgNode()
    node.IMAGE_SIZE = 448  # side of the squares that photos are squeezed into
    node.PATCH_SIZE = 16
    node.EMBED_DIM = 1024
    node.DEPTH = 24
    node.NHEADS = 16
    node.MLP_RATIO = 4.0
    node.QKV_BIAS = True
    node.NORM_EPS = 1e-6
    node.PRETRAIN_GRID = 14  # rows and columns of the table of positions
    node.TABLE_SIZE = 0  # IMAGE_SIZE of a training whose weights go on at another; 0: the same
    node.MERGE_BLOCK = 2  # behind which photos and targets become one stream
    node.TAPS = [5, 11, 17, 23]  # blocks whose tokens are decoded
    node.DECODER_DIM = 64
    node.KINDS = True  # type tokens; Painter has none
    node.DROP_PATH = 0.1  # of the last block
    node.MAX_COLOURS = 8  # objects that are painted at once; more go in several passes
    node.ENSEMBLE = "feature"  # several examples: averaged in every block, or "spatial", in a grid
    node.TRAIN = train = CfgNode()
    train.LOSS = "smooth_l1"  # smooth_l1, l1, l2, l1l2
    train.RANDOM_COLOURS = True  # False: every class has one colour for good
    train.GRID = 0.5  # probability that examples share a square
    train.LOWER_HALF = 0.1  # probability that the query is hidden whole, and nothing else
    train.CROP = 0.9  # probability that a canvas of classes is cropped across both halves
    train.BACKGROUND_WEIGHT = 1.0  # of black pixels of classes
    train.BALANCE = 0.0  # 1: objects of a canvas count alike, whatever their size; 0: pixels do


def painting_sizes(cfg: CfgNode) -> PaintingSizes:
    """Sizes of the network.

    Raises:
        ValueError: They do not fit together.
    """
    node = cfg.MODEL.SEGGPT
    return PaintingSizes(
        side=node.IMAGE_SIZE,
        patch=node.PATCH_SIZE,
        width=node.EMBED_DIM,
        depth=node.DEPTH,
        num_heads=node.NHEADS,
        mlp_ratio=node.MLP_RATIO,
        qkv_bias=node.QKV_BIAS,
        norm_eps=node.NORM_EPS,
        pretrain_grid=node.PRETRAIN_GRID,
        table_side=node.TABLE_SIZE,
        merge_block=node.MERGE_BLOCK,
        taps=tuple(node.TAPS),
        decoder_width=node.DECODER_DIM,
        drop_path=node.DROP_PATH,
        has_kinds=node.KINDS,
    )


def seggpt_settings(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of the system that are no parts."""
    node = cfg.MODEL.SEGGPT
    return {"ensemble": node.ENSEMBLE, "max_colours": node.MAX_COLOURS, "loss": node.TRAIN.LOSS}


def context_training(cfg: CfgNode) -> ContextTraining:
    """How canvases of training are made."""
    node = cfg.MODEL.SEGGPT
    return ContextTraining(
        side=node.IMAGE_SIZE,
        patch=node.PATCH_SIZE,
        random_colours=node.TRAIN.RANDOM_COLOURS,
        grid_share=node.TRAIN.GRID,
        lower_half_share=node.TRAIN.LOWER_HALF,
        crop_share=node.TRAIN.CROP,
        background_weight=node.TRAIN.BACKGROUND_WEIGHT,
        balance=node.TRAIN.BALANCE,
    )
