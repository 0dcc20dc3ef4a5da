"""Grounded-SAM: words become boxes, and these masks, by two systems of any kind."""

from freeseg.systems.grounded_sam.config import add_grounded_sam_keys
from freeseg.systems.grounded_sam.demo import mask_rows, value_map
from freeseg.systems.grounded_sam.system import GroundedSAM
from freeseg.systems.registration import register_system

register_system("grounded_sam", GroundedSAM, keys=add_grounded_sam_keys)

__all__ = ["GroundedSAM", "mask_rows", "value_map"]
