"""Grounding DINO on stored inputs; config.json has the release's keys.

Shapes: B images, Q queries, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, get_cfg
from freeseg.config import add_freeseg_config
from freeseg.inference.input_size import InputSize, ResizeTestImage
from freeseg.names import build_model
from freeseg.parity.golden import Golden
from freeseg.systems.grounding_dino.boxes import to_corners
from freeseg.systems.grounding_dino.captions import preprocess_caption
from freeseg.systems.grounding_dino.system import GroundingDINO

ALONE = ("one", "two", "wide", "coco")  # images with a caption each
WIDENED = 256  # tokens of the release's result
RESIZE = ResizeTestImage(InputSize(64, 100, as_detr=True))
COCO_SIZE = (480, 640)  # of the photo that boxes are for
UNITS = {"coco.top_boxes": 640.0}  # which are in pixels
NOT_COMPARED = {
    **dict.fromkeys(("one.image", "two.image", "padded.image.1", "wide.image"), "the input"),
    **dict.fromkeys(("coco.positive_map", "resize.source"), "the input"),
    **{
        f"pair_release.{name}": "the release mixes the masks of two captions"
        for name in (
            *("pred_logits", "pred_boxes", "selection.box_logit", "selection.index"),
            *("selection.token_logit", "encoder.1.text", "input_ids", "attention_mask"),
            *("position_ids", "valid_ratios"),
        )
    },
}


def config_of(values: Mapping[str, Any]) -> CfgNode:
    """A configuration of a stored model's sizes."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "GroundingDINO"
    cfg.MODEL.PIXEL_MEAN = [123.675, 116.28, 103.53]
    cfg.MODEL.PIXEL_STD = [58.395, 57.12, 57.375]
    cfg.INPUT.FORMAT = "RGB"
    cfg.MODEL.BACKBONE.NAME = "D2SwinTransformer"
    swin, sizes = cfg.MODEL.SWIN, values["swin"]
    swin.EMBED_DIM, swin.DEPTHS = sizes["embed_dim"], sizes["depths"]
    swin.NUM_HEADS, swin.WINDOW_SIZE = sizes["num_heads"], sizes["window_size"]
    swin.OUT_FEATURES = [f"res{stage + 2}" for stage in values["return_interm_indices"]]
    encoder, bert = cfg.MODEL.TEXT_ENCODER, values["bert"]
    encoder.NAME = "bert_untrained"
    encoder.BERT.WIDTH, encoder.BERT.DEPTH = bert["hidden_size"], bert["num_hidden_layers"]
    encoder.BERT.NHEADS = bert["num_attention_heads"]
    encoder.BERT.DIM_FEEDFORWARD = bert["intermediate_size"]
    encoder.BERT.POSITIONS = bert["max_position_embeddings"]
    node = cfg.MODEL.GROUNDING_DINO
    node.IN_FEATURES = swin.OUT_FEATURES
    node.NUM_LEVELS, node.NUM_POINTS = values["num_feature_levels"], values["enc_n_points"]
    node.HIDDEN_DIM, node.NHEADS = values["hidden_dim"], values["nheads"]
    node.DIM_FEEDFORWARD = values["dim_feedforward"]
    node.ENC_LAYERS, node.DEC_LAYERS = values["enc_layers"], values["dec_layers"]
    node.NUM_QUERIES = values["num_queries"]
    node.TEMPERATURE = float(values["pe_temperatureH"])
    node.SHARED_HEADS = values["dec_pred_bbox_embed_share"]
    return cfg


def built(golden: Golden) -> GroundingDINO:
    """The stored model."""
    values = json.loads((golden.folder / "config.json").read_text())
    model: GroundingDINO = build_model(config_of(values)).eval()
    golden.fill(model)
    return model


