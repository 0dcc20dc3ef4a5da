"""What every text encoder can do, and the registry they are built from.

Shapes: N texts, L context length, W width of token embeddings, D width of features.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.utils.registry import Registry
from freeseg.config import completed
from freeseg.text.fingerprint import frozen_fingerprint
from freeseg.text.spans import Span
from freeseg.text.states import TextStates

TEXT_ENCODER_REGISTRY = Registry("TEXT_ENCODER")
TEXT_ENCODER_REGISTRY.__doc__ = """
Text encoders by the name in MODEL.TEXT_ENCODER.NAME. What is registered is called with the CfgNode
and returns a `TextEncoder`.
"""

logger = logging.getLogger(__name__)


def build_text_encoder(cfg: Any) -> TextEncoder:
    """The frozen encoder that MODEL.TEXT_ENCODER.NAME asks for."""
    cfg = completed(cfg)
    name = cfg.MODEL.TEXT_ENCODER.NAME
    known = sorted(key for key, _ in TEXT_ENCODER_REGISTRY)
    if name not in known:
        raise ValueError(
            f"MODEL.TEXT_ENCODER.NAME {name!r} is unknown; known names are {', '.join(known)}"
        )
    encoder: TextEncoder = TEXT_ENCODER_REGISTRY.get(name)(cfg)
    return encoder.requires_grad_(False).eval()


class TextEncoder(nn.Module, ABC):
    """A frozen text tower, split at the token embeddings so that prompts can be learned there.

    It is always in evaluation mode; gradients pass through it to the embeddings it is given.

    Attributes:
        context_length: L, the most tokens of one text, start and end included.
        width: W.
        dim: D.
        start_ids: Token ids before the words of a text, in their order; may be empty.
        end_id: Id of the token after them. Ids are looked at up to its first place only.
        pad_id: What fills the rest of the context.
        image_tower: How the names of weights begin that no text goes through.
    """

    context_length: int
    width: int
    dim: int
    start_ids: tuple[int, ...]
    end_id: int
    pad_id: int
    image_tower = "visual."

    @abstractmethod
    def word_ids(self, text: str) -> list[int]:
        """Ids of a text's own tokens, without start and end, however many there are."""

    @abstractmethod
    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Embeddings [N, L, W] of token ids [N, L], without positions."""

    @abstractmethod
    def encode_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        """Features [N, D], not normalised.

        Args:
            embeddings: [N, L, W], of any length up to the context's.
            eot_index: int64 [N], where each text ends: the place of its end token.
        """

    def encode_states(self, embeddings: Tensor, eot_index: Tensor) -> tuple[Tensor, Tensor]:
        """States [N, L, W] after the last norm, and the features [N, D] made of them.

        Takes what `encode_embeddings` takes; its features are the same.

        Raises:
            NotImplementedError: The encoder gives features of whole texts only.
        """
        raise NotImplementedError(f"the text encoder {type(self).__name__} has no token states")

    def word_spans(self, text: str) -> list[Span]:
        """The characters of a text that each of its `word_ids` was made of.

        The spans of a word's tokens cover the word. See `freeseg.text.spans` for texts that the
        tokenizer cleans.

        Raises:
            NotImplementedError: The encoder's tokenizer does not say.
        """
        raise NotImplementedError(f"the text encoder {type(self).__name__} has no spans of tokens")

    def fit_words(self, text: str, room: int) -> list[int]:
        """Ids of at most `room` of a text's tokens; a warning names a text that is cut."""
        ids = self.word_ids(text)
        if len(ids) > room:
            logger.warning(
                "%r has %d tokens, of which the text encoder can read %d: the rest is cut off",
                text if len(text) <= 80 else f"{text[:77]}...",
                len(ids),
                room,
            )
        return ids[:room]

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [N, L]: start, words (cut where they are too many), end, padding."""
        ids = torch.full((len(texts), self.context_length), self.pad_id, dtype=torch.int64)
        for row, text in zip(ids, texts):
            tokens = [*self.start_ids, *self.fit_words(text, self._room), self.end_id]
            row[: len(tokens)] = torch.tensor(tokens)
        return ids

    def spans(self, texts: Sequence[str]) -> Tensor:
        """Character spans int64 [N, L, 2] of the tokens that `tokenize` gives, -1 where none is."""
        spans = torch.full((len(texts), self.context_length, 2), -1, dtype=torch.int64)
        first = len(self.start_ids)
        for row, text in zip(spans, texts):
            words = self.word_spans(text)[: self._room]
            row[first : first + len(words)] = torch.tensor(words, dtype=torch.int64).reshape(-1, 2)
        return spans

    def states(self, texts: Sequence[str]) -> TextStates:
        """Token states, spans and features of N texts, L being the tokens of the longest.

        Raises:
            ValueError: When there are no texts.
            NotImplementedError: As of `encode_states` and `word_spans`.
        """
        if not texts:
            raise ValueError("wanted the states of one text at least, got none")
        ids, spans = self.tokenize(texts).to(self.device), self.spans(texts).to(self.device)
        ends = self.end_positions(ids)
        length = int(ends.max()) + 1
        states, pooled = self.encode_states(self.embed_tokens(ids[:, :length]), ends)
        places = torch.arange(length, device=ids.device)
        is_padding = places > ends[:, None]  # [N, L]
        return TextStates(
            states=states.masked_fill(is_padding[..., None], 0),
            mask=(places >= len(self.start_ids)) & (places < ends[:, None]),
            ends=ends,
            spans=spans[:, :length],
            pooled=pooled,
        )

    @property
    def _room(self) -> int:
        """For a text's own tokens."""
        return self.context_length - len(self.start_ids) - 1

    def end_positions(self, ids: Tensor) -> Tensor:
        """Place [N] of the end token of every row of ids [N, L]."""
        return (ids == self.end_id).int().argmax(dim=1)

    def forward(self, ids: Tensor) -> Tensor:
        """Features [N, D] of token ids [N, L], not normalised.

        What follows an end is not looked at, so all rows are cut after the last one.
        """
        ends = self.end_positions(ids)
        return self.encode_embeddings(self.embed_tokens(ids[:, : int(ends.max()) + 1]), ends)

    @property
    def identity(self) -> str:
        """Changes whenever the features of some text may change: kind, structure and weights."""
        weights = frozen_fingerprint(self, without=self.image_tower)
        return f"{type(self).__name__}-{self._structure}-{weights}"

    @functools.cached_property
    def _structure(self) -> str:
        description = f"{self} {self.context_length}"  # weights may be read with another activation
        return hashlib.blake2b(description.encode(), digest_size=4).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def train(self, mode: bool = True) -> TextEncoder:
        """Stays in evaluation mode whatever the model around it does."""
        return super().train(False)


class ImageTextEncoder(TextEncoder):
    """A text tower with the image tower that was trained with it, as CLIP has.

    Attributes:
        image_size: (height, width) of the images that the image tower reads.
        pixel_mean: RGB mean to be subtracted from images in 0..1.
        pixel_std: RGB deviation to divide by afterwards.
        logit_scale: Logarithm of the factor of cosines that the towers were trained with, a scalar.
    """

    image_size: tuple[int, int]
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    logit_scale: Tensor

    @abstractmethod
    def encode_image(self, images: Tensor) -> Tensor:
        """Features [N, D], not normalised, of normalised RGB images [N, 3, height, width]."""

    def encode_inside(self, images: Tensor, masks: Tensor) -> Tensor:
        """As `encode_image`, of what masks show of images.

        In the last layer of a ViT its class token looks at patches of the mask alone (SAM, arXiv
        2304.02643, appendix D.5). A tower without class token sees all of the image.

        Args:
            images: See above.
            masks: Bool [N, height, width].
        """
        del masks
        return self.encode_image(images)
