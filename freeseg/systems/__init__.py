"""The systems: compositions of the parts below, registered as Detectron2 meta-architectures."""

from freeseg.systems.freeseg import FreeSeg, FreeSegPrompts, OpenVocabulary
from freeseg.systems.grounded_sam import GroundedSAM
from freeseg.systems.grounding_dino import GroundingDINO
from freeseg.systems.lseg import LSeg
from freeseg.systems.mask2former import Mask2Former, MaskFormer
from freeseg.systems.oneformer import OneFormer
from freeseg.systems.registration import paper_name, register_system, systems
from freeseg.systems.sam import SAM
from freeseg.systems.seggpt import SegGPT
from freeseg.systems.system import PreparedImages, SegmentationSystem

__all__ = [
    "SAM",
    "FreeSeg",
    "FreeSegPrompts",
    "GroundedSAM",
    "GroundingDINO",
    "LSeg",
    "Mask2Former",
    "MaskFormer",
    "OneFormer",
    "OpenVocabulary",
    "PreparedImages",
    "SegGPT",
    "SegmentationSystem",
    "paper_name",
    "register_system",
    "systems",
]
