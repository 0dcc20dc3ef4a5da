"""SAM and MobileSAM on stored inputs; the release has no configuration file: config.json has sizes.

Shapes: N objects, P points, g side of the grid of patches, H W photo size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.config import CfgNode, get_cfg
from freeseg.config import add_freeseg_config
from freeseg.names import build_model
from freeseg.ops import mask_areas
from freeseg.parity.golden import Golden
from freeseg.structures import Frame
from freeseg.systems.sam.answers import photo_logits, photo_masks
from freeseg.systems.sam.features import EmbeddingFeatures
from freeseg.systems.sam.mask_decoder import DecodedMasks, choose
from freeseg.systems.sam.prompts import PADDING, PointPrompts
from freeseg.systems.sam.system import SAM

CASES = (
    *("point", "points", "padded", "box", "boxes", "points_boxes", "mask", "points_masks"),
    *("boxes_masks", "nothing"),
)
CLICKS = ("click", "box", "clicks", "point_box_mask")  # of the exported decoder
_INPUTS = (
    *(f"case.{case}.{part}" for case in CASES for part in ("points", "labels", "boxes", "masks")),
    *(f"refine.{step}.{part}" for step in ("first", "second") for part in ("points", "labels")),
    *("refine.second.masks", "encoder.pixels", "predictor.photo", "predictor.click.coords"),
    *("predictor.click.labels", "predictor.box.box", "predictor.refine.coords"),
    *("predictor.refine.labels", "predictor.refine.box", "predictor.refine.mask_input"),
    *("predictor.boxes.boxes", "batch.0.points", "batch.0.labels", "batch.0.original_size"),
    *("batch.1.boxes", "batch.1.mask_inputs", "batch.1.original_size"),
    *(f"onnx.{name}.{part}" for name in CLICKS for part in ("points", "labels", "mask_input")),
    *("onnx.click_stability.points", "onnx.click_stability.labels", "onnx.click.orig_im_size"),
)
_STABILITY = tuple(f"onnx.click_stability.{part}" for part in ("chosen", "score", "scores_all"))
NOT_COMPARED = {
    **dict.fromkeys(_INPUTS, "the input"),
    "everything.photo": "the input of looking for all there is",
    **dict.fromkeys(_STABILITY, "stability as score, an option of export"),
}


def config_of(values: Mapping[str, Any]) -> CfgNode:
    """A configuration of a stored model's sizes."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "SAM"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = values["pixel_mean"], values["pixel_std"]
    encoder, decoder = values["image_encoder"], values["mask_decoder"]
    transformer = decoder["transformer"]
    cfg.INPUT.FORMAT = values["image_format"]
    cfg.INPUT.TEST_RESIZE.LONG_SIDE = cfg.MODEL.SAM.IMAGE_SIZE = encoder["img_size"]
    node = cfg.MODEL.SAM
    node.EMBEDDING_DIM = decoder["transformer_dim"]
    node.MASK_CHANNELS = values["prompt_encoder"]["mask_in_chans"]
    node.DEC_LAYERS, node.NHEADS = transformer["depth"], transformer["num_heads"]
    node.DIM_FEEDFORWARD = transformer["mlp_dim"]
    node.NARROWING = transformer["attention_downsample_rate"]
    node.QUALITY_LAYERS = decoder["iou_head_depth"]
    node.QUALITY_DIM = decoder["iou_head_hidden_dim"]
    if encoder["type"] == "TinyViT":
        node.ENCODER = "tiny_vit"
        tiny = node.TINY_VIT
        tiny.EMBED_DIMS, tiny.DEPTHS = encoder["embed_dims"], encoder["depths"]
        tiny.NHEADS, tiny.WINDOWS = encoder["num_heads"], encoder["window_sizes"]
        return cfg
    vit = node.VIT
    vit.EMBED_DIM, vit.DEPTH = encoder["embed_dim"], encoder["depth"]
    vit.NHEADS, vit.WINDOW = encoder["num_heads"], encoder["window_size"]
    vit.GLOBAL_BLOCKS = list(encoder["global_attn_indexes"])
    vit.PATCH_SIZE, vit.MLP_RATIO = encoder["patch_size"], float(encoder["mlp_ratio"])
    vit.QKV_BIAS = encoder["qkv_bias"]
    return cfg


