"""Captions: names or sentences in a row, whose words see their own sub-sentence alone.

Shapes: N captions, T tokens of the longest, W width of BERT, C channels.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from freeseg.systems.grounding_dino.initial import fill
from freeseg.text.bert import BertEncoder
from freeseg.text.weights import keep_own_encoder

STOPS = (".", "?")  # behind which a sub-sentence ends
NOT_IN_NAMES = (*STOPS, ",")
NUM_KEPT = 16  # captions whose states are kept

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Captions:
    """Captions as BERT reads them.

    Attributes:
        ids: int64 [N, T]: the start token, words and stops, the end token, padding.
        is_token: Bool [N, T], False on padding.
        visible: Bool [N, T, T], True where the row's token sees the column's.
        places: int64 [N, T], of every token in its sub-sentence.
    """

    ids: Tensor
    is_token: Tensor
    visible: Tensor
    places: Tensor

    def cut(self, length: int) -> Captions:
        """The first `length` tokens at most; those before the cut see what they saw of them."""
        some = slice(length)
        return Captions(
            self.ids[:, some], self.is_token[:, some], self.visible[:, some, some],
            self.places[:, some],
        )  # fmt: skip


class ListedNames(NamedTuple):
    """A part of a class list as one caption.

    Attributes:
        ids: Of the caption's tokens, start and end among them.
        spans: For every text of the part the places (first, behind) of its own tokens.
        texts: Which texts of the list these are.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    texts: range


@dataclass(frozen=True, eq=False)
class EncodedText:
    """What the enhancer reads of B captions.

    Attributes:
        states: [B, T, C].
        is_token: Bool [B, T], False on padding.
        visible: Bool [B, T, T], True where the row's token sees the column's.
        places: int64 [B, T], of every token in its sub-sentence.
    """

    states: Tensor
    is_token: Tensor
    visible: Tensor
    places: Tensor


def preprocess_caption(caption: str) -> str:
    """In small letters, with a dot at the end."""
    caption = caption.lower().strip()
    return caption if caption.endswith(".") else f"{caption}."


