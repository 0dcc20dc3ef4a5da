"""BERT against transformers' BertModel called directly."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from detectron2.config import get_cfg
from freeseg.config import add_freeseg_config
from freeseg.text import BertEncoder, build_text_encoder, load_bert

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[2] / "../shared"))
GOLDEN = SHARED / "golden/grounding_dino_tiny"
transformers = pytest.importorskip("transformers")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    ".",
    "cat",
    "dog",
    "surf",
    "##board",
    "##s",
    "red",
    "uber",
]
TEXTS = ["a red cat", "SURFBOARDS", "", "Über dog ."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random BERT in Hugging Face's layout."""
    path = tmp_path_factory.mktemp("bert")
    (path / "vocab.txt").write_text("\n".join(WORDS))
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=40, max_position_embeddings=16,
    )  # fmt: skip
    model = transformers.BertModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder):
    return load_bert(str(folder)).requires_grad_(False).eval()


def directly(folder, **inputs):
    """States of transformers' own model, from its own reading of the folder."""
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(**inputs).last_hidden_state


def test_states_and_features_are_transformers(folder, encoder):
    batch = transformers.AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, return_tensors="pt"
    )
    wanted = directly(folder, input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    found = encoder.states(TEXTS)
    is_token = batch.attention_mask.bool()
    assert torch.equal(found.is_token, is_token)
    torch.testing.assert_close(found.states[is_token], wanted[is_token], atol=1e-5, rtol=0)
    weights = is_token[..., None].float()
    mean = (wanted * weights).sum(1) / weights.sum(1)
    torch.testing.assert_close(found.pooled, mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.pooled, encoder(encoder.tokenize(TEXTS)), atol=1e-6, rtol=0)
    assert encoder.context_length == 16


def test_spans_are_of_the_text_as_it_was_written(encoder):
    spans = encoder.states(TEXTS).spans
    assert spans[1, :5].tolist() == [[-1, -1], [0, 4], [4, 9], [9, 10], [-1, -1]]
    assert spans[3, :4].tolist() == [[-1, -1], [0, 4], [5, 8], [9, 10]]


def parts_of_captions():
    """Two captions of parts that see themselves only, one with padding, and their positions."""
    ids = torch.tensor([[2, 10, 5, 4, 7, 8, 4, 3], [2, 6, 4, 3, 0, 0, 0, 0]])
    visible = torch.eye(8, dtype=torch.bool).repeat(2, 1, 1)
    visible[0, 1:4, 1:4] = visible[0, 4:7, 4:7] = visible[1, 1:3, 1:3] = True
    positions = torch.tensor([[0, 0, 1, 2, 0, 1, 2, 0], [0, 0, 1, 0, 0, 0, 0, 0]])
    return ids, visible, positions


def test_tokens_that_see_a_part_are_transformers(folder, encoder):
    ids, visible, positions = parts_of_captions()
    mask = visible.long()  # until transformers 5, which takes heads and what is added instead
    if int(transformers.__version__.split(".")[0]) >= 5:
        mask = torch.zeros(2, 1, 8, 8).masked_fill(~visible[:, None], torch.finfo().min)
    wanted = directly(folder, input_ids=ids, attention_mask=mask, position_ids=positions)
    found = encoder.states_of_ids(ids, visible, positions)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    everything = encoder.states_of_ids(ids, torch.ones(2, 8, dtype=torch.bool))
    assert (everything - found).abs().max() > 0.1


def test_a_part_has_the_states_that_it_has_alone(folder, encoder):
    ids, visible, positions = parts_of_captions()
    found = encoder.states_of_ids(ids, visible, positions)
    for row, first, behind in [(0, 0, 1), (0, 1, 4), (0, 4, 7), (0, 7, 8), (1, 1, 3), (1, 5, 6)]:
        alone = directly(folder, input_ids=ids[row : row + 1, first:behind])
        torch.testing.assert_close(found[row, first:behind], alone[0], atol=1e-5, rtol=0)


def test_tokens_that_all_may_see_are_those_of_whole_texts(encoder):
    ids = encoder.tokenize(TEXTS)[:, :6]
    found = encoder.states(TEXTS)
    states = encoder.states_of_ids(ids, ids != encoder.pad_id)
    length = found.states.shape[1]
    is_token = found.is_token
    torch.testing.assert_close(
        states[:, :length][is_token], found.states[is_token], atol=1e-5, rtol=0
    )


def test_gradients_reach_all_that_a_text_goes_through(folder):
    encoder = load_bert(str(folder)).requires_grad_(True)
    encoder.states_of_ids(*parts_of_captions()).square().sum().backward()
    assert [name for name, weight in encoder.named_parameters() if weight.grad is None] == []


def test_wrong_shapes_and_places_are_named(encoder):
    ids, visible, positions = parts_of_captions()
    with pytest.raises(ValueError, match=r"shape \(2, 8\) or \(2, 8, 8\), got \(2, 8, 7\)"):
        encoder.states_of_ids(ids, visible[..., :7], positions)
    with pytest.raises(ValueError, match="stands at place 16, BERT has 16 places"):
        encoder.states_of_ids(ids, visible, positions + 14)
    long = torch.full((1, 17), 5)
    with pytest.raises(ValueError, match="stands at place 16, BERT has 16 places"):
        encoder.states_of_ids(long, long > 0)


# files


def older_names(state):
    """As the first published files have them: heads beside the model, TensorFlow's norms."""
    found = {}
    for key, value in state.items():
        key = key.replace("LayerNorm.weight", "LayerNorm.gamma")
        found["bert." + key.replace("LayerNorm.bias", "LayerNorm.beta")] = value
    found["bert.embeddings.position_ids"] = torch.arange(16)[None]
    found["cls.predictions.bias"] = torch.zeros(len(WORDS))
    return found


@pytest.mark.parametrize("form", ["safetensors", "bin", "parts"])
def test_published_files_of_every_form_load(folder, encoder, tmp_path, form):
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    state = older_names(load_file(folder / "model.safetensors"))
    if form == "safetensors":
        save_file(state, tmp_path / "model.safetensors")
    elif form == "bin":
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        names = {key: f"part{number % 2}.safetensors" for number, key in enumerate(state)}
        for part in ("part0.safetensors", "part1.safetensors"):
            save_file({key: state[key] for key in state if names[key] == part}, tmp_path / part)
        index = json.dumps({"weight_map": names})
        (tmp_path / "model.safetensors.index.json").write_text(index)
    found = load_bert(str(tmp_path)).requires_grad_(False).eval()
    torch.testing.assert_close(found.states(TEXTS).states, encoder.states(TEXTS).states)


def test_the_configuration_names_the_folder(folder, encoder):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.TEXT_ENCODER.NAME, cfg.MODEL.TEXT_ENCODER.WEIGHTS = "bert", str(folder)
    built = build_text_encoder(cfg)
    assert not any(weight.requires_grad for weight in built.parameters())
    assert built.identity == encoder.identity
    cfg.MODEL.TEXT_ENCODER.WEIGHTS = ""
    with pytest.raises(ValueError, match=r"bert has no weights .*MODEL\.TEXT_ENCODER\.WEIGHTS"):
        build_text_encoder(cfg)
    cfg.MODEL.TEXT_ENCODER.WEIGHTS = str(folder / "vocab.txt")
    with pytest.raises(ValueError, match=r"vocab\.txt is no folder of a Hugging Face model"):
        build_text_encoder(cfg)


def test_weights_of_another_model_are_refused(folder, tmp_path):
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors"):
        load_bert(str(tmp_path))
    save_file(
        {"embeddings.word_embeddings.weight": torch.zeros(3, 24)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(ValueError, match=r"are not of its config\.json"):
        load_bert(str(tmp_path))


def test_missing_transformers_are_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"encoder bert needs transformers: .*freeseg\[minilm\]"):
        load_bert(str(folder))


# what the original of Grounding DINO computes


@pytest.mark.golden
@pytest.mark.parametrize("case", ["one", "two", "padded"])
def test_sub_sentences_have_the_originals_states(case):
    if not GOLDEN.is_dir():
        pytest.skip(f"no stored outputs of the original at {GOLDEN}")
    state = load_file(GOLDEN / "model.safetensors")
    config = json.loads((GOLDEN / "config.json").read_text())["bert"]
    bert = transformers.BertModel(transformers.BertConfig(**config), add_pooling_layer=False)
    bert.load_state_dict({key: state[f"bert.{key}"] for key in bert.state_dict()})
    ids = SimpleNamespace(cls_token_id=101, sep_token_id=102, pad_token_id=0)
    encoder = BertEncoder(bert, ids).requires_grad_(False).eval()
    stored = load_file(GOLDEN / "io.safetensors")
    found = encoder.states_of_ids(
        stored[f"{case}.input_ids"],
        stored[f"{case}.text_self_attention_masks"].bool(),
        stored[f"{case}.position_ids"],
    )
    torch.testing.assert_close(found, stored[f"{case}.bert_output"], atol=1e-5, rtol=0)
