"""Grounding DINO against Hugging Face's port with the same weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from benchmark_rows.contest import Contest, Row, assert_close
from freeseg import build_model
from freeseg.checkpoints import KEY_MAPS, config_from_hugging_face
from freeseg.modeling import fuse_for_inference

SIZE = (800, 1066)
CAPTIONS = ("a red car . traffic light . person .", "potted plant . wine glass . dog .")
TOLERANCE = 1e-3  # of memories, after six layers of fusion and attention to 17,821 tokens


def _pair():
    """A port of the release's Swin-T with random weights, and ours with the same."""
    import transformers

    torch.manual_seed(0)
    swin = transformers.SwinConfig(out_indices=[2, 3, 4], drop_path_rate=0.0)
    config = transformers.GroundingDinoConfig(backbone_config=swin, dropout=0.0)
    theirs = transformers.GroundingDinoForObjectDetection(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.config.save_pretrained(folder)
        cfg = config_from_hugging_face(Path(folder))
        cfg.MODEL.DEVICE = "cpu"
        ours = build_model(cfg).eval()
    with torch.no_grad():
        for layer in theirs.model.encoder.layers:  # else texts and images hardly meet
            layer.fusion_layer.vision_param.fill_(0.3)
            layer.fusion_layer.text_param.fill_(0.3)
    converted = KEY_MAPS["hf-grounding-dino"].convert(theirs.state_dict())
    ours.load_state_dict(converted.state, strict=False)
    return fuse_for_inference(ours), theirs


def _asked(*, again: bool) -> Contest:
    """A caption about a photo; `again`: after another one about the same."""
    ours, theirs = _pair()
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    prepared = ours.prepare([image])
    with torch.inference_mode():
        encoded = ours.encode(prepared) if again else None
    captions = [ours.text_side.of_captions([caption]) for caption in CAPTIONS]
    turn = 0

    @torch.inference_mode()
    def answer():
        nonlocal turn
        turn += 1
        ours.text_side.forget()  # every caption is a new one
        text = ours.text_side(captions[turn % 2])
        features = encoded if again else ours.encode(ours.prepare([image]))
        found = ours.decode(features, text)
        return [found.enhanced.image, found.enhanced.text]

    @torch.inference_mode()
    def answer_theirs():
        asked = captions[turn % 2]
        found = theirs(
            pixel_values=prepared.pixels,
            input_ids=asked.ids,
            attention_mask=asked.is_token.long(),
            token_type_ids=torch.zeros_like(asked.ids),
        )
        return [found.encoder_last_hidden_state_vision, found.encoder_last_hidden_state_text]

    def check(ours, theirs):
        assert_close(ours, theirs, TOLERANCE)

    return Contest(answer, answer_theirs, check)


ROWS = (
    Row(
        "grounding-dino-first",
        f"Grounding DINO Swin-T, {SIZE[0]}x{SIZE[1]}, a caption",
        "Hugging Face's port",
        2.0,
        lambda: _asked(again=False),
    ),
    Row(
        "grounding-dino-second",
        "another caption on the same photo",
        "Hugging Face's port",
        3.0,
        lambda: _asked(again=True),
    ),
)
