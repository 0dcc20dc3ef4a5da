"""Any model of the open_clip package as a frozen pair of towers.

Shapes: N texts or images, L context length, W width of token embeddings, D width of features.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.text.class_token import class_token_sees
from freeseg.text.encoder import TEXT_ENCODER_REGISTRY, ImageTextEncoder
from freeseg.text.spans import Span, byte_pair_spans, hugging_face_spans
from freeseg.text.weights import is_openai_format, read_state_dict

FILLER_ID = 2  # in place of words whose embeddings are given: neither padding nor an end

logger = logging.getLogger(__name__)


class OpenClipEncoder(ImageTextEncoder):
    """Wraps a model of open_clip and its tokenizer, whichever text tower it has.

    Embeddings enter where the tower looks tokens up, so everything after that, positions, masks,
    pooling and projection, is open_clip's own code.
    """

    image_tower = "model.visual."

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Wraps `model` as open_clip.create_model makes it, with its open_clip `tokenizer`."""
        super().__init__()
        self.model = model
        self._words = _words_of(tokenizer)
        self._lookup = threading.Lock()
        self.start_ids, self.end_id = self._words.start_ids, self._words.end_id
        self.pad_id = _pad_id(model)
        self.context_length = int(tokenizer.context_length)
        table = self._embedding_table()
        self.width = table.embedding_dim
        self.image_size = _size(self.model.visual.image_size)
        self.pixel_mean = tuple(getattr(self.model.visual, "image_mean", _OPENAI_MEAN))
        self.pixel_std = tuple(getattr(self.model.visual, "image_std", _OPENAI_STD))
        with torch.no_grad():
            self.dim = self.eval()(self.tokenize([""])).shape[1]

    def word_ids(self, text: str) -> list[int]:
        return self._words(text)

    def word_spans(self, text: str) -> list[Span]:
        return self._words.spans(text)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        # not by calling the table, which may be answering for another thread: see `_looked_up`
        return F.embedding(ids, self._embedding_table().weight)

    def encode_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        ids, embeddings = self._whole_context(embeddings, eot_index)
        with self._looked_up(embeddings):
            features: Tensor = self.model.encode_text(ids, normalize=False)
        return features

    def encode_states(self, embeddings: Tensor, eot_index: Tensor) -> tuple[Tensor, Tensor]:
        length = embeddings.shape[1]
        ids, embeddings = self._whole_context(embeddings, eot_index)
        outputs: list[Any] = []
        with self._looked_up(embeddings):
            hook = self._tower.transformer.register_forward_hook(
                lambda *arguments: outputs.append(arguments[-1])
            )
            try:
                features: Tensor = self.model.encode_text(ids, normalize=False)
            finally:
                hook.remove()
        (output,) = outputs
        if isinstance(output, Tensor):  # a tower of open_clip's, whose last norm comes behind
            states = self._tower.ln_final(output)
        else:
            states = output.last_hidden_state
        return states[:, :length], features

    def _whole_context(self, embeddings: Tensor, eot_index: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [N, L] that have ends and padding in their places, and embeddings [N, L, W]."""
        num_texts, length = embeddings.shape[:2]
        places = torch.arange(self.context_length, device=embeddings.device)
        ends = eot_index[:, None].to(embeddings.device)
        ids = torch.full((num_texts, self.context_length), FILLER_ID, device=embeddings.device)
        ids = ids.masked_fill(places > ends, self.pad_id).masked_fill(places == ends, self.end_id)
        if length < self.context_length:
            padding = self.embed_tokens(ids.new_full((num_texts, 1), self.pad_id))
            padding = padding.expand(-1, self.context_length - length, -1)
            embeddings = torch.cat([embeddings, padding], dim=1)
        return ids, embeddings

    def encode_image(self, images: Tensor) -> Tensor:
        features: Tensor = self.model.encode_image(images, normalize=False)
        return features

    def encode_inside(self, images: Tensor, masks: Tensor) -> Tensor:
        visual: Any = self.model.visual
        if getattr(visual, "pool_type", "") != "tok" or visual.attn_pool is not None:
            return self.encode_image(images)  # no class token of open_clip's own ViTs
        last = visual.transformer.resblocks[-1]
        hidden = ~class_token_sees(masks, visual.patch_size[0])  # [N, P+1, P+1]
        heads = hidden.repeat_interleave(last.attn.num_heads, dim=0)
        attn_mask = torch.zeros_like(heads, dtype=images.dtype).masked_fill(heads, -torch.inf)
        hook = last.register_forward_pre_hook(
            lambda _, given, named: (given, {**named, "attn_mask": attn_mask}), with_kwargs=True
        )
        try:
            return self.encode_image(images)
        finally:
            hook.remove()

    @property
    def logit_scale(self) -> Tensor:  # type: ignore[override]
        scale: Tensor = self.model.logit_scale
        return scale.reshape(())

    @property
    def _tower(self) -> Any:
        return getattr(self.model, "text", self.model)

    def _embedding_table(self) -> nn.Embedding:
        tower = self._tower
        if hasattr(tower, "token_embedding"):
            table: nn.Embedding = tower.token_embedding
        else:  # a tower of Hugging Face
            table = tower.transformer.get_input_embeddings()
        return table

    @contextmanager
    def _looked_up(self, embeddings: Tensor) -> Iterator[None]:
        """Inside the block, looking up tokens gives `embeddings`; one thread at a time."""
        with self._lookup:
            hook = self._embedding_table().register_forward_hook(lambda *_: embeddings)
            try:
                yield
            finally:
                hook.remove()


_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class _BpeWords:
    """Token ids of words by CLIP's byte-pair encoding, which knows every character."""

    def __init__(self, tokenizer: Any) -> None:
        self.start_ids, self.end_id = (tokenizer.sot_token_id,), tokenizer.eot_token_id
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text)
        return ids

    def spans(self, text: str) -> list[Span]:
        return byte_pair_spans(self._tokenizer, text)


