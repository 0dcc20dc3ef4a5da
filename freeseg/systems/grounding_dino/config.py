"""Grounding DINO's keys, and their translation into parts; see `freeseg.config`."""

from __future__ import annotations

from typing import Any

from torch import nn

from detectron2.config import CfgNode
from detectron2.modeling import Backbone, build_backbone
from freeseg.layers.deformable import DeformableEncoderLayer
from freeseg.names import with_own_names
from freeseg.systems.grounding_dino.captions import TextSide
from freeseg.systems.grounding_dino.decoder import GroundingDecoder, GroundingDecoderLayer
from freeseg.systems.grounding_dino.enhancer import Enhancer, TextLayer
from freeseg.systems.grounding_dino.features import Levels
from freeseg.systems.grounding_dino.fusion import FusionLayer
from freeseg.systems.grounding_dino.scores import WordScores
from freeseg.systems.grounding_dino.selection import QuerySelection
from freeseg.systems.grounding_dino.training import BoxTraining
from freeseg.text import build_text_encoder
from freeseg.text.bert import BertEncoder


def add_grounding_dino_keys(cfg: CfgNode) -> None:
    """Adds the section of Grounding DINO, under names of our own: the release has no yaml."""
    cfg.MODEL.GROUNDING_DINO = node = CfgNode()
    node.IN_FEATURES = ["res3", "res4", "res5"]  # maps of MODEL.BACKBONE, fine to coarse
    node.NUM_LEVELS = 4  # those that the backbone does not have are made of its last one
    node.HIDDEN_DIM = 256
    node.NHEADS = 8
    node.DIM_FEEDFORWARD = 2048  # half of it in text layers and inside the fusion
    node.ENC_LAYERS = 6
    node.DEC_LAYERS = 6
    node.NUM_POINTS = 4  # per head and level
    node.NUM_QUERIES = 900
    node.TEMPERATURE = 20.0  # of the positions of pixels
    node.FUSION_DROP_PATH = 0.1
    node.MAX_TOKENS = 256  # of a caption; longer class lists are cut into parts
    node.MAX_NAMES = 80  # of a part
    node.SHARED_HEADS = True  # one head for boxes in all layers; MM-Grounding-DINO: False
    node.CALIBRATED = False  # word scores are scaled and have a bias; MM-Grounding-DINO: True
    node.HEAD_EPSILON = 1e-3  # nearest to 0 and 1 before a box is predicted; MM: 1e-5
    node.FREEZE = []  # what does not learn: "image" (the backbone), "text" (the BERT)
    node.TRAIN = train = CfgNode()
    train.COSTS = [1.0, 5.0, 2.0]  # of matching: words, L1, GIoU
    train.WEIGHTS = [2.0, 5.0, 2.0]  # of losses, likewise
    node.MIN_SCORE = 0.0  # of answers
    node.READINGS = 3  # boxes at most for a phrase, the best first


def box_training(cfg: CfgNode) -> BoxTraining:
    """How it is trained."""
    train = cfg.MODEL.GROUNDING_DINO.TRAIN
    names = ("loss_ce", "loss_bbox", "loss_giou")
    return BoxTraining(
        costs=dict(zip(names, train.COSTS, strict=True)),
        weights=dict(zip(names, train.WEIGHTS, strict=True)),
    )


def grounding_dino_parts(cfg: CfgNode) -> dict[str, nn.Module]:
    """The untrained parts of the system, by the names of its arguments.

    Raises:
        ValueError: The text encoder is none of whose tokens some see only some, or something is to
            be frozen that is not there.
    """
    node = cfg.MODEL.GROUNDING_DINO
    unknown = sorted(set(node.FREEZE) - {"image", "text"})
    if unknown:
        raise ValueError(f"MODEL.GROUNDING_DINO.FREEZE knows image and text, got {unknown}")
    backbone: Backbone = build_backbone(with_own_names(cfg))
    if "image" in node.FREEZE:
        backbone.requires_grad_(False)
    shapes = backbone.output_shape()
    return {
        "backbone": backbone,
        "levels": Levels(
            in_channels=[shapes[name].channels for name in node.IN_FEATURES],
            channels=node.HIDDEN_DIM,
            num_levels=node.NUM_LEVELS,
            temperature=node.TEMPERATURE,
        ),
        "text_side": _text_side(cfg),
        "enhancer": _enhancer(node),
        "selection": QuerySelection(
            channels=node.HIDDEN_DIM,
            num_queries=node.NUM_QUERIES,
            word_scores=WordScores(channels=node.HIDDEN_DIM, is_calibrated=node.CALIBRATED),
        ),
        "decoder": _decoder(node),
    }


def _text_side(cfg: CfgNode) -> TextSide:
    node = cfg.MODEL.GROUNDING_DINO
    encoder: Any = build_text_encoder(cfg)
    if not isinstance(encoder, BertEncoder):
        raise ValueError(
            f"Grounding DINO reads captions by a BERT: MODEL.TEXT_ENCODER.NAME is bert, "
            f"bert_untrained or minilm, got {cfg.MODEL.TEXT_ENCODER.NAME}"
        )
    encoder.requires_grad_("text" not in node.FREEZE)
    return TextSide(
        encoder=encoder,
        channels=node.HIDDEN_DIM,
        max_tokens=node.MAX_TOKENS,
        max_names=node.MAX_NAMES,
        saves_encoder=cfg.MODEL.TEXT_ENCODER.SAVE,
    )


def _deformable(node: CfgNode) -> dict[str, int]:
    """What layers of the enhancer and of the decoder have in common."""
    return {
        "channels": node.HIDDEN_DIM,
        "hidden_channels": node.DIM_FEEDFORWARD,
        "num_heads": node.NHEADS,
        "num_levels": node.NUM_LEVELS,
        "num_points": node.NUM_POINTS,
    }


def _enhancer(node: CfgNode) -> Enhancer:
    """Text layers and fusion have half the heads and half the width of the image's layers."""
    channels, inner, heads = node.HIDDEN_DIM, node.DIM_FEEDFORWARD // 2, node.NHEADS // 2
    count = range(node.ENC_LAYERS)
    return Enhancer(
        fusion_layers=[
            FusionLayer(
                channels=channels,
                inner_channels=inner,
                num_heads=heads,
                drop_path=node.FUSION_DROP_PATH,
            )
            for _ in count
        ],
        text_layers=[
            TextLayer(channels=channels, hidden_channels=inner, num_heads=heads) for _ in count
        ],
        layers=[DeformableEncoderLayer(**_deformable(node), dropout=0.0) for _ in count],
    )


def _decoder(node: CfgNode) -> GroundingDecoder:
    layers = [GroundingDecoderLayer(**_deformable(node)) for _ in range(node.DEC_LAYERS)]
    return GroundingDecoder(
        layers=layers,
        channels=node.HIDDEN_DIM,
        shares_heads=node.SHARED_HEADS,
        word_scores=[
            WordScores(channels=node.HIDDEN_DIM, is_calibrated=node.CALIBRATED)
            for _ in range(1 if node.SHARED_HEADS else len(layers))
        ],
        head_epsilon=node.HEAD_EPSILON,
    )
