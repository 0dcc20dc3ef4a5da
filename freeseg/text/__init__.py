"""Text: encoders of words, and the cache of what they gave."""

from __future__ import annotations

from freeseg.text.causal import CausalTextEncoder
from freeseg.text.clip import CLIP, ClipSpec
from freeseg.text.encoder import (
    TEXT_ENCODER_REGISTRY,
    ImageTextEncoder,
    TextEncoder,
    build_text_encoder,
)
from freeseg.text.fingerprint import fingerprint
from freeseg.text.tasks import parse_task, target_texts, task_sentence
from freeseg.text.tokens import tokenize

__all__ = [
    "CLIP",
    "TEXT_ENCODER_REGISTRY",
    "CausalTextEncoder",
    "ClipSpec",
    "ImageTextEncoder",
    "TextEncoder",
    "build_text_encoder",
    "fingerprint",
    "parse_task",
    "target_texts",
    "task_sentence",
    "tokenize",
]
