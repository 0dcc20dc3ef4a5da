"""Building blocks without a notion of images, tasks or configuration."""

from freeseg.layers.attention import (
    CrossAttentionLayer,
    FeedForwardLayer,
    MultiheadAttention,
    SelfAttentionLayer,
)
from freeseg.layers.deformable import DeformableEncoderLayer, MSDeformAttn, pixel_centres
from freeseg.layers.detr import DetrDecoderLayer
from freeseg.layers.fourier import FourierPosition
from freeseg.layers.mlp import MLP
from freeseg.layers.position import (
    padded_sine_position,
    projected_sine_position,
    sine_position,
    sines,
)

__all__ = [
    "MLP",
    "CrossAttentionLayer",
    "DeformableEncoderLayer",
    "DetrDecoderLayer",
    "FeedForwardLayer",
    "FourierPosition",
    "MSDeformAttn",
    "MultiheadAttention",
    "SelfAttentionLayer",
    "padded_sine_position",
    "pixel_centres",
    "projected_sine_position",
    "sine_position",
    "sines",
]
