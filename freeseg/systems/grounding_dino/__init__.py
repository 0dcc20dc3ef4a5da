"""Grounding DINO: words become boxes."""

from freeseg.checkpoints import register_port
from freeseg.parity import Comparison
from freeseg.systems.grounding_dino import weights
from freeseg.systems.grounding_dino.config import add_grounding_dino_keys
from freeseg.systems.grounding_dino.parity import NOT_COMPARED, UNITS, run_grounding_dino
from freeseg.systems.grounding_dino.system import GroundingDINO
from freeseg.systems.registration import register_system

register_system(
    "grounding_dino",
    GroundingDINO,
    keys=add_grounding_dino_keys,
    key_maps={"hf-grounding-dino": weights.PORT, "grounding_dino": weights.RELEASE},
    parity=Comparison(run_grounding_dino, NOT_COMPARED, UNITS),
)

for kind in ("grounding-dino", "mm-grounding-dino"):
    register_port(kind, weights.port_settings)

__all__ = ["GroundingDINO"]
