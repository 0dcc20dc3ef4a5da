"""FreeSeg's text encoder and prompts, as a configuration names them."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager
from freeseg.systems.freeseg.config import learned_prompt_arguments
from freeseg.text import (
    ClipAdapter,
    LearnedPrompts,
    PromptLearner,
    TemplatePrompts,
    TextEncoder,
    TextFeatureCache,
    build_text_encoder,
    default_folder,
    load_clip,
)
from freeseg.text.weights import read_state_dict

PROMPT_PREFIX = "clip_adapter.prompt_learner."  # of the prompts in a checkpoint


def build_clip_adapter(
    cfg: CfgNode, clip_model: TextEncoder | None = None, *, has_void: bool = True
) -> ClipAdapter:
    """The adapter with its encoder; trained prompts are loaded and frozen.

    Args:
        cfg: A configuration.
        clip_model: The encoder; None: the configured one.
        has_void: Whether it has a feature of "no object".

    Raises:
        ValueError: There is no such kind of prompts.
    """
    node = cfg.MODEL.CLIP_ADAPTER
    if clip_model is None:
        clip_model = (
            load_clip(node.CLIP_MODEL_NAME, cfg.MODEL.TEXT_ENCODER.WEIGHTS)
            if node.CLIP_MODEL_NAME
            else build_text_encoder(cfg)
        )
    return ClipAdapter(
        clip_model=clip_model,
        prompt_learner=_build_prompts(cfg, clip_model.width),
        has_void=has_void,
        saves_encoder=cfg.MODEL.TEXT_ENCODER.SAVE,
        cache=TextFeatureCache(default_folder() if cfg.MODEL.TEXT_ENCODER.CACHE else None),
    )


def _build_prompts(cfg: CfgNode, width: int) -> PromptLearner:
    node = cfg.MODEL.CLIP_ADAPTER
    if node.PROMPT_LEARNER == "predefined":
        return TemplatePrompts(node.PREDEFINED_PROMPT_TEMPLATES)
    if node.PROMPT_LEARNER != "learnable":
        raise ValueError(
            "MODEL.CLIP_ADAPTER.PROMPT_LEARNER must be learnable or predefined, "
            f"got {node.PROMPT_LEARNER!r}"
        )
    prompts = LearnedPrompts(width=width, **learned_prompt_arguments(cfg))
    if node.PROMPT_CHECKPOINT:
        state = read_state_dict(PathManager.get_local_path(node.PROMPT_CHECKPOINT))
        names = [name for name, _ in prompts.named_parameters()]
        prompts.load_state_dict({name: state[PROMPT_PREFIX + name] for name in names})
        prompts.requires_grad_(False)
    return prompts
