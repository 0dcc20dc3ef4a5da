"""Text: encoders of words, and the cache of what they gave."""

from __future__ import annotations

from freeseg.text.clip import CLIP, ClipSpec
from freeseg.text.encoder import (
    TEXT_ENCODER_REGISTRY,
    ImageTextEncoder,
    TextEncoder,
    build_text_encoder,
)
from freeseg.text.fingerprint import fingerprint

__all__ = [
    "CLIP",
    "TEXT_ENCODER_REGISTRY",
    "ClipSpec",
    "ImageTextEncoder",
    "TextEncoder",
    "build_text_encoder",
    "fingerprint",
]
