"""Every key of the query systems and of TEST changes what is built or done: two values differ."""

from __future__ import annotations

import types
from pathlib import Path

import freeseg
from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from freeseg import add_freeseg_config, config
from freeseg.config.unused import REFUSED, UNUSED
from freeseg.modeling import vit
from freeseg.modeling.backbone import D2ConvNeXt, D2DiNAT, D2SwinTransformer, TimmBackbone, dpt
from freeseg.systems.freeseg.config import crop_arguments
from freeseg.systems.grounding_dino import GroundingDINO
from freeseg.systems.grounding_dino import config as grounding_config
from freeseg.systems.lseg.config import lseg_head_arguments, withholding_arguments
from freeseg.systems.sam import config as sam_config
from freeseg.systems.sam import image_encoder, pyramid_encoder
from freeseg.systems.seggpt import SegGPT

LEVELS = {name: ShapeSpec(channels=8 * n, stride=2 * 2**n) for n, name in
          enumerate(("res2", "res3", "res4", "res5"), start=1)}  # fmt: skip
SHARED = [
    *(config.query_decoder_arguments, config.criterion_arguments, config.assembly_arguments),
    *(config.training_tasks, config.sliding_window_arguments, config.augmentation_arguments),
    *(
        config.default_tasks,
        config.pointing_arguments,
        lambda cfg: config.pixel_decoder_arguments(cfg, LEVELS),
    ),
]
FUNCTIONS = {
    "MaskFormerHead": [
        *(*SHARED, config.interaction_arguments, config.open_decoder_arguments),
        *(config.learned_prompt_arguments, crop_arguments, config.tuning_arguments),
    ],
    "OneFormerHead": [
        *(*SHARED, config.task_query_arguments, config.task_conditioning_arguments),
        *(config.text_mapper_arguments, config.contrastive_arguments),
    ],
}
SECTIONS = ("MODEL.MASK_FORMER", "MODEL.ONE_FORMER", "MODEL.TEST", "MODEL.SEM_SEG_HEAD.TRANSFORMER")
SECTIONS += ("TEST.AUG", "TEST.POINTING", "TEST.PROMPT_TUNING", "MODEL.SEM_SEG_HEAD.DEFORMABLE")
SECTIONS += ("MODEL.CLIP_ADAPTER", "MODEL.TEXT_ENCODER")
# switches without which the keys behind them say nothing
ON = {
    **{"TEST.AUG.ENABLED": True, "TEST.AUG.IS_SLIDE": True, "TEST.PROMPT_TUNING.ENABLED": True},
    **{"MODEL.ONE_FORMER.USE_TASK_NORM": True, "MODEL.CLIP_ADAPTER.PROMPT_LEARNER": "learnable"},
    **{"INPUT.FORMAT": "RGB", "MODEL.IS_TRAIN": True},
    **{"MODEL.TEST.TASK_PER_OUTPUT": False},
    **{"MODEL.SEM_SEG_HEAD.IN_FEATURES": list(LEVELS)},
}


def configuration(head, changes):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.SEM_SEG_HEAD.NAME = head
    for key, value in {**ON, **changes}.items():
        *path, name = key.split(".")
        node = cfg
        for part in path:
            node = node[part]
        node[name] = value
    return cfg


def outcome(**changes):
    """What all constructors would be given; the first line of what they refuse."""
    found = []
    for head, functions in FUNCTIONS.items():
        cfg = configuration(head, changes)
        for function in functions:
            try:
                found.append(repr(function(cfg)))
            except ValueError as error:
                found.append(f"refused: {error}")
    return found


def another(value):
    """A value of the same type that is not this one."""
    match_by_type = {
        bool: lambda: not value,
        int: lambda: value + 1,
        float: lambda: value / 2 + 0.125,
        str: lambda: f"another {value}",
        tuple: lambda: (*value[:-1], value[-1] + 7),
        list: lambda: [*value, "another"],
        type(None): lambda: 0.25,
    }
    return match_by_type[type(value)]()


