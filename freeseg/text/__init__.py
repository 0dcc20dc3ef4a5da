"""Text: encoders of words, and the cache of what they gave."""

from __future__ import annotations

from freeseg.text.cache import TextFeatureCache, TextKey, default_folder
from freeseg.text.clip import CLIP, ClipSpec
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
    "CLIP",
    "TEXT_ENCODER_REGISTRY",
    "ClipSpec",
    "ImageTextEncoder",
    "MiniLMEncoder",
    "OpenClipEncoder",
    "TextEncoder",
    "TextFeatureCache",
    "TextKey",
    "build_text_encoder",
    "default_folder",
    "fingerprint",
    "load_minilm",
    "load_open_clip",
]
