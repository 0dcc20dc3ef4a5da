"""The sentence encoder MiniLM, whose weights come as a Python package: real words, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freeseg.text.bert import BertEncoder, packaged_folder, read_bert
from freeseg.text.encoder import TEXT_ENCODER_REGISTRY

CONTEXT_LENGTH = 128  # what the model was trained with; its positions reach to 512


class MiniLMEncoder(BertEncoder):
    """A BERT of six layers; its mean over tokens is what sentence-transformers does with it."""

    def __init__(self, bert: Any, tokenizer: Any) -> None:
        """Wraps a BertModel of Hugging Face and its tokenizer."""
        super().__init__(bert, tokenizer, CONTEXT_LENGTH)


@TEXT_ENCODER_REGISTRY.register()
def minilm(cfg: Any) -> MiniLMEncoder:
    """MiniLM from MODEL.TEXT_ENCODER.WEIGHTS, a folder, or from the installed package."""
    return load_minilm(cfg.MODEL.TEXT_ENCODER.WEIGHTS)


def load_minilm(folder: str = "") -> MiniLMEncoder:
    """The encoder from a folder in Hugging Face's layout; empty for the installed package's.

    Raises:
        ImportError: The package, or transformers, is not installed.
        ValueError: The folder has no model.
    """
    source = Path(folder).expanduser() if folder else packaged_folder()
    return MiniLMEncoder(*read_bert(source, "minilm"))
