"""FreeSeg: any task, any class list, one network."""

from freeseg.parity import Comparison
from freeseg.systems.freeseg import weights
from freeseg.systems.freeseg.config import add_freeseg_keys
from freeseg.systems.freeseg.head import MaskFormerInteractionHead
from freeseg.systems.freeseg.parity import run_freeseg
from freeseg.systems.freeseg.prompt_stage import FreeSegPrompts
from freeseg.systems.freeseg.system import FreeSeg, OpenVocabulary
from freeseg.systems.registration import register_system

register_system(
    "freeseg",
    FreeSeg,
    keys=add_freeseg_keys,
    key_maps={"freeseg": weights.RELEASE},
    parity=Comparison(
        run_freeseg,
        {
            "image": "the input",
            **dict.fromkeys(
                ("instance.scores", "instance.pred_classes", "instance.pred_masks_final"),
                "not compared: the release's instances suffer from its bugs, see FreeSeg's page",
            ),
        },
    ),
    other_names=("OpenVocabulary",),
)

__all__ = ["FreeSeg", "FreeSegPrompts", "MaskFormerInteractionHead", "OpenVocabulary"]