def keys(sections):
    cfg = configuration("MaskFormerHead", {})

    def flat(node, prefix):
        for name, value in node.items():
            key = f"{prefix}{name}"
            yield from flat(value, f"{key}.") if isinstance(value, CfgNode) else [(key, value)]

    known = dict(flat(cfg, ""))
    chosen = {key: value for key, value in known.items() if key.startswith(sections)}
    return {key: value for key, value in chosen.items() if key not in (*UNUSED, *REFUSED)}


# read by the systems themselves, and where
HEAD, SYSTEM = "modeling/head.py", "systems/mask_system.py"
ADAPTER, FREESEG = "systems/freeseg/text_side.py", "systems/freeseg/system.py"
ELSEWHERE = {
    "MODEL.MASK_FORMER.SIZE_DIVISIBILITY": SYSTEM,
    "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME": HEAD,
    "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": HEAD,
    "MODEL.ONE_FORMER.SIZE_DIVISIBILITY": SYSTEM,
    "MODEL.ONE_FORMER.TRANSFORMER_DECODER_NAME": HEAD,
    "MODEL.ONE_FORMER.TRANSFORMER_IN_FEATURE": HEAD,
    "MODEL.TEST.DETECTION_ON": "evaluation/builder.py",
    "TEST.PROMPT_TUNING.PER_DATASET": "engine/dataset_tuning.py",
    "MODEL.CLIP_ADAPTER.CLIP_ENSEMBLE": FREESEG,
    "MODEL.CLIP_ADAPTER.CLIP_ENSEMBLE_WEIGHT": FREESEG,
    "MODEL.CLIP_ADAPTER.CLIP_MODEL_NAME": ADAPTER,
    "MODEL.CLIP_ADAPTER.PREDEFINED_PROMPT_TEMPLATES": ADAPTER,
    "MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT": ADAPTER,
    "MODEL.TEXT_ENCODER.CACHE": ADAPTER,
    "MODEL.TEXT_ENCODER.SAVE": ADAPTER,
    "MODEL.TEXT_ENCODER.MODEL": "text/open_clip.py",
    **{
        f"MODEL.TEXT_ENCODER.BERT.{size}": "text/bert.py"
        for size in ("WIDTH", "DEPTH", "NHEADS", "DIM_FEEDFORWARD", "POSITIONS")
    },
    "MODEL.TEXT_ENCODER.NAME": "text/encoder.py",
    "MODEL.TEXT_ENCODER.WEIGHTS": "text/open_clip.py",
}


def test_two_values_of_a_key_are_two_objects():
    plain = outcome()
    silent = {
        key for key, value in keys(SECTIONS).items() if outcome(**{key: another(value)}) == plain
    }
    assert silent == set(ELSEWHERE)
    for key, file in ELSEWHERE.items():
        assert key.split(".")[-1] in (Path(freeseg.__file__).parent / file).read_text()


BACKBONES = (D2SwinTransformer, D2ConvNeXt, D2DiNAT, TimmBackbone, dpt.DPTBackbone)
BACKBONE_SECTIONS = ("MODEL.SWIN", "MODEL.CONVNEXT", "MODEL.DiNAT", "MODEL.TIMM", "MODEL.DPT")


def test_two_values_of_a_key_are_two_backbones(monkeypatch):
    """What their constructors, and timm's, would be given."""
    monkeypatch.setattr(dpt, "create_vit", lambda **arguments: arguments)
    image = ShapeSpec(channels=3)

    def given(**changes):
        cfg = configuration("LSegHead", changes)
        found = [lseg_head_arguments(cfg, LEVELS), withholding_arguments(cfg)]
        for backbone in BACKBONES:
            try:
                found.append(backbone.from_config(cfg, image))
            except ValueError as error:
                found.append(f"refused: {error}")
        return repr(found)

    known = keys((*BACKBONE_SECTIONS, "MODEL.LSEG"))
    assert len(known) > 40
    plain = given()
    silent = {key for key, value in known.items() if given(**{key: another(value)}) == plain}
    assert silent == {"MODEL.LSEG.TEMPLATES"}  # read by LSeg; tests/systems/lseg/test_lseg.py


