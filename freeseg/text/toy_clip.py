"""A CLIP of about a megabyte that knows Shapes and nothing else, for tests and small studies.

`tools/pretrain_toy_clip.py` trains it on all classes of Shapes, which stands in for the web data of
a real CLIP: what a segmentation model never saw in training, its CLIP may have.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from freeseg.checkpoints import write_checkpoint
from freeseg.text.clip import CLIP, ClipSpec
from freeseg.text.encoder import TEXT_ENCODER_REGISTRY
from freeseg.text.spans import Span, cleaned_spans, covering, with_marks

WEIGHTS = Path(__file__).with_name("toy_clip.safetensors")
_WORDS = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")
SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")

logger = logging.getLogger(__name__)


class WordTokenizer:
    """One token per word of a fixed list; any other word is "unknown", with a warning."""

    start_id = SPECIAL.index("<start>")
    end_id = SPECIAL.index("<end>")
    unknown_id = SPECIAL.index("<unknown>")

    def __init__(self, words: Sequence[str]) -> None:
        """Numbers the words in their order, behind the special tokens."""
        self.words = tuple(words)
        self._ids = {word: number for number, word in enumerate(self.words, start=len(SPECIAL))}

    def __len__(self) -> int:
        return len(SPECIAL) + len(self.words)

    def encode(self, text: str) -> list[int]:
        """Ids of a text's words; a warning names those that have none."""
        parts = self.split(text)
        unknown = [part for part in parts if part not in self._ids]
        if unknown:
            logger.warning(
                "the toy CLIP does not know %s of %r: it knows Shapes alone",
                ", ".join(map(repr, dict.fromkeys(unknown))),
                text,
            )
        return self.encode_known(parts)

    def spans(self, text: str) -> list[Span]:
        """Where a text's words, digits and signs stand in it."""
        lower = text.lower()
        places = cleaned_spans(text, lower, str.lower)
        words = (match.span() for match in _WORDS.finditer(lower))
        return with_marks(text, [covering(places[first:behind]) for first, behind in words])

    @staticmethod
    def split(text: str) -> list[str]:
        """Words, digits and signs of a text, in lower case."""
        return _WORDS.findall(text.lower())

    def encode_known(self, parts: Sequence[str]) -> list[int]:
        """Ids of words, without a warning."""
        return [self._ids.get(part, self.unknown_id) for part in parts]


def new_toy_clip(words: Sequence[str]) -> CLIP:
    """An untrained toy CLIP over a word list."""
    tokenizer = WordTokenizer(words)
    return CLIP(_spec(len(tokenizer)), tokenizer)


def save_toy_clip(model: CLIP, path: str | Path, about: str) -> None:
    """Writes half-precision weights, which take half the room, with the word list beside them."""
    tokenizer = model.tokenizer
    if not isinstance(tokenizer, WordTokenizer):
        raise TypeError("a toy CLIP has a WordTokenizer")
    metadata = {"words": json.dumps(tokenizer.words), "about": about}
    write_checkpoint(model.state_dict(), path, half=True, metadata=metadata)


def load_toy_clip(path: str | Path = "") -> CLIP:
    """The frozen toy CLIP from a file; empty for the one that is shipped."""
    with safe_open(Path(path or WEIGHTS).expanduser(), framework="pt") as file:
        about = file.metadata() or {}
        state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    if "words" not in about:
        raise ValueError(f"{path} is no toy CLIP: it has no word list")
    model = new_toy_clip(json.loads(about["words"]))
    model.load_state_dict(state)
    return model.requires_grad_(False).eval()


@TEXT_ENCODER_REGISTRY.register()
def toy_clip(cfg: Any) -> CLIP:
    """The toy CLIP from MODEL.TEXT_ENCODER.WEIGHTS, or the one that is shipped."""
    return load_toy_clip(cfg.MODEL.TEXT_ENCODER.WEIGHTS)


def _spec(num_tokens: int) -> ClipSpec:
    return ClipSpec(
        embed_dim=64,
        image_size=32,
        patch_size=8,
        vision_width=96,
        vision_layers=3,
        vision_heads=3,
        text_width=64,
        text_layers=2,
        text_heads=2,
        context_length=64,
        vocabulary_size=num_tokens,
        quick_gelu=False,
    )
