"""Import paths that were documented and are elsewhere now; they work until the next release.

A module of the old name is the module of the new one; a name that a package had is found in the
module that has it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from freeseg.structures import SegmentationResult, write_result

MODULES = {
    "freeseg.meta_arch": "freeseg.systems",
    "freeseg.meta_arch.freeseg": "freeseg.systems.freeseg.system",
    "freeseg.meta_arch.freeseg_prompts": "freeseg.systems.freeseg.prompt_stage",
    "freeseg.meta_arch.lseg": "freeseg.systems.lseg.system",
    "freeseg.meta_arch.mask2former": "freeseg.systems.mask2former.system",
    "freeseg.meta_arch.oneformer": "freeseg.systems.oneformer.system",
    "freeseg.modeling.clip_adapter": "freeseg.text.clip_adapter",
    "freeseg.modeling.decoder.oneformer": "freeseg.systems.oneformer.decoder",
    "freeseg.modeling.decoder.open_vocabulary": "freeseg.systems.freeseg.decoder",
    "freeseg.modeling.interaction": "freeseg.systems.freeseg.interaction",
    "freeseg.modeling.interaction_head": "freeseg.systems.freeseg.head",
    "freeseg.modeling.lseg_head": "freeseg.systems.lseg.head",
    "freeseg.modeling.regions": "freeseg.systems.freeseg.crops",
    "freeseg.export.graphs": "freeseg.graphs",
    "freeseg.predictor": "freeseg.segmenter",
    "freeseg.model_loading": "freeseg.systems.building",
}
NAMES = {  # module, or module:name where it is called otherwise now
    "freeseg.modeling": {
        "ClipAdapter": "freeseg.text",
        "ContextInteraction": "freeseg.systems.freeseg.interaction",
        "LSegHead": "freeseg.systems.lseg",
        "MaskFormerInteractionHead": "freeseg.systems.freeseg",
        "OneFormerDecoder": "freeseg.systems.oneformer",
        "OneFormerHead": "freeseg.systems.oneformer",
        "OpenVocabularyDecoder": "freeseg.systems.freeseg.decoder",
        "RegionCrops": "freeseg.systems.freeseg.crops:MaskCrops",
        "TaskConditionedOutput": "freeseg.systems.oneformer.decoder",
    },
    "freeseg.modeling.decoder": {
        "OneFormerDecoder": "freeseg.systems.oneformer",
        "OpenVocabularyDecoder": "freeseg.systems.freeseg.decoder",
        "TaskConditionedOutput": "freeseg.systems.oneformer.decoder",
    },
    "freeseg.inference": {
        "PromptTuner": "freeseg.systems.freeseg.tuning",
        "RegionEnsemble": "freeseg.systems.freeseg.ensemble:ProposalEnsemble",
        "TuningSettings": "freeseg.systems.freeseg.tuning",
        "geometric_ensemble": "freeseg.systems.freeseg.ensemble",
        "label_map": "freeseg.systems.lseg.label_map",
        "tune_class_tokens": "freeseg.systems.freeseg.tuning",
    },
    "freeseg.training": {
        "ContrastiveSetCriterion": "freeseg.systems.oneformer.criterion",
        "DenseCriterion": "freeseg.systems.freeseg.dense_criterion",
        "withhold": "freeseg.systems.lseg.withholding",
    },
    "freeseg.text": {
        "CausalTextEncoder": "freeseg.systems.oneformer.text_encoder",
        "target_texts": "freeseg.systems.oneformer.sentences",
        "task_sentence": "freeseg.systems.oneformer.sentences",
    },
    "freeseg.config": {
        "contrastive_arguments": "freeseg.systems.oneformer.config",
        "interaction_arguments": "freeseg.systems.freeseg.config",
        "learned_prompt_arguments": "freeseg.systems.freeseg.config",
        "open_decoder_arguments": "freeseg.systems.freeseg.config",
        "region_arguments": "freeseg.systems.freeseg.config:crop_arguments",
        "system_node": "freeseg.config:system_section",
        "task_conditioning_arguments": "freeseg.systems.oneformer.config",
        "task_query_arguments": "freeseg.systems.oneformer.config",
        "text_mapper_arguments": "freeseg.systems.oneformer.config",
        "test_node": "freeseg.config:inference_section",
        "tuning_arguments": "freeseg.systems.freeseg.config",
    },
    "freeseg": {"meta_arch": "freeseg:systems", "predictor": "freeseg:segmenter"},
    "freeseg.structures": {
        "TASKS": "freeseg.structures:JUDGED_TASKS",
        "read_classes": "freeseg.structures:read_class_entries",
    },
    "freeseg.systems.freeseg.crops": {"RegionCrops": "freeseg.systems.freeseg.crops:MaskCrops"},
    "freeseg.visualization": {"TASKS": "freeseg_command.tasks:SHOWN_TASKS"},
}


class _Finder(MetaPathFinder, Loader):
    """Finds modules of old names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in MODULES:
            return ModuleSpec(name, self)
        if name.rpartition(".")[0] in MODULES:  # else found once more, as a copy
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        new = sys.modules[name] = importlib.import_module(MODULES[name])
        # A child that is imported later becomes an attribute of its parent, which is the new
        # package: `freeseg.systems.freeseg` would be what `freeseg.meta_arch.freeseg` is.
        for old in MODULES:
            parent, _, child = old.rpartition(".")
            if parent == name:
                sys.modules[old] = importlib.import_module(MODULES[old])
                vars(new).setdefault(child, sys.modules[old])


def forward_old_paths() -> None:
    """Makes old import paths work, once."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())  # the new package has folders of old names
    SegmentationResult.to_detectron2 = write_result  # type: ignore[attr-defined]
    for package in NAMES:
        module = sys.modules[package]
        vars(module)["__getattr__"] = _with_old_names(module, vars(module).get("__getattr__"))


def _with_old_names(module: ModuleType, own: Callable[[str], Any] | None) -> Callable[[str], Any]:
    package = module.__name__

    def find(name: str) -> Any:
        if name in NAMES[package]:
            home, _, renamed = NAMES[package][name].partition(":")
            return getattr(importlib.import_module(home), renamed or name)
        if own is not None:
            return own(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
