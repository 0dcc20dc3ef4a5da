"""Spans of tokens: words are covered, whatever tokenizers make of them."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freeseg.text.bert import PACKAGE
from freeseg.text.clip import BytePairs
from freeseg.text.spans import NOWHERE, cleaned_spans, covering, hugging_face_spans, with_marks
from freeseg.text.toy_clip import WordTokenizer

WORDS = [
    "cat", "Dog", "TRAFFIC", "Straße", "über", "u\u0308ber", "cafe\u0301", "İstanbul", "ΣΑΣ", "猫",
    "한국", "don't", "ice-cream", "12", "(x)", "ﬁsh", "Ａｂｃ", "🚗", "👍🏽", "👩\u200d👧",
    "❤\ufe0f", "naïve", "a_b", "</w>", "…",
]  # fmt: skip
BLANKS = [" ", "  ", "\t", "\n ", "\u00a0"]
ENTITIES = {"&amp;": "&", "&lt;": "<", "&amp;amp;": "&", "&#x41;": "a", "&eacute;": "é"}

written = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(BLANKS)), max_size=6).map(
    lambda pairs: "".join(word + blank for word, blank in pairs)
)


def minilm_words():
    pytest.importorskip("transformers")
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f"{PACKAGE} is not installed")
    from freeseg.text import load_minilm

    return load_minilm().word_spans


@pytest.fixture(scope="module", params=["byte pairs", "words", "word pieces"])
def spans_of(request):
    """What gives the spans of a text, for each kind of tokenizer."""
    if request.param == "byte pairs":
        return BytePairs().spans
    return WordTokenizer([]).spans if request.param == "words" else minilm_words()


def pieces(text, spans):
    return [None if span == NOWHERE else text[slice(*span)] for span in spans]


@given(text=written)
def test_tokens_cover_all_words_stay_inside_them_and_keep_their_order(spans_of, text):
    spans = spans_of(text)
    covered = {place for first, behind in spans for place in range(first, behind)}
    assert covered == {place for place, letter in enumerate(text) if not letter.isspace()}
    assert spans == sorted(spans)
    assert not any(letter.isspace() for piece in pieces(text, spans) for letter in piece)


@given(words=st.lists(st.sampled_from(["cat", "Dog", "TRAFFIC", "surfboards"]), min_size=1))
def test_tokens_of_plain_words_divide_them(spans_of, words):
    text = "  ".join(words)
    spans = spans_of(text)
    assert "".join(pieces(text, spans)) == "".join(words)


def test_what_one_character_became_has_its_span():
    text = "&amp; İ  ﬁ u\u0308"
    spans = BytePairs().spans(text)
    assert pieces(text, spans) == ["&amp;", "İ", "İ", "ﬁ", "u\u0308"]
    assert NOWHERE not in spans


@pytest.mark.parametrize(("entity", "letter"), ENTITIES.items())
def test_a_reference_of_html_counts_as_the_character_that_it_is(entity, letter):
    plain, referring = f"x {letter} y", f"x {entity} y"
    tokens = BytePairs()
    assert tokens.encode(referring) == tokens.encode(plain)
    assert pieces(referring, tokens.spans(referring))[1:-1] == [entity] * (
        len(tokens.encode(plain)) - 2
    )


def test_text_in_a_wrong_encoding_has_the_span_of_what_was_mended():
    text = "schÃ¶n Auto"
    assert BytePairs().encode(text) == BytePairs().encode("schön Auto")
    assert "".join(dict.fromkeys(pieces(text, BytePairs().spans(text)))) == "schÃ¶nAuto"


def test_a_text_without_words_has_no_spans(spans_of):
    assert spans_of("") == spans_of(" \n ") == []


def test_what_a_cleaner_adds_has_no_place_and_what_it_drops_moves_nothing():
    text = "(red), star"
    assert cleaned_spans(text, "a red star", lambda part: part.strip("(),")) == [
        NOWHERE, NOWHERE, (1, 2), (2, 3), (3, 4), NOWHERE, (7, 8), (8, 9), (9, 10), (10, 11),
    ]  # fmt: skip
    assert cleaned_spans("ab", "xab", str.lower) == [NOWHERE, (0, 1), (1, 2)]


def test_the_covering_span_leaves_out_what_is_nowhere():
    assert covering([(3, 5), NOWHERE, (1, 2)]) == (1, 5)
    assert covering([NOWHERE]) == covering([]) == NOWHERE


def test_marks_that_no_token_has_belong_to_the_token_before():
    assert with_marks("a\u0301\u0302 b", [(0, 1), (4, 5)]) == [(0, 3), (4, 5)]
    assert with_marks("a\u0301b", [(0, 1), (1, 2), NOWHERE]) == [(0, 1), (1, 2), NOWHERE]
    assert with_marks("\u0301a", [NOWHERE, (1, 2)]) == [NOWHERE, (1, 2)]


class _Offsets:
    """A tokenizer that has these offsets, whatever it reads."""

    def __init__(self, *offsets) -> None:
        self.offset_mapping = offsets

    def __call__(self, text, **options):
        assert not options["add_special_tokens"]
        return self


def test_blanks_beside_a_token_are_no_part_of_it():
    found = hugging_face_spans(_Offsets((0, 1), (0, 4), (3, 8), (8, 8)), " red  star")
    assert found == [NOWHERE, (1, 4), (3, 8), NOWHERE]


def test_offsets_in_a_cleaned_text_are_those_of_the_text_as_it_was_written():
    clean = lambda text: " ".join(text.lower().split())  # noqa: E731
    assert hugging_face_spans(_Offsets((0, 3), (3, 8)), "  Red \n Star", clean) == [(2, 5), (8, 12)]