def run_sam(golden: Golden) -> dict[str, Tensor]:
    """All that is stored, from the encoder to the exported decoder's rule."""
    model: SAM = build_model(
        config_of(json.loads((golden.folder / "config.json").read_text()))
    ).eval()
    golden.fill(model)
    stored = golden.tensors
    found, features = _encoder(model, stored["encoder.pixels"])
    first = features.select([0])
    for case in CASES:
        if f"case.{case}.iou" in stored:
            found.update(_case(model, first, stored, f"case.{case}"))
    if "refine.first.iou" in stored:
        found.update(_refined(model, first, stored))
    if "predictor.photo" in stored:
        found.update(_predictor(model, stored))
    if "batch.0.iou" in stored:
        found.update(_batch(model, features, stored))
    for name in CLICKS:
        if f"onnx.{name}.chosen" in stored:
            found.update(_exported(model, first, stored, f"onnx.{name}"))
    return found


def _encoder(model: SAM, pixels: Tensor) -> tuple[dict[str, Tensor], EmbeddingFeatures]:
    """The embedding of pictures, and what of the first was on the way."""
    encoder: Any = model.image_encoder
    if hasattr(encoder, "blocks"):
        taps = {f"encoder.block.{n}": each for n, each in enumerate(encoder.blocks)}
        with _outputs({**taps, "encoder.tokens": encoder.pos_drop}) as found:
            features = model.encode(model.prepare(list(pixels)))
    else:
        after = [*(stage.downsample for stage in encoder.stages[1:]), encoder.stages[-1]]
        taps = {f"encoder.stage.{n}": each for n, each in enumerate(after)}
        with _outputs({**taps, "encoder.patches": encoder.patch_embed}) as maps:
            features = model.encode(model.prepare(list(pixels)))
        found = {
            name: each if name == "encoder.patches" else each.flatten(2).mT
            for name, each in maps.items()
        }
    grid = features.embedding.shape[-2:]
    found["dense_pe"] = model.prompt_encoder.positions((grid[0], grid[1]))
    return {**found, "encoder.embedding": features.embedding}, features


@contextmanager
def _outputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What modules give for the first picture of a batch, by the names given."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: found.update({name: output[:1].clone()})

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _prompts(stored: Mapping[str, Tensor], name: str, masks_key: str = "masks") -> PointPrompts:
    """The prompts in the model's frame that are stored under a name."""
    points, boxes = stored.get(f"{name}.points"), stored.get(f"{name}.boxes")
    masks = stored.get(f"{name}.{masks_key}")
    count = max(1, *(len(each) for each in (points, boxes, masks) if each is not None), 0)
    if points is None:
        points, labels = torch.zeros(count, 0, 2), torch.zeros(count, 0, dtype=torch.int64)
    else:
        labels = stored[f"{name}.labels"].long()
    if boxes is None:
        boxes = torch.full((count, 4), torch.nan)
    return PointPrompts.of_marks(points, labels, boxes, masks)


def _decode(model: SAM, features: EmbeddingFeatures, prompts: PointPrompts) -> DecodedMasks:
    return model.decode(features, [0] * len(prompts), prompts)


def _case(
    model: SAM, features: EmbeddingFeatures, stored: Mapping[str, Tensor], name: str
) -> dict[str, Tensor]:
    prompts = _prompts(stored, name)
    decoded = _decode(model, features, prompts)
    encoded = model.prompt_encoder(prompts, features.padded_size[0], features.maps)
    is_token = (prompts.labels != PADDING).all(0)  # alike in all objects
    tokens, pixels = model.mask_decoder.transform(
        features.embedding.expand(len(prompts), -1, -1, -1),
        model.prompt_encoder.positions(features.embedding.shape[-2:]),  # type: ignore[arg-type]
        encoded,
    )
    num_own = tokens.shape[1] - len(is_token)
    is_kept = torch.cat([torch.ones(num_own, dtype=torch.bool), is_token])
    return {
        f"{name}.sparse": encoded.tokens[:, is_token],
        f"{name}.dense": encoded.dense,
        f"{name}.queries": tokens[:, is_kept],
        f"{name}.keys": pixels,
        f"{name}.low_res": decoded.mask_logits,
        f"{name}.iou": decoded.qualities,
    }


