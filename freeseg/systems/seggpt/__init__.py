"""SegGPT and Painter: what examples show is painted into a photo."""

from freeseg.checkpoints import register_port
from freeseg.parity import Comparison
from freeseg.systems.registration import register_system
from freeseg.systems.seggpt import weights
from freeseg.systems.seggpt.config import add_seggpt_keys
from freeseg.systems.seggpt.parity import NOT_COMPARED, UNITS, run_seggpt
from freeseg.systems.seggpt.system import SegGPT

register_system(
    "seggpt",
    SegGPT,
    keys=add_seggpt_keys,
    key_maps={"hf-seggpt": weights.PORT, "seggpt": weights.RELEASE},
    parity=Comparison(run_seggpt, NOT_COMPARED, UNITS),
)
register_port("seggpt", weights.port_settings)

__all__ = ["SegGPT"]
