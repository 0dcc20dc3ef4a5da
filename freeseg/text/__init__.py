"""Text: encoders of words, and the cache of what they gave."""

from __future__ import annotations

from freeseg.text.clip import CLIP, ClipSpec, load_clip
from freeseg.text.encoder import (
    TEXT_ENCODER_REGISTRY,
    ImageTextEncoder,
    TextEncoder,
    build_text_encoder,
)
from freeseg.text.fingerprint import fingerprint
from freeseg.text.prompting import TASK_TEXTS, LearnedPrompts, PromptLearner, TemplatePrompts

__all__ = [
    "CLIP",
    "TASK_TEXTS",
    "TEXT_ENCODER_REGISTRY",
    "ClipSpec",
    "ImageTextEncoder",
    "LearnedPrompts",
    "PromptLearner",
    "TemplatePrompts",
    "TextEncoder",
    "build_text_encoder",
    "fingerprint",
    "load_clip",
]
