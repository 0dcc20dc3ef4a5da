"""The systems: compositions of the parts below, registered as Detectron2 meta-architectures."""

from freeseg.meta_arch.mask2former import Mask2Former, MaskFormer
from freeseg.meta_arch.oneformer import OneFormer

__all__ = ["Mask2Former", "MaskFormer", "OneFormer"]
