"""Where tokens stand in a text as it was written, through cleaning, lower-casing and splitting.

A span is (first, behind) in characters of the text; `NOWHERE` is that of a token without any.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Span = tuple[int, int]

NOWHERE: Span = (-1, -1)
# a reference of HTML, of which "&" may be escaped again; blanks; any other character
_UNITS = re.compile(r"&(?:amp;)*(?:#\d+|#[xX][\da-fA-F]+|[A-Za-z][A-Za-z\d]*);|\s+|.", re.DOTALL)
_WORD_END = "</w>"  # behind the last token of a word, in CLIP's vocabulary


def cleaned_spans(text: str, cleaned: str, clean: Callable[[str], str]) -> list[Span]:
    """The characters of `text` that every character of `cleaned` was made of.

    Exact where characters, with the marks on them, and references of HTML are cleaned one by one:
    capitals, blanks, composed letters, ligatures, "&amp;". What is only cleaned in its
    surroundings, as text in a wrong encoding, has the span of the whole changed piece. Blanks are
    `NOWHERE`.

    Args:
        text: As it was written.
        cleaned: ``clean(text)``.
        clean: Of a tokenizer.
    """
    letters, places = _read_one_by_one(text, clean)
    wanted = [letter for letter in cleaned if not letter.isspace()]
    if letters != wanted:
        places = _aligned(letters, places, wanted)
    rest = iter(places)
    return [NOWHERE if letter.isspace() else next(rest) for letter in cleaned]


def byte_pair_spans(tokenizer: Any, text: str) -> list[Span]:
    """Spans of the tokens that open_clip's `SimpleTokenizer` makes of a text.

    A character of several tokens, as most emoji, is the span of each of them.
    """
    cleaned = tokenizer.clean_fn(text)
    letters = zip(cleaned, cleaned_spans(text, cleaned, tokenizer.clean_fn))
    # one entry per byte: tokens are bytes, and only blanks belong to none
    places = [place for letter, place in letters if not letter.isspace() for _ in letter.encode()]
    spans, first = [], 0
    for number in tokenizer.encode(text):
        behind = first + len(tokenizer.decoder[number].removesuffix(_WORD_END))
        spans.append(covering(places[first:behind]))
        first = behind
    return with_marks(text, spans)


def hugging_face_spans(
    tokenizer: Any, text: str, clean: Callable[[str], str] | None = None
) -> list[Span]:
    """Spans of the tokens that a fast tokenizer of Hugging Face makes of a text.

    Args:
        tokenizer: Which follows its own normalisation.
        text: As it was written.
        clean: What is done to a text before the tokenizer sees it; None for nothing.
    """
    seen = clean(text) if clean else text
    encoding = tokenizer(seen, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = [_without_blanks(seen, span) for span in encoding.offset_mapping]
    if clean:
        places = cleaned_spans(text, seen, clean)
        offsets = [covering(places[first:behind]) for first, behind in offsets]
    return with_marks(text, offsets)


def covering(spans: Iterable[Span]) -> Span:
    """The least span that has all others; those that are `NOWHERE` do not count."""
    known = [span for span in spans if span != NOWHERE]
    if not known:
        return NOWHERE
    return min(first for first, _ in known), max(behind for _, behind in known)


def with_marks(text: str, spans: Sequence[Span]) -> list[Span]:
    """Spans with the marks behind them that no token has: accents, selectors, joiners."""
    taken = {place for first, behind in spans for place in range(first, behind)}
    longer = []
    for first, behind in spans:
        while 0 < behind < len(text) and behind not in taken and _is_mark(text[behind]):
            behind += 1
        longer.append((first, behind))
    return longer


def _read_one_by_one(text: str, clean: Callable[[str], str]) -> tuple[list[str], list[Span]]:
    """The characters, without blanks, that the units of a text are cleaned to, and their spans."""
    letters: list[str] = []
    places: list[Span] = []
    known: dict[str, str] = {}
    for first, behind in _units(text):
        unit = text[first:behind]
        if unit not in known:
            known[unit] = "".join(clean(unit).split())
        read = known[unit]
        is_same = len(read) == behind - first
        letters += read
        places += [
            (first + n, first + n + 1) if is_same else (first, behind) for n in range(len(read))
        ]
    return letters, places


def _units(text: str) -> list[Span]:
    """What is cleaned as one: references of HTML, runs of blanks, characters with their marks."""
    spans: list[Span] = []
    for match in _UNITS.finditer(text):
        first, behind = match.span()
        if spans and unicodedata.category(text[first])[0] == "M":
            first = spans.pop()[0]
        spans.append((first, behind))
    return spans


def _aligned(letters: list[str], places: list[Span], wanted: list[str]) -> list[Span]:
    """Spans of the letters `wanted` by the longest pieces that they share with `letters`."""
    found: list[Span] = []
    blocks = difflib.SequenceMatcher(None, letters, wanted, autojunk=False).get_opcodes()
    for _, first, behind, start, stop in blocks:
        if behind - first == stop - start:
            found += places[first:behind]
        else:
            found += [covering(places[first:behind])] * (stop - start)
    return found


def _without_blanks(text: str, span: Span) -> Span:
    first, behind = span
    while first < behind and text[first].isspace():
        first += 1
    while first < behind and text[behind - 1].isspace():
        behind -= 1
    return (first, behind) if first < behind else NOWHERE


def _is_mark(letter: str) -> bool:
    category = unicodedata.category(letter)
    return category[0] == "M" or category == "Cf"
