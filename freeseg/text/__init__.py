"""Text: encoders of words, prompts around them, and the cache of what they gave."""

from __future__ import annotations

from freeseg.text.bert import BertEncoder, load_bert
from freeseg.text.cache import TextFeatureCache, TextKey, default_folder
from freeseg.text.clip import CLIP, ClipSpec, ClipText, load_clip, load_clip_text
from freeseg.text.clip_adapter import ClipAdapter
from freeseg.text.encoder import (
    TEXT_ENCODER_REGISTRY,
    ImageTextEncoder,
    TextEncoder,
    build_text_encoder,
)
from freeseg.text.fingerprint import fingerprint, frozen_fingerprint
from freeseg.text.minilm import MiniLMEncoder, load_minilm
from freeseg.text.open_clip import OpenClipEncoder, load_open_clip
from freeseg.text.prompting import TASK_TEXTS, LearnedPrompts, PromptLearner, TemplatePrompts
from freeseg.text.state_cache import TextStateCache
from freeseg.text.states import TextStates
from freeseg.text.tokens import tokenize
from freeseg.text.toy_clip import load_toy_clip

__all__ = [
    "CLIP",
    "TASK_TEXTS",
    "TEXT_ENCODER_REGISTRY",
    "BertEncoder",
    "ClipAdapter",
    "ClipSpec",
    "ClipText",
    "ImageTextEncoder",
    "LearnedPrompts",
    "MiniLMEncoder",
    "OpenClipEncoder",
    "PromptLearner",
    "TemplatePrompts",
    "TextEncoder",
    "TextFeatureCache",
    "TextKey",
    "TextStateCache",
    "TextStates",
    "build_text_encoder",
    "default_folder",
    "fingerprint",
    "frozen_fingerprint",
    "load_bert",
    "load_clip",
    "load_clip_text",
    "load_minilm",
    "load_open_clip",
    "load_toy_clip",
    "tokenize",
]