class _HuggingFaceWords:
    """Token ids of words by a tokenizer of Hugging Face, as open_clip wraps it."""

    def __init__(self, tokenizer: Any) -> None:
        self._clean = getattr(tokenizer, "clean_fn", None) or _clean_for_siglip()
        self._tokenizer = tokenizer.tokenizer
        *start, end = self._tokenizer("").input_ids
        if getattr(tokenizer, "strip_sep_token", False) and end == self._tokenizer.sep_token_id:
            end = 0  # as open_clip's wrapper writes it
        self.start_ids, self.end_id = tuple(start), end

    def __call__(self, text: str) -> list[int]:
        clean = self._clean(text)
        ids: list[int] = self._tokenizer(clean, add_special_tokens=False).input_ids
        return ids

    def spans(self, text: str) -> list[Span]:
        return hugging_face_spans(self._tokenizer, text, self._clean)


def _words_of(tokenizer: Any) -> _BpeWords | _HuggingFaceWords:
    if getattr(tokenizer, "tokenizer_mode", None):
        raise ValueError(
            f"open_clip's tokenizer mode {tokenizer.tokenizer_mode!r} is not supported: it has no "
            "place for learned prompts"
        )
    return _BpeWords(tokenizer) if hasattr(tokenizer, "encode") else _HuggingFaceWords(tokenizer)


def _clean_for_siglip() -> Any:
    from open_clip.tokenizer import basic_clean, canonicalize_text

    return lambda text: canonicalize_text(basic_clean(text))


def _pad_id(model: nn.Module) -> int:
    """What the text tower, by its own settings, takes for padding."""
    tower: Any = getattr(model, "text", model)
    config = getattr(tower, "config", None)
    return int(config.pad_token_id if config is not None else getattr(tower, "pad_id", 0))


def _size(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return int(height), int(width)


@TEXT_ENCODER_REGISTRY.register()
def open_clip(cfg: Any) -> OpenClipEncoder:
    """MODEL.TEXT_ENCODER.MODEL of open_clip with MODEL.TEXT_ENCODER.WEIGHTS."""
    return load_open_clip(cfg.MODEL.TEXT_ENCODER.MODEL, cfg.MODEL.TEXT_ENCODER.WEIGHTS)


def load_open_clip(name: str, weights: str = "") -> OpenClipEncoder:
    """A model of open_clip with its tokenizer.

    Args:
        name: A name of open_clip ("ViT-B-16-quickgelu"), "local-dir:FOLDER" or "hf-hub:REPOSITORY".
        weights: A checkpoint file in open_clip's or OpenAI's format, or the name of a pretraining
            that open_clip knows and downloads; empty for random weights, or for what the folder or
            repository has.

    Raises:
        ValueError: There is no such model or pretraining, it cannot be downloaded, or the weights
            are of another model.
    """
    import open_clip as library  # slow to import, and needed by this encoder alone

    try:
        if Path(weights).expanduser().is_file():
            model = _model_from_file(library, name, weights)
        else:
            model = _model_from_name(library, name, weights)
        tokenizer = library.get_tokenizer(name)
    except ImportError:
        raise
    except Exception as error:  # open_clip, hubs, networks and PyTorch have many ways to say no
        what = f"{name} with the weights {weights}" if weights else name
        raise ValueError(
            f"cannot make open_clip's model {what}: {error}; what cannot be downloaded here can be "
            "given as a file (MODEL.TEXT_ENCODER.WEIGHTS) or a folder (MODEL local-dir:FOLDER)"
        ) from error
    return OpenClipEncoder(model, tokenizer)


def _model_from_file(library: Any, name: str, path: str) -> nn.Module:
    state = read_state_dict(path)
    is_openai = is_openai_format(state)
    if is_openai and "quickgelu" not in name:
        logger.info("%s holds OpenAI's weights, which need QuickGELU: it is used", path)
    model = library.create_model(
        name, load_weights=False, pretrained_text=False, force_quick_gelu=is_openai
    )
    # the loader of open_clip takes files only; its conversions between layouts are functions
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed

    state = {key: value for key, value in state.items() if value.ndim or key == "logit_scale"}
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for key in ("logit_scale", "logit_bias"):
        if key in state and getattr(model, key, None) is not None:
            state[key] = state[key].reshape(getattr(model, key).shape)
    resize_pos_embed(state, model)
    model.load_state_dict(state)
    return model


def _model_from_name(library: Any, name: str, tag: str) -> nn.Module:
    known = library.list_pretrained_tags_by_model(name.replace("/", "-"))
    if tag and tag not in known:
        raise ValueError(
            f"{tag!r} is neither a file nor a pretraining of this model; it has "
            f"{', '.join(known) or 'none'}"
        )
    if not tag and ":" not in name:
        logger.info("no weights for open_clip's %s: random until a checkpoint is loaded", name)
    wanted = library.get_pretrained_cfg(name.replace("/", "-"), tag) if tag else {}
    return library.create_model(
        name,
        pretrained=tag or None,
        pretrained_text=False,
        force_quick_gelu=bool(wanted.get("quick_gelu", False)),
    )
