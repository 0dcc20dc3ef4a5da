"""Swin Transformer under the names of the published Mask2Former and OneFormer models."""

from __future__ import annotations

from torch import Tensor

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone.swin import SwinTransformer
from freeseg.config import completed
from freeseg.names import register

# Detectron2's Swin has the parameter names of the releases' copy and the same output; it calls
# its maps p0..p3 where the configurations say res2..res5.
_PUBLISHED_NAMES = {"p0": "res2", "p1": "res3", "p2": "res4", "p3": "res5"}


@register(BACKBONE_REGISTRY)
class D2SwinTransformer(SwinTransformer):
    """Detectron2's Swin Transformer with feature names ``res2`` to ``res5``.

    Takes the arguments of ``detectron2.modeling.backbone.swin.SwinTransformer``; which maps it
    returns follows ``out_indices``.
    """

    @configurable
    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, object]:
        node = completed(cfg).MODEL.SWIN
        names = list(_PUBLISHED_NAMES.values())
        unknown = set(node.OUT_FEATURES) - set(names)
        if unknown:
            raise ValueError(f"MODEL.SWIN.OUT_FEATURES knows {names}, got {sorted(unknown)}")
        return {
            "pretrain_img_size": node.PRETRAIN_IMG_SIZE,
            "patch_size": node.PATCH_SIZE,
            "in_chans": input_shape.channels,
            "embed_dim": node.EMBED_DIM,
            "depths": node.DEPTHS,
            "num_heads": node.NUM_HEADS,
            "window_size": node.WINDOW_SIZE,
            "mlp_ratio": node.MLP_RATIO,
            "qkv_bias": node.QKV_BIAS,
            "qk_scale": node.QK_SCALE,
            "drop_rate": node.DROP_RATE,
            "attn_drop_rate": node.ATTN_DROP_RATE,
            "drop_path_rate": node.DROP_PATH_RATE,
            "ape": node.APE,
            "patch_norm": node.PATCH_NORM,
            "out_indices": [names.index(name) for name in node.OUT_FEATURES],
            "use_checkpoint": node.USE_CHECKPOINT,
        }

    @property
    def size_divisibility(self) -> int:
        return 32

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {_PUBLISHED_NAMES[name]: shape for name, shape in super().output_shape().items()}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps normalised images [B, 3, H, W] to {name: [B, C, H/stride, W/stride]}."""
        return {_PUBLISHED_NAMES[name]: map_ for name, map_ in super().forward(images).items()}
