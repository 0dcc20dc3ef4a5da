"""Mask2Former: a closed set of classes, one architecture for three tasks."""

from freeseg.checkpoints import register_port
from freeseg.parity import Comparison
from freeseg.systems.mask2former import graph, weights
from freeseg.systems.mask2former.parity import run_mask2former
from freeseg.systems.mask2former.system import Mask2Former, MaskFormer
from freeseg.systems.registration import register_system

register_system(
    "mask2former",
    Mask2Former,
    key_maps={"hf-mask2former": weights.PORT, "mask2former": weights.RELEASE},
    parity=Comparison(run_mask2former, {"image": "the input", "output_size": "the input"}),
    graph=graph.build_graph,
    other_names=("MaskFormer",),
)
register_port("mask2former", weights.port_settings, "MODEL.MASK_FORMER.TEST")

__all__ = ["Mask2Former", "MaskFormer"]