class TextSide(nn.Module):
    """BERT, and a projection to the channels of images.

    Args:
        encoder: The BERT.
        channels: C.
        max_tokens: Of a caption; more are cut off.
        max_names: Of a part of a class list.
        saves_encoder: Whether checkpoints hold the BERT.
    """

    def __init__(
        self,
        *,
        encoder: BertEncoder,
        channels: int,
        max_tokens: int = 256,
        max_names: int = 80,
        saves_encoder: bool = True,
    ) -> None:
        super().__init__()
        keep_own_encoder(self, "encoder", saves_it=saves_encoder)
        self.encoder = encoder
        self.projection = nn.Linear(encoder.width, channels)
        self.max_tokens, self.max_names = max_tokens, max_names
        self._stops = tuple(self._id_of(stop) for stop in STOPS)
        self._not_in_names = tuple(self._id_of(letter) for letter in NOT_IN_NAMES)
        self._kept: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
        fill(self.projection)

    def forward(self, captions: Captions) -> EncodedText:
        """States of captions; those of the last few are kept where nothing learns."""
        captions = captions.cut(self.max_tokens)
        device = self.projection.weight.device
        captions = Captions(*(each.to(device) for each in vars(captions).values()))
        states = self.projection(self.bert_states(captions))
        return EncodedText(states, captions.is_token, captions.visible, captions.places)

    def bert_states(self, captions: Captions) -> Tensor:
        """What BERT says of every token, [N, T, W]."""
        if torch.is_grad_enabled():
            return self._read(captions)
        ids = captions.ids.cpu().numpy()
        key = (captions.ids.device, self.encoder.identity, ids.shape, ids.tobytes())
        if key not in self._kept:
            self._kept[key] = self._read(captions)
        self._kept.move_to_end(key)
        while len(self._kept) > NUM_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def forget(self) -> None:
        """Keeps no states."""
        self._kept.clear()

    def _read(self, captions: Captions) -> Tensor:
        return self.encoder.states_of_ids(captions.ids, captions.visible, captions.places)

    def of_captions(self, captions: Sequence[str]) -> Captions:
        """Whole captions, as they are; see `preprocess_caption`."""
        start, end = self.encoder.start_ids, self.encoder.end_id
        return self.of_ids([(*start, *self.encoder.word_ids(each), end) for each in captions])

    def of_ids(self, ids: Sequence[Sequence[int]]) -> Captions:
        """Captions of tokens, padded to the longest."""
        length = max(map(len, ids))
        rows = torch.full((len(ids), length), self.encoder.pad_id, dtype=torch.int64)
        for row, tokens in zip(rows, ids):
            row[: len(tokens)] = torch.tensor(tokens)
        lengths = torch.tensor([len(tokens) for tokens in ids])
        is_token = torch.arange(length) < lengths[:, None]
        closing = {*self._stops, *self.encoder.start_ids, self.encoder.end_id}
        return Captions(rows, is_token, *sub_sentences(rows, closing))

    def closed(self, caption: str) -> tuple[int, ...]:
        """Tokens of what was said, with a stop at the end."""
        words = self.encoder.word_ids(caption)
        if not words or words[-1] not in self._stops:
            words = [*words, self._stops[0]]
        return (*self.encoder.start_ids, *words, self.encoder.end_id)

    def listed(self, texts: Sequence[str]) -> list[ListedNames]:
        """A class list as few captions, in which every text is a sub-sentence of its own.

        Raises:
            ValueError: A text has no words.
        """
        start, stop = list(self.encoder.start_ids), self._stops[0]
        room = self.max_tokens - len(start) - 1  # for the end token
        parts: list[ListedNames] = []
        ids, first = list(start), 0
        spans: list[tuple[int, int]] = []
        for number, text in enumerate(texts):
            words = self._fitting(text, room - 1)
            is_full = len(ids) - len(start) + len(words) + 1 > room
            if is_full or len(spans) == self.max_names:
                parts.append(self._part(ids, spans, range(first, number)))
                ids, spans, first = list(start), [], number
            spans.append((len(ids), len(ids) + len(words)))
            ids += [*words, stop]
        parts.append(self._part(ids, spans, range(first, len(texts))))
        return parts

    def name_ids(self, text: str) -> list[int]:
        """Tokens of a name, without those that would end its sub-sentence.

        Raises:
            ValueError: It has no others.
        """
        ids = [each for each in self.encoder.word_ids(text) if each not in self._not_in_names]
        if not ids:
            raise ValueError(f"the name {text!r} has no words")
        return ids

    def _fitting(self, text: str, room: int) -> list[int]:
        words = self.name_ids(text)
        if len(words) > room:
            logger.warning("%r has %d tokens, of which %d are read", text, len(words), room)
        return words[:room]

    def _part(self, ids: list[int], spans: Iterable[tuple[int, int]], texts: range) -> ListedNames:
        return ListedNames((*ids, self.encoder.end_id), tuple(spans), texts)

    def _id_of(self, letter: str) -> int:
        (found,) = self.encoder.word_ids(letter)
        return found


def sub_sentences(ids: Tensor, closing: Iterable[int]) -> tuple[Tensor, Tensor]:
    """Who sees whom, bool [N, T, T], and the place of every token in its sub-sentence, [N, T].

    A sub-sentence ends with a token of `closing`. The first and the last of a row, what is behind
    the last such token, and padding see themselves alone.

    Parity: a caption without a stop at its end is treated otherwise alone than beside a longer one.

    Args:
        ids: int64 [N, T].
        closing: Ids of stops, of the start and of the end token.
    """
    length = ids.shape[1]
    is_closing = torch.isin(ids, torch.tensor(sorted(closing), device=ids.device))
    # the sub-sentence of a token: how many have ended before it
    number = is_closing.cumsum(1) - is_closing.long()  # [N, T]
    columns = torch.arange(length, device=ids.device)
    last = torch.where(is_closing, columns, -1).amax(1, keepdim=True)  # [N, 1]
    is_alone = (columns > last) | (columns == length - 1) | (number == 0)
    if length > 1:
        ends_row = is_closing[:, -1:]  # the row's last token closes nothing
        is_alone = is_alone | (ends_row & (number == number[:, -1:]))
    same = (number[:, :, None] == number[:, None]) & ~(is_alone[:, :, None] | is_alone[:, None])
    visible = same | torch.eye(length, dtype=torch.bool, device=ids.device)
    earlier = torch.ones_like(visible[0]).tril(-1)
    return visible, (visible & earlier).sum(2)
