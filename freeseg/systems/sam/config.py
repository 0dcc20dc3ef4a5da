"""SAM's keys, and their translation into parts; see `freeseg.config`."""

from __future__ import annotations

from typing import Any

from torch import nn

from detectron2.config import CfgNode
from detectron2.modeling import build_backbone
from freeseg.modeling.decoder.two_way import TwoWayTransformer
from freeseg.names import with_own_names
from freeseg.structures import EverythingSettings
from freeseg.systems.sam.mask_decoder import MaskDecoder
from freeseg.systems.sam.prompt_encoder import PromptEncoder
from freeseg.systems.sam.text import PhraseEncoder, PictureTraining
from freeseg.systems.sam.training import ClickTraining
from freeseg.text import TextFeatureCache, build_text_encoder, default_folder


def add_sam_keys(cfg: CfgNode) -> None:
    """Adds the section of SAM; the release has no yaml, so all of it is ours."""
    cfg.MODEL.SAM = node = CfgNode()
    node.ENCODER = "vit"  # vit, tiny_vit (MobileSAM's), pyramid (maps of MODEL.BACKBONE)
    node.IMAGE_SIZE = 1024  # side of the square that photos are padded to
    node.EMBEDDING_DIM = 256  # of the embedding and all behind it
    node.MASK_CHANNELS = 16  # inside the convolutions of masks as prompts
    node.DEC_LAYERS = 2  # two-way blocks
    node.NHEADS = 8
    node.DIM_FEEDFORWARD = 2048
    node.NARROWING = 2  # attention between tokens and image is so many times narrower
    node.QUALITY_LAYERS = 3
    node.QUALITY_DIM = 256
    node.MANY_PROMPTS = 3  # tokens from which on one mask answers; 0: always, none of three
    node.MIXING = False  # decoded pixels see their neighbours before masks are made of them
    node.POINT_CONTENT = False  # points say what the image is like where they are
    node.PROMPT_MAPS = False  # points and boxes are also drawn as maps, like a rough mask
    node.VIT = vit = CfgNode()
    vit.EMBED_DIM = 768
    vit.DEPTH = 12
    vit.NHEADS = 12
    vit.GLOBAL_BLOCKS = [2, 5, 8, 11]  # numbers, from 0, of blocks without windows
    vit.WINDOW = 14  # side in patches
    vit.PATCH_SIZE = 16
    vit.MLP_RATIO = 4.0
    vit.QKV_BIAS = True
    node.TINY_VIT = tiny = CfgNode()
    tiny.EMBED_DIMS = [64, 128, 160, 320]  # of the four stages
    tiny.DEPTHS = [2, 2, 6, 2]
    tiny.NHEADS = [2, 4, 5, 10]
    tiny.WINDOWS = [7, 7, 14, 7]
    node.PYRAMID = pyramid = CfgNode()
    pyramid.COARSE = ["res4", "res5"]  # maps that become the embedding, of the first one's stride
    pyramid.DETAILS = ["res3", "res2"]  # of half and a quarter of it, added where masks are made
    pyramid.TOP_DOWN = False  # details have coarser maps in them, as in a feature pyramid network
    _add_uses(node)


def _add_uses(node: CfgNode) -> None:
    """Adds how it looks for everything, what it understands of texts and how it is trained."""
    node.EVERYTHING = everything = CfgNode()  # where a caller does not say otherwise
    everything.POINTS_PER_SIDE = 32
    everything.MIN_QUALITY = 0.88
    everything.MIN_STABILITY = 0.95
    everything.STABILITY_MARGIN = 1.0  # in logits
    everything.MAX_OVERLAP = 0.7  # of boxes
    node.TEXT = text = CfgNode()
    text.ENABLED = False  # takes phrases, by the CLIP of MODEL.TEXT_ENCODER
    text.TEMPLATES = ["{}"]  # sentences around a phrase
    text.MIN_AREA = 10000  # pixels; in training larger objects begin with a picture of them,
    text.SHARE = 1.0  # with this probability,
    text.MOST_CONTEXT = 2.0  # whose side is 1 to this times the object's,
    text.MASKED = 0.5  # and which, with this probability, shows nothing else
    node.TRAIN = train = CfgNode()
    train.MASKS = 64  # of an image at most, drawn
    train.MAX_AREA = 0.9  # masks that fill a larger share of the image are left out
    train.MIN_AREA = 0.0  # and those of a smaller one
    train.POINTS = 8  # rounds with a new click in what is wrong, after the first prompt
    train.DEEPEST = 0.0  # probability of clicks in the middle of what is wrong, not anywhere in it
    train.BOX = 0.5  # probability that an object begins with its box, not with a click
    train.OTHERS = 0.0  # share that the two masks learn that are not the best of three
    train.MASK_WEIGHT = 20.0
    train.DICE_WEIGHT = 1.0
    train.QUALITY_WEIGHT = 1.0


