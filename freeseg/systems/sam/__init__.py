"""SAM and MobileSAM: points, boxes and rough masks become masks."""

from freeseg.checkpoints import register_port
from freeseg.parity import Comparison
from freeseg.systems.registration import register_system
from freeseg.systems.sam import weights
from freeseg.systems.sam.config import add_sam_keys
from freeseg.systems.sam.parity import NOT_COMPARED, run_sam
from freeseg.systems.sam.system import SAM

register_system(
    "sam",
    SAM,
    keys=add_sam_keys,
    key_maps={
        "hf-sam": weights.PORT,
        "sam": weights.RELEASE,
        "efficientnet-lite": weights.LITE,
    },
    parity=Comparison(run_sam, NOT_COMPARED),
)
register_port("sam", weights.port_settings)

__all__ = ["SAM"]
