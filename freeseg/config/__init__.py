"""The one bridge between Detectron2's CfgNode and constructors.

`add_freeseg_config` adds every key that the published configurations of the systems use, under the
published names with the published defaults, and the few of our own. The ``*_arguments`` functions
translate keys into constructor arguments; nothing else reads a CfgNode. Systems have keys and
translations of their own in their folders, which they register.
"""

from freeseg.config.arguments import (
    assembly_arguments,
    augmentation_arguments,
    choose_test_datasets,
    cosine_factor,
    criterion_arguments,
    default_tasks,
    pixel_decoder_arguments,
    pointing_arguments,
    query_decoder_arguments,
    sliding_window_arguments,
    training_tasks,
    vit_arguments,
)
from freeseg.config.completion import add_freeseg_config, completed, register_keys
from freeseg.config.mistakes import mistake_in
from freeseg.config.sections import inference_section, register_sections, system_section
from freeseg.config.unused import refuse_unsupported

__all__ = [
    "add_freeseg_config",
    "assembly_arguments",
    "augmentation_arguments",
    "choose_test_datasets",
    "completed",
    "cosine_factor",
    "criterion_arguments",
    "default_tasks",
    "inference_section",
    "mistake_in",
    "pixel_decoder_arguments",
    "pointing_arguments",
    "query_decoder_arguments",
    "refuse_unsupported",
    "register_keys",
    "register_sections",
    "sliding_window_arguments",
    "system_section",
    "training_tasks",
    "vit_arguments",
]