def sam_parts(cfg: CfgNode) -> dict[str, nn.Module | None]:
    """The untrained parts of the system, by the names of its arguments."""
    node = cfg.MODEL.SAM
    text = phrase_encoder(cfg) if node.TEXT.ENABLED else None
    channels = node.EMBEDDING_DIM
    encoder = _image_encoder(cfg)
    seen = [channels, *getattr(encoder, "detail_channels", ())]
    return {
        "image_encoder": encoder,
        "prompt_encoder": PromptEncoder(
            channels=channels,
            mask_channels=node.MASK_CHANNELS,
            content_channels=sum(seen) if node.POINT_CONTENT else 0,
            draws_maps=node.PROMPT_MAPS,
            text_channels=0 if text is None else text.clip_model.dim,
        ),
        "mask_decoder": MaskDecoder(
            transformer=TwoWayTransformer(
                channels=channels,
                num_layers=node.DEC_LAYERS,
                num_heads=node.NHEADS,
                hidden_channels=node.DIM_FEEDFORWARD,
                narrowing=node.NARROWING,
            ),
            channels=channels,
            quality_layers=node.QUALITY_LAYERS,
            quality_channels=node.QUALITY_DIM,
            many_prompts=node.MANY_PROMPTS,
            mixes=node.MIXING,
        ),
        "text": text,
    }


def everything_settings(cfg: CfgNode) -> EverythingSettings:
    """Where it points, and what it keeps, when it looks for everything."""
    node = cfg.MODEL.SAM.EVERYTHING
    return EverythingSettings(
        points_per_side=node.POINTS_PER_SIDE,
        min_quality=node.MIN_QUALITY,
        min_stability=node.MIN_STABILITY,
        stability_margin=node.STABILITY_MARGIN,
        max_overlap=node.MAX_OVERLAP,
    )


def phrase_encoder(cfg: CfgNode) -> PhraseEncoder:
    """The CLIP that phrases are read by.

    Raises:
        ValueError: It sees no pictures, or would see them with exchanged colours.
    """
    node = cfg.MODEL.SAM.TEXT
    if cfg.INPUT.FORMAT != "RGB":
        raise ValueError(f"CLIP sees RGB: INPUT.FORMAT must be RGB, got {cfg.INPUT.FORMAT}")
    return PhraseEncoder(
        clip_model=build_text_encoder(cfg),
        templates=node.TEMPLATES,
        pictures=PictureTraining(
            min_area=node.MIN_AREA,
            share=node.SHARE,
            most_context=node.MOST_CONTEXT,
            masked_share=node.MASKED,
        ),
        saves_encoder=cfg.MODEL.TEXT_ENCODER.SAVE,
        cache=TextFeatureCache(default_folder() if cfg.MODEL.TEXT_ENCODER.CACHE else None),
    )


def click_training(cfg: CfgNode) -> ClickTraining:
    """How it is trained."""
    train = cfg.MODEL.SAM.TRAIN
    return ClickTraining(
        max_masks=train.MASKS,
        area_range=(train.MIN_AREA, train.MAX_AREA),
        num_points=train.POINTS,
        deepest_share=train.DEEPEST,
        box_share=train.BOX,
        others_share=train.OTHERS,
        many_prompts=cfg.MODEL.SAM.MANY_PROMPTS,
        weights={
            "loss_mask": train.MASK_WEIGHT,
            "loss_dice": train.DICE_WEIGHT,
            "loss_quality": train.QUALITY_WEIGHT,
        },
    )


def _image_encoder(cfg: CfgNode) -> nn.Module:
    """The image encoder of a configuration.

    Raises:
        ValueError: It is none that is known.
    """
    node: Any = cfg.MODEL.SAM
    if node.ENCODER == "pyramid":
        from freeseg.systems.sam.pyramid_encoder import PyramidEncoder

        return PyramidEncoder(
            backbone=build_backbone(with_own_names(cfg)),
            coarse=node.PYRAMID.COARSE,
            details=node.PYRAMID.DETAILS,
            top_down=node.PYRAMID.TOP_DOWN,
            out_channels=node.EMBEDDING_DIM,
        )
    if node.ENCODER == "vit":
        from freeseg.modeling.vit import WindowedSizes, WindowedViT  # timm's: slow to import

        vit = node.VIT
        sizes = WindowedSizes(
            width=vit.EMBED_DIM,
            depth=vit.DEPTH,
            num_heads=vit.NHEADS,
            global_blocks=tuple(vit.GLOBAL_BLOCKS),
            window=vit.WINDOW,
            patch_size=vit.PATCH_SIZE,
            mlp_ratio=vit.MLP_RATIO,
            qkv_bias=vit.QKV_BIAS,
            out_channels=node.EMBEDDING_DIM,
        )
        return WindowedViT(sizes, node.IMAGE_SIZE)
    if node.ENCODER == "tiny_vit":
        from freeseg.systems.sam.image_encoder import MobileEncoder  # likewise

        tiny = node.TINY_VIT
        return MobileEncoder(
            widths=tiny.EMBED_DIMS,
            depths=tiny.DEPTHS,
            num_heads=tiny.NHEADS,
            windows=tiny.WINDOWS,
            out_channels=node.EMBEDDING_DIM,
        )
    raise ValueError(f"MODEL.SAM.ENCODER is vit, tiny_vit or pyramid, got {node.ENCODER!r}")
