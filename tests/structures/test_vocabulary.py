from __future__ import annotations

import pytest
import torch

from freeseg.structures import Vocabulary


def test_flags_and_synonyms_of_what_a_user_typed():
    vocabulary = Vocabulary.from_classes(["car|automobile", "sky: stuff unseen", "tree: seen"])
    assert vocabulary.names == ("car", "sky", "tree")
    assert vocabulary.is_thing == (True, False, True)
    assert vocabulary.is_seen == (False, False, True)
    assert vocabulary.texts == ("car", "automobile", "sky", "tree")
    assert Vocabulary.from_classes("car, sky").is_seen is None


def test_metadata_says_what_is_seen():
    metadata = {"stuff_classes": ["car", "sky"], "trainable_flag": [0, 1]}
    vocabulary = Vocabulary.from_metadata(metadata, 2)
    assert vocabulary.is_seen == (False, True)
    assert Vocabulary.from_metadata(metadata, 5).is_seen is None, "of another class list"


def test_a_class_is_as_likely_as_its_best_text():
    vocabulary = Vocabulary.from_classes("a|b|c, d, e|f")
    logits = torch.tensor([[1.0, 5.0, 2.0, -3.0, 0.0, -1.0, 9.0], [4, 0, 0, 7, -6, -5, 8.0]])
    expected = torch.tensor([[5.0, -3.0, 0.0, 9.0], [4, 7, -5, 8.0]])
    assert torch.equal(vocabulary.merge_synonyms(logits), expected)
    assert torch.equal(vocabulary.merge_synonyms(logits[:, :6]), expected[:, :3]), "without void"


def test_without_synonyms_merging_changes_nothing_and_gradients_reach_the_best_text():
    logits = torch.randn(2, 3, 5)
    assert Vocabulary.from_classes("a, b, c, d").merge_synonyms(logits) is logits
    text_logits = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    Vocabulary.from_classes("a|b, c").merge_synonyms(text_logits)[0].backward()
    assert text_logits.grad.tolist() == [0, 1, 0]


def test_too_few_columns_are_refused():
    with pytest.raises(ValueError, match="wanted logits of 3 texts, got 2 columns"):
        Vocabulary.from_classes("a|b, c").merge_synonyms(torch.zeros(2))


def test_other_comes_last_and_not_twice():
    vocabulary = Vocabulary.from_classes("car, background").with_other()
    assert vocabulary.names == ("car", "background", "other")
    assert vocabulary.other == 2
    assert vocabulary.synonyms[2] == ("other",), "background has a class of its own"
    assert vocabulary.is_thing[2] is False
    with pytest.raises(ValueError, match="has 'other'"):
        vocabulary.with_other()
    assert Vocabulary.from_classes("car").with_other(["none of these"]).texts[1] == "none of these"


def test_seen_classes_are_found_by_any_of_their_texts():
    vocabulary = Vocabulary.from_classes("car|automobile, sky, dog").with_seen(
        ["Automobile", "dog "]
    )
    assert vocabulary.is_seen == (True, False, True)
    assert vocabulary.seen_mask(torch.zeros(())).tolist() == [True, False, True]
    assert vocabulary.unseen_classes() == [1]
    nobody_said = Vocabulary.from_classes("car, sky")
    assert not nobody_said.seen_mask(torch.zeros(())).any()


def test_selected_classes_take_everything_along():
    vocabulary = Vocabulary.from_classes("car|auto: seen, sky: stuff").with_other()
    chosen = vocabulary.select([2, 0])
    assert chosen.names == ("other", "car")
    assert chosen.synonyms == (("other", "background"), ("car", "auto"))
    assert chosen.is_seen == (False, True)
    assert chosen.other == 0
    assert vocabulary.select([1]).other is None


@pytest.mark.parametrize(
    ("name", "texts"),
    {
        "road, route": ("road", "route"),
        "tree-merged": ("tree",),
        "ceiling-other-merged": ("ceiling",),
        "wall-concrete": ("wall concrete",),
        "window ": ("window",),
        "dog": ("dog",),
    }.items(),
)
def test_plain_texts_of_dataset_names(name, texts):
    vocabulary = Vocabulary((name,), (True,)).with_plain_texts()
    assert vocabulary.names == (name,)
    assert vocabulary.synonyms == (texts,)


def test_fields_must_agree():
    with pytest.raises(ValueError, match="one seen flag per class, got 2 names and 1"):
        Vocabulary(("a", "b"), (True, True), is_seen=(True,))
    with pytest.raises(ValueError, match="one tuple of synonyms per class"):
        Vocabulary(("a", "b"), (True, True), synonyms=(("a",),))
    with pytest.raises(ValueError, match="class 'b' has no text"):
        Vocabulary(("a", "b"), (True, True), synonyms=(("a",), ()))


def test_things_are_what_thing_classes_names_where_no_ids_say():
    both = {"stuff_classes": ["felt", "owl", "sky"], "thing_classes": ["owl"]}
    assert Vocabulary.of_dataset(both).is_thing == (False, True, False)
    assert Vocabulary.of_dataset({"stuff_classes": ["felt"]}).is_thing == (False,)
    assert Vocabulary.of_dataset({"thing_classes": ["owl"]}).is_thing == (True,)
