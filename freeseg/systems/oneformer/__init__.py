"""OneFormer: a task token conditions the queries."""

from freeseg.checkpoints import register_port
from freeseg.config import register_sections
from freeseg.parity import Comparison
from freeseg.systems.oneformer import graph, weights
from freeseg.systems.oneformer.config import add_one_former_keys
from freeseg.systems.oneformer.decoder import OneFormerDecoder
from freeseg.systems.oneformer.head import OneFormerHead
from freeseg.systems.oneformer.parity import run_oneformer
from freeseg.systems.oneformer.system import OneFormer
from freeseg.systems.registration import register_system

register_system(
    "oneformer",
    OneFormer,
    keys=add_one_former_keys,
    key_maps={"hf-oneformer": weights.PORT, "oneformer": weights.RELEASE},
    parity=Comparison(run_oneformer, {"image": "the input"}),
    graph=graph.build_graph,
)
register_sections("OneFormerHead", "ONE_FORMER", "TEST")
register_port("oneformer", weights.port_settings, "MODEL.TEST")

__all__ = ["OneFormer", "OneFormerDecoder", "OneFormerHead"]
