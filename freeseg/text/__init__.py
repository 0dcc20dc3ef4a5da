"""Text: encoders of words, and the cache of what they gave."""

from __future__ import annotations

from freeseg.text.encoder import (
    TEXT_ENCODER_REGISTRY,
    ImageTextEncoder,
    TextEncoder,
    build_text_encoder,
)
from freeseg.text.fingerprint import fingerprint
from freeseg.text.minilm import MiniLMEncoder, load_minilm
from freeseg.text.open_clip import OpenClipEncoder, load_open_clip

__all__ = [
    "TEXT_ENCODER_REGISTRY",
    "ImageTextEncoder",
    "MiniLMEncoder",
    "OpenClipEncoder",
    "TextEncoder",
    "build_text_encoder",
    "fingerprint",
    "load_minilm",
    "load_open_clip",
]
