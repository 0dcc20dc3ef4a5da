"""LSeg: every pixel lies in the space of texts."""

from freeseg.parity import Comparison
from freeseg.systems.lseg import graph, weights
from freeseg.systems.lseg.config import add_lseg_keys
from freeseg.systems.lseg.head import LSegHead
from freeseg.systems.lseg.parity import run_lseg
from freeseg.systems.lseg.system import LSeg
from freeseg.systems.registration import register_system

register_system(
    "lseg",
    LSeg,
    keys=add_lseg_keys,
    key_maps={"lseg": weights.RELEASE},
    parity=Comparison(
        run_lseg, dict.fromkeys(("image_normalised", "text_features_unnormalised"), "the input")
    ),
    graph=graph.build_graph,
)

__all__ = ["LSeg", "LSegHead"]
