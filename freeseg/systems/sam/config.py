"""SAM's keys, and their translation into parts; see `freeseg.config`."""

from __future__ import annotations

from typing import Any

from torch import nn

from detectron2.config import CfgNode
from freeseg.modeling.decoder.two_way import TwoWayTransformer
from freeseg.systems.sam.mask_decoder import MaskDecoder
from freeseg.systems.sam.prompt_encoder import PromptEncoder


def add_sam_keys(cfg: CfgNode) -> None:
    """Adds the section of SAM; the release has no yaml, so all of it is ours."""
    cfg.MODEL.SAM = node = CfgNode()
    node.ENCODER = "vit"  # vit, tiny_vit (MobileSAM's)
    node.IMAGE_SIZE = 1024  # side of the square that photos are padded to
    node.EMBEDDING_DIM = 256  # of the embedding and all behind it
    node.MASK_CHANNELS = 16  # inside the convolutions of masks as prompts
    node.DEC_LAYERS = 2  # two-way blocks
    node.NHEADS = 8
    node.DIM_FEEDFORWARD = 2048
    node.NARROWING = 2  # attention between tokens and image is so many times narrower
    node.QUALITY_LAYERS = 3
    node.QUALITY_DIM = 256
    node.VIT = vit = CfgNode()
    vit.EMBED_DIM = 768
    vit.DEPTH = 12
    vit.NHEADS = 12
    vit.GLOBAL_BLOCKS = [2, 5, 8, 11]  # numbers, from 0, of blocks without windows
    vit.WINDOW = 14  # side in patches
    vit.PATCH_SIZE = 16
    vit.MLP_RATIO = 4.0
    vit.QKV_BIAS = True
    node.TINY_VIT = tiny = CfgNode()
    tiny.EMBED_DIMS = [64, 128, 160, 320]  # of the four stages
    tiny.DEPTHS = [2, 2, 6, 2]
    tiny.NHEADS = [2, 4, 5, 10]
    tiny.WINDOWS = [7, 7, 14, 7]


def sam_parts(cfg: CfgNode) -> dict[str, nn.Module]:
    """The untrained parts of the system, by the names of its arguments."""
    node = cfg.MODEL.SAM
    channels = node.EMBEDDING_DIM
    return {
        "image_encoder": _image_encoder(node),
        "prompt_encoder": PromptEncoder(channels=channels, mask_channels=node.MASK_CHANNELS),
        "mask_decoder": MaskDecoder(
            transformer=TwoWayTransformer(
                channels=channels,
                num_layers=node.DEC_LAYERS,
                num_heads=node.NHEADS,
                hidden_channels=node.DIM_FEEDFORWARD,
                narrowing=node.NARROWING,
            ),
            channels=channels,
            quality_layers=node.QUALITY_LAYERS,
            quality_channels=node.QUALITY_DIM,
        ),
    }


def _image_encoder(node: Any) -> nn.Module:
    """The image encoder of a section.

    Raises:
        ValueError: It is none that is known.
    """
    if node.ENCODER == "vit":
        from freeseg.modeling.vit import WindowedSizes, WindowedViT  # timm's: slow to import

        vit = node.VIT
        sizes = WindowedSizes(
            width=vit.EMBED_DIM,
            depth=vit.DEPTH,
            num_heads=vit.NHEADS,
            global_blocks=tuple(vit.GLOBAL_BLOCKS),
            window=vit.WINDOW,
            patch_size=vit.PATCH_SIZE,
            mlp_ratio=vit.MLP_RATIO,
            qkv_bias=vit.QKV_BIAS,
            out_channels=node.EMBEDDING_DIM,
        )
        return WindowedViT(sizes, node.IMAGE_SIZE)
    if node.ENCODER == "tiny_vit":
        from freeseg.systems.sam.image_encoder import MobileEncoder  # likewise

        tiny = node.TINY_VIT
        return MobileEncoder(
            widths=tiny.EMBED_DIMS,
            depths=tiny.DEPTHS,
            num_heads=tiny.NHEADS,
            windows=tiny.WINDOWS,
            out_channels=node.EMBEDDING_DIM,
        )
    raise ValueError(f"MODEL.SAM.ENCODER is vit or tiny_vit, got {node.ENCODER!r}")
