"""Hugging Face's ports of Grounding DINO and MM-Grounding-DINO with the same random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from freeseg import Segmenter
from freeseg.checkpoints import config_from_hugging_face
from freeseg.checkpoints.reading import read_checkpoint
from freeseg.systems.grounding_dino import decoder

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from hugging_face_ports import load_port

CAPTION = "a red car . traffic light . person."
PORTS = {
    "GroundingDino": {"decoder_bbox_embed_share": True},
    "MMGroundingDino": {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False},
}


def saved(folder, name, **settings):
    transformers = pytest.importorskip("transformers", "5")
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(
        backbone_config=transformers.SwinConfig(
            embed_dim=8,
            depths=[1, 2, 1, 1],
            num_heads=[1, 2, 4, 4],
            window_size=5,
            out_indices=[2, 3, 4],
        ),
        text_config=transformers.BertConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        ),
        d_model=32,
        num_queries=15,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        dropout=0.0,
        **settings,
    )
    port = getattr(transformers, f"{name}ForObjectDetection")(config).eval()
    with torch.no_grad():
        for parameter in port.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    port.save_pretrained(folder)
    return port


@pytest.mark.parametrize(("name", "settings"), PORTS.items())
def test_words_and_boxes_are_the_ports(tmp_path, monkeypatch, name, settings):
    port, model = saved(tmp_path, name, **settings), load_port(tmp_path)
    assert len(model.decoder.bbox_embed) == (1 if settings["decoder_bbox_embed_share"] else 2)
    monkeypatch.setattr(decoder, "EPSILON", 1e-5)  # the port's, see below
    monkeypatch.setattr(model.decoder, "head_epsilon", 1e-5)
    captions = model.text_side.of_captions([CAPTION])
    prepared = model.prepare([torch.randint(0, 256, (3, 92, 124), dtype=torch.uint8)])
    with torch.inference_mode():
        text = model.text_side(captions)
        last = model.decode(model.encode(prepared), text).layers[-1]
        wanted = port(
            pixel_values=prepared.pixels,
            input_ids=captions.ids,
            attention_mask=captions.is_token.long(),
            token_type_ids=torch.zeros_like(captions.ids),
        )
    length = captions.ids.shape[1]
    torch.testing.assert_close(last.word_logits, wanted.logits[..., :length], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(last.boxes, wanted.pred_boxes, atol=1e-5, rtol=0)


def test_the_release_counts_where_the_port_keeps_another_distance_from_the_edge(tmp_path):
    saved(tmp_path, "GroundingDino")
    model = load_port(tmp_path)
    assert (decoder.EPSILON, model.decoder.head_epsilon) == (1e-3, 1e-3)
    saved(tmp_path / "mm", "MMGroundingDino", **PORTS["MMGroundingDino"])
    assert load_port(tmp_path / "mm").decoder.head_epsilon == 1e-5


def test_a_folder_with_its_words_needs_no_package(tmp_path, monkeypatch):
    from freeseg.text import bert

    saved(tmp_path, "GroundingDino")
    model = load_port(tmp_path)
    model.text_side.encoder._tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(bert, "PACKAGE", "no_such_package")
    again = load_port(tmp_path)
    captions = [side.text_side.of_captions([CAPTION]).ids for side in (model, again)]
    assert torch.equal(*captions)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises((ImportError, OSError, ValueError)):
        load_port(tmp_path)


def test_a_folder_is_a_model_by_its_path(tmp_path):
    saved(tmp_path, "GroundingDino")
    segmenter = Segmenter.from_pretrained(tmp_path)
    assert segmenter.takes_text
    photo = torch.randint(0, 256, (60, 90, 3), dtype=torch.uint8).numpy()
    found = segmenter(photo, text="cat, dog")
    assert set(found.names) <= {"cat", "dog"}


def test_a_port_with_other_parts_is_refused_by_name(tmp_path):
    saved(tmp_path, "GroundingDino")
    file = tmp_path / "config.json"
    port = json.loads(file.read_text())
    for change, message in (
        ({"two_stage": False}, "two_stage is False, which no release has"),
        ({"backbone_config": {"model_type": "resnet"}}, "the backbone is resnet, known is swin"),
    ):
        file.write_text(json.dumps({**port, **change}))
        with pytest.raises(ValueError, match=message):
            config_from_hugging_face(tmp_path)
    assert read_checkpoint(tmp_path / "model.safetensors")


def test_without_names_somebody_has_to_give_some(tmp_path):
    saved(tmp_path, "GroundingDino")
    photo = torch.randint(0, 256, (60, 90, 3), dtype=torch.uint8).numpy()
    with pytest.raises(ValueError, match="GroundingDINO needs classes for instance"):
        Segmenter.from_pretrained(tmp_path)(photo)