def test_two_values_of_a_key_are_two_sams(monkeypatch):
    """What the constructors of their parts would be given."""
    for module, name in SAM_PARTS:
        monkeypatch.setattr(module, name, lambda *values, name=name, **named: (name, values, named))
    for name in ("build_backbone", "build_text_encoder", "TextFeatureCache"):  # of other sections
        monkeypatch.setattr(sam_config, name, lambda *_, name=name: name)
    clip = types.SimpleNamespace(dim=3)
    monkeypatch.setattr(
        sam_config,
        "PhraseEncoder",
        lambda **named: types.SimpleNamespace(**{**named, "clip_model": clip}),
    )

    def given(**changes):
        found = []
        for encoder in ("vit", "tiny_vit", "pyramid"):
            cfg = configuration("", {"MODEL.SAM.ENCODER": encoder, **changes})
            try:
                found.append((sam_config.sam_parts(cfg), sam_config.click_training(cfg)))
                found.append((sam_config.everything_settings(cfg), sam_config.phrase_encoder(cfg)))
            except ValueError as error:
                found.append(f"refused: {error}")
        return repr(found)

    known, plain = keys("MODEL.SAM"), given()
    assert len(known) > 35
    assert [key for key, value in known.items() if given(**{key: another(value)}) == plain] == []


SAM_PARTS = (
    *((sam_config, "PromptEncoder"), (sam_config, "MaskDecoder")),
    *((sam_config, "TwoWayTransformer"), (vit, "WindowedViT")),
    *((pyramid_encoder, "PyramidEncoder"), (image_encoder, "MobileEncoder")),
)


def test_two_values_of_a_key_are_two_grounding_dinos(monkeypatch):
    """What the constructors of the system and its parts would be given."""
    for name in GROUNDING_PARTS:
        record = lambda *values, name=name, **named: (name, values, named)  # noqa: E731
        monkeypatch.setattr(grounding_config, name, record)
    seen = []
    encoder = types.SimpleNamespace(requires_grad_=seen.append)
    shapes = {name: types.SimpleNamespace(channels=8) for name in (*LEVELS, "another")}
    backbone = types.SimpleNamespace(output_shape=lambda: shapes, requires_grad_=seen.append)
    monkeypatch.setattr(grounding_config, "BertEncoder", types.SimpleNamespace)
    monkeypatch.setattr(grounding_config, "build_text_encoder", lambda _: encoder)
    monkeypatch.setattr(grounding_config, "build_backbone", lambda _: backbone)
    monkeypatch.setattr(grounding_config, "BoxTraining", lambda **named: named)

    def given(**changes):
        seen.clear()
        try:
            found = GroundingDINO.from_config(configuration("", changes))
        except ValueError as error:
            return f"refused: {error}"
        return repr((found, seen))

    known, plain = keys("MODEL.GROUNDING_DINO"), given()
    assert len(known) > 18
    assert [key for key, value in known.items() if given(**{key: another(value)}) == plain] == []


def test_two_values_of_a_key_are_two_seggpts():
    """What the constructors of the network and of the system would be given."""

    def given(**changes):
        try:
            return repr(SegGPT.from_config(configuration("", changes)))
        except (TypeError, ValueError) as error:
            return f"refused: {error}"

    known, plain = keys("MODEL.SEGGPT"), given()
    assert len(known) > 20
    assert given() == plain
    assert [key for key, value in known.items() if given(**{key: another(value)}) == plain] == []


GROUNDING_PARTS = (
    *("Levels", "TextSide", "FusionLayer", "TextLayer", "DeformableEncoderLayer", "Enhancer"),
    *("QuerySelection", "WordScores", "GroundingDecoderLayer", "GroundingDecoder"),
)
