from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from detectron2.config import get_cfg
from freeseg.config import add_freeseg_config
from freeseg.data.shapes.crops import cut_crops
from freeseg.data.shapes.phrases import SYNONYMS, words
from freeseg.data.shapes.vocabulary import COLORS, SHAPES, STUFF
from freeseg.engine.contrastive import PretrainSettings, pretrain, retrieval_accuracy
from freeseg.text import TemplatePrompts, build_text_encoder
from freeseg.text.toy_clip import (
    WEIGHTS,
    WordTokenizer,
    load_toy_clip,
    new_toy_clip,
    save_toy_clip,
)


@pytest.fixture(scope="module")
def model():
    return load_toy_clip()


@pytest.fixture(scope="module")
def held_out(model):
    return cut_crops(24, seed=77, side=32, fill=model.pixel_mean, exact=True)


def features(model, texts):
    with torch.no_grad():
        return F.normalize(model(model.tokenize(texts)), dim=-1)


def test_the_shipped_weights_are_about_a_megabyte():
    assert WEIGHTS.stat().st_size < 1_100_000


def test_it_names_crops_that_it_never_saw(model, held_out):
    accuracy = retrieval_accuracy(model, held_out)
    assert accuracy["masked_seen"] > 85
    assert accuracy["masked_unseen"] > 80
    assert accuracy["plain_seen"] > 65
    assert accuracy["plain_unseen"] > 60


def test_synonyms_are_nearest_to_what_they_mean(model):
    names = [f"{color} {shape}" for color in COLORS for shape in SHAPES] + list(STUFF)
    queries = {"violet disc": "purple circle", "crimson box": "red square", "lawn": "grass",
               "sea": "water", "wall": "brick", "rose plus": "pink cross"}  # fmt: skip
    similarity = features(model, list(queries)) @ features(model, names).T
    assert [names[index] for index in similarity.argmax(1)] == list(queries.values())


def test_a_name_far_behind_in_a_sentence_keeps_its_meaning(model):
    """Where learned prompts put it."""
    names = ["red star", "blue heart", "sand", "white cross"]
    behind = [f"{'the photo of this ' * 7}{name}." for name in names]
    similarity = features(model, behind) @ features(model, names).T
    assert similarity.argmax(1).tolist() == [0, 1, 2, 3]


def test_every_word_of_shapes_is_known_and_any_other_is_warned_about(model, caplog):
    everything = [
        *COLORS,
        *SHAPES,
        *STUFF,
        *(word for group in SYNONYMS.values() for word in group),
    ]
    model.tokenize([*everything, "panoptic segmentation."])
    assert not caplog.records
    ids = model.tokenize(["Red  STAR", "red 猫 star 🚗"])
    assert "does not know '猫', '🚗' of 'red 猫 star 🚗'" in caplog.text
    unknown = WordTokenizer.unknown_id
    assert ids[1, 2] == ids[1, 4] == unknown
    assert ids[0, 1] == ids[1, 1]


def test_the_configuration_builds_it_frozen():
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.TEXT_ENCODER.NAME = "toy_clip"
    encoder = build_text_encoder(cfg)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.image_size == (32, 32)
    assert encoder.identity == load_toy_clip().identity


def test_words_are_split_from_signs():
    tokenizer = WordTokenizer(["red", "star", ".", "2"])
    assert tokenizer.encode("Red star. 22") == [4, 5, 6, 7, 7]
    assert len(tokenizer) == 8


def trained(crops, steps: int):
    torch.manual_seed(0)
    model = new_toy_clip(words())
    pretrain(model, crops, PretrainSettings(steps=steps, crops=24, scenes=4, warmup=3))
    return model


def test_training_improves_and_is_kept_in_half_precision(tmp_path):
    crops = cut_crops(6, seed=5, side=32, fill=(0.5, 0.5, 0.5), exact=False)
    untrained, model = trained(crops, 0), trained(crops, 12)
    before, after = (retrieval_accuracy(each, crops)["masked_seen"] for each in (untrained, model))
    assert after > before + 5
    save_toy_clip(model, tmp_path / "toy.safetensors", "a test")
    loaded, state = load_toy_clip(tmp_path / "toy.safetensors").state_dict(), model.state_dict()
    assert all(torch.equal(loaded[key], state[key].half().float()) for key in loaded)


def test_training_repeats():
    crops = cut_crops(4, seed=5, side=32, fill=(0.5, 0.5, 0.5), exact=False)
    one, other = (trained(crops, 2).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_masked_crops_show_the_segment_alone():
    """Pixels outside of the mask have the fill colour exactly."""
    fill = (0.0, 1.0, 0.0)
    crops = cut_crops(3, seed=1, side=32, fill=fill, exact=True)
    is_fill = (crops.masked == torch.tensor([0, 255, 0]).view(3, 1, 1)).all(1).flatten(1)
    things = crops.classes < 48
    assert (is_fill[things].float().mean(1) > 0.05).any()
    assert (is_fill.float().mean(1) < 0.95).all()


def test_a_file_of_another_kind_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="is no toy CLIP: it has no word list"):
        load_toy_clip(tmp_path / "other.safetensors")


def test_a_thousand_names_are_encoded_in_parts_and_each_by_itself(model):
    names = [
        f"{color} {shape} {number}" for number in range(21) for color in COLORS for shape in SHAPES
    ]
    prompts = TemplatePrompts(["{}"])
    with torch.no_grad():
        everything = prompts(model, names, "semantic")
        some = prompts(model, names[500:503], "semantic")
    assert everything.shape == (1008, 64)
    torch.testing.assert_close(everything[500:503], some, atol=1e-5, rtol=1e-4)