def _refined(
    model: SAM, features: EmbeddingFeatures, stored: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Two rounds; the second has the first one's best masks, its own ones here."""
    first = _decode(model, features, _prompts(stored, "refine.first"))
    chosen = first.qualities[:, 1:].argmax(1)
    masks = first.mask_logits[torch.arange(len(chosen)), chosen + 1][:, None]
    second = _decode(
        model, features, _prompts({**stored, "refine.second.masks": masks}, "refine.second")
    )
    return {
        "refine.first.iou": first.qualities,
        "refine.first.chosen": chosen,
        "refine.second.iou": second.qualities,
        "refine.second.low_res": second.mask_logits,
    }


def _predictor(model: SAM, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A photo from its pixels to masks on its grid."""
    photo = stored["predictor.photo"]
    image = model.photo_input(photo.numpy())
    frame = Frame.of_whole((photo.shape[0], photo.shape[1]), (image.shape[-2], image.shape[-1]))
    features = model.encode(model.prepare([image], [frame]))
    frame = features.frames[0]
    found = {"predictor.input": image.permute(1, 2, 0), "predictor.embedding": features.embedding}

    def asked(name: str, **marks: Tensor) -> DecodedMasks:
        prompts = _prompts({f"{name}.{key}": value for key, value in marks.items()}, name)
        return _decode(model, features, prompts)

    coords = frame.to_model(stored["predictor.click.coords"])
    click = asked("click", points=coords[None], labels=stored["predictor.click.labels"][None])
    found["predictor.click.coords_model"] = coords
    found["predictor.click.iou"] = click.qualities[0, 1:]
    found["predictor.click.low_res"] = click.mask_logits[0, 1:]
    found["predictor.click.masks"] = photo_masks(click.mask_logits[0, 1:], frame)

    box_in_model = frame.to_model(stored["predictor.box.box"])
    box = asked("box", boxes=box_in_model[None])
    found["predictor.box.box_model"] = box_in_model
    found["predictor.box.iou"] = box.qualities[0, :1]
    found["predictor.box.low_res"] = box.mask_logits[0, :1]
    found["predictor.box.logits"] = photo_logits(box.mask_logits[0, :1], frame)

    refined = asked(
        "refine",
        points=frame.to_model(stored["predictor.refine.coords"])[None],
        labels=stored["predictor.refine.labels"][None],
        boxes=frame.to_model(stored["predictor.refine.box"])[None],
        masks=box.mask_logits[:, :1],
    )
    found["predictor.refine.iou"] = refined.qualities[0, :1]
    found["predictor.refine.low_res"] = refined.mask_logits[0, :1]
    found["predictor.refine.masks"] = photo_masks(refined.mask_logits[0, :1], frame)

    boxes = asked("boxes", boxes=frame.to_model(stored["predictor.boxes.boxes"]))
    found["predictor.boxes.iou"] = boxes.qualities[:, :1]
    found["predictor.boxes.low_res"] = boxes.mask_logits[:, :1]
    areas = mask_areas(photo_masks(boxes.mask_logits[:, 0], frame))
    found["predictor.boxes.areas"] = areas[:, None]
    return found


def _batch(
    model: SAM, features: EmbeddingFeatures, stored: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Objects of two images that were encoded together."""
    found = {}
    for index in range(features.batch_size):
        name = f"batch.{index}"
        height, width = stored[f"{name}.original_size"].tolist()
        frame = Frame.of_whole(
            (height, width), features.frames[index].model_size, features.padded_size
        )
        prompts = _prompts(stored, name, "mask_inputs")
        decoded = model.decode(features, [index] * len(prompts), prompts)
        logits = decoded.mask_logits[:, 1:]
        found[f"{name}.iou"] = decoded.qualities[:, 1:]
        found[f"{name}.low_res"] = logits
        found[f"{name}.masks"] = torch.stack([photo_masks(each, frame) for each in logits])
    return found


def _exported(
    model: SAM, features: EmbeddingFeatures, stored: Mapping[str, Tensor], name: str
) -> dict[str, Tensor]:
    """The rule of the exported decoder, whose points say by their labels what they are."""
    prompts = PointPrompts(
        stored[f"{name}.points"],
        stored[f"{name}.labels"].long(),
        stored.get(f"{name}.mask_input"),
    )
    decoded = _decode(model, features, prompts)
    chosen = choose(decoded.qualities, prompts.num_tokens)
    row = torch.arange(len(chosen))
    return {
        f"{name}.chosen": chosen,
        f"{name}.scores_all": decoded.qualities,
        f"{name}.score": decoded.qualities[row, chosen][:, None],
        f"{name}.low_res": decoded.mask_logits[row, chosen][:, None],
    }