def run_grounding_dino(golden: Golden) -> dict[str, Tensor]:
    """All that is stored, from tokens to boxes."""
    model = built(golden)
    texts = json.loads((golden.folder / "text.json").read_text())
    found: dict[str, Tensor] = {}
    stored = golden.tensors
    for case in ALONE:
        image = stored["one.image" if case == "coco" else f"{case}.image"]
        caption = "one" if case == "wide" else case
        found.update(_case(model, case, [image], [texts["cases"][caption]["caption"]]))
    caption = texts["cases"]["one"]["caption"]
    images = [stored["one.image"], stored["padded.image.1"]]
    found.update(_case(model, "padded", images, [caption] * 2))
    found.update(_coco(found, stored))
    source = stored["resize.source"].permute(1, 2, 0)
    found["resize.result"] = replace(model.photo_input, resize=RESIZE)(source.contiguous().numpy())
    # what is computed of padding is no result
    is_padding = found["padded.image_padding"][..., None]
    image = found["padded.encoder.1.image"]
    found["padded.encoder.1.image"] = stored["padded.encoder.1.image"].where(is_padding, image)
    return found


def _case(
    model: GroundingDINO, name: str, images: list[Tensor], captions: list[str]
) -> dict[str, Tensor]:
    tokens = model.text_side.of_captions([preprocess_caption(each) for each in captions])
    text = model.text_side(tokens)
    with _tapped(model) as taps:
        features = model.encode(model.prepare(images))
        grounded = model.decode(features, text)
    proposals = model.selection.propose(features, grounded.enhanced, text.is_token)
    last = grounded.layers[-1]
    padding = WIDENED - last.word_logits.shape[-1]
    found = {
        "input_ids": tokens.ids,
        "attention_mask": tokens.is_token,
        "text_self_attention_masks": tokens.visible,
        "position_ids": tokens.places,
        "bert_output": model.text_side.bert_states(tokens),
        "encoded_text": text.states,
        "image_tokens": features.tokens,
        "image_position": features.positions,
        "spatial_shapes": torch.tensor(features.sizes),
        "valid_ratios": features.valid_ratios,
        "selection.memory": proposals.memory,
        "selection.token_logit": proposals.scores,
        "selection.delta": model.selection.enc_out_bbox_embed(proposals.memory),
        "selection.index": grounded.selected.tokens,
        "selection.box_logit": grounded.selected.box_logits,
        "pred_logits": F.pad(last.word_logits, (0, padding), value=-torch.inf),
        "pred_boxes": last.boxes,
        **taps,
    }
    for number, layer in enumerate(grounded.layers):
        found[f"decoder.{number}.reference"] = layer.references
        found[f"decoder.{number}.queries"] = layer.queries
        found[f"decoder.{number}.logits"] = layer.word_logits
        found[f"decoder.{number}.boxes"] = layer.boxes
    if features.padding is not None:
        found["image_padding"] = features.padding
    return {f"{name}.{key}": value for key, value in found.items()}


@contextmanager
def _tapped(model: GroundingDINO) -> Iterator[dict[str, Tensor]]:
    """What the backbone and every layer of the enhancer give, by name."""
    found: dict[str, Tensor] = {}
    enhancer = model.enhancer

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: found.update({name: output})

    def keep_both(number: int) -> Any:
        names = f"encoder.{number}.fused_image", f"encoder.{number}.fused_text"
        return lambda _module, _inputs, output: found.update(zip(names, output))

    def keep_maps(_module: nn.Module, _inputs: Any, output: dict[str, Tensor]) -> None:
        found.update({f"backbone.{number}": each for number, each in enumerate(output.values())})

    handles = [model.backbone.register_forward_hook(keep_maps)]
    for number, layer in enumerate(enhancer.fusion_layers):
        handles.append(layer.register_forward_hook(keep_both(number)))
    for kind, layers in (("text", enhancer.text_layers), ("image", enhancer.layers)):
        for number, layer in enumerate(layers):
            handles.append(layer.register_forward_hook(keep(f"encoder.{number}.{kind}")))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _coco(found: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Classes by their rows of a map of tokens, and the best of all boxes, as in the release."""
    scores = found["coco.pred_logits"].sigmoid() @ stored["coco.positive_map"].mT  # [1, Q, K]
    best = scores[0].flatten().topk(len(stored["coco.top_scores"]))
    queries, labels = best.indices // scores.shape[-1], best.indices % scores.shape[-1]
    height, width = COCO_SIZE  # which the release's boxes may exceed
    boxes = to_corners(found["coco.pred_boxes"][0, queries])
    boxes = boxes * boxes.new_tensor([width, height, width, height])
    return {
        "coco.class_scores": scores,
        "coco.top_scores": best.values,
        "coco.top_labels": labels,
        "coco.top_boxes": boxes,
    }
