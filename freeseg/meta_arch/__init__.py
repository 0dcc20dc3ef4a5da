"""The systems: compositions of the parts below, registered as Detectron2 meta-architectures."""

from freeseg.meta_arch.freeseg import FreeSeg, OpenVocabulary
from freeseg.meta_arch.freeseg_prompts import FreeSegPrompts
from freeseg.meta_arch.lseg import LSeg
from freeseg.meta_arch.mask2former import Mask2Former, MaskFormer
from freeseg.meta_arch.oneformer import OneFormer

__all__ = [
    "FreeSeg",
    "FreeSegPrompts",
    "LSeg",
    "Mask2Former",
    "MaskFormer",
    "OneFormer",
    "OpenVocabulary",
]
