"""freeseg's keys beside another project's, whichever was added first."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from freeseg import add_freeseg_config, build_model
from freeseg import config as arguments
from freeseg.classes import accepts_auto
from freeseg.config import completed
from freeseg.data import SegmentationMapper
from freeseg.data.photos import PhotoReader
from freeseg.data.segment_samples import SegmentMapper
from freeseg.engine import build_lr_scheduler, build_optimizer
from freeseg.evaluation import best_metric, require_known_metric
from freeseg.inference.input_size import InputSize
from freeseg.modeling.backbone.dinat import D2DiNAT
from freeseg.names import with_own_names
from freeseg.systems.building import read_config
from freeseg.systems.freeseg.decoder import OpenVocabularyDecoder
from freeseg.systems.freeseg.text_side import build_clip_adapter
from freeseg.systems.lseg.head import LSegHead
from freeseg.text import build_text_encoder

sys.path.insert(0, str(Path(__file__).parent))
from guest_config import GUEST_KEYS, add_guest_config, without_defaults
from small_inputs import annotated

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PUBLISHED = sorted(path for path in CONFIGS.rglob("*.yaml") if not path.name.startswith("Base-"))
# What a system reads of the sections that it shares with the guest
_QUERIES = "MODEL.MASK_FORMER.", "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME", "MODEL.SEM_SEG_HEAD.MASK_"
_TEXTS = "MODEL.CLIP_ADAPTER.CLIP_MODEL_NAME", "MODEL.CLIP_ADAPTER.PROMPT_"
READ = {
    "Mask2Former": _QUERIES,
    "MaskFormer": _QUERIES,
    "OneFormer": (*_QUERIES[1:], "MODEL.ONE_FORMER.", "MODEL.TEST.", "MODEL.TEXT_ENCODER."),
    "FreeSeg": (*_QUERIES, *_TEXTS, "MODEL.SEM_SEG_HEAD.NUM_HEADS"),
    "FreeSegPrompts": _TEXTS,
    "GroundingDINO": (),
    "LSeg": ("MODEL.MASK_FORMER.TEST.",),
    "SAM": (),
    "SegGPT": (),
}
UNREAD = {
    "FreeSeg": {"MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE"},  # only MaskFormerHead reads it
    "SAM": {"INPUT.DATASET_MAPPER_NAME"},  # it is not trained
    "SegGPT": {"SOLVER.BACKBONE_MULTIPLIER"},  # it has no backbone
}
UNTRAINED = ("FreeSegPrompts", "SAM")  # whose files say nothing of the solver
SMALL = {
    "Mask2Former": "shapes/mask2former_tiny.yaml",
    "OneFormer": "oneformer/shapes/oneformer_small.yaml",
    "FreeSeg": "freeseg/shapes/toy.yaml",
    "LSeg": "lseg/shapes/small.yaml",
}


def configuration(*adders) -> CfgNode:
    cfg = get_cfg()
    for add in adders:
        add(cfg)
    return cfg


def flat(node, prefix=""):
    """Values by key, with their types."""
    found = {}
    for key, value in node.items():
        if isinstance(value, CfgNode):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = (type(value), value)
    return found


ORDERS = {
    "guest first": (add_guest_config, add_freeseg_config),
    "guest last": (add_freeseg_config, add_guest_config),
    "guest between": (add_freeseg_config, add_guest_config, add_freeseg_config),
}


@pytest.mark.parametrize("adders", ORDERS.values(), ids=ORDERS)
def test_the_guests_keys_are_what_they_are_without_freeseg(adders):
    alone, together = flat(configuration(add_guest_config)), flat(configuration(*adders))
    assert {key: together.get(key) for key in alone} == alone
    assert set(GUEST_KEYS) <= set(together)


@pytest.mark.parametrize("adders", ORDERS.values(), ids=ORDERS)
def test_no_key_of_freeseg_is_absent_from_the_completed_configuration(adders):
    assert set(flat(configuration(add_freeseg_config))) <= set(
        flat(completed(configuration(*adders)))
    )


def test_detectron2s_defaults_stay():
    detectron2 = flat(get_cfg())
    together = flat(configuration(add_freeseg_config))
    assert {key: together[key] for key in detectron2} == detectron2


def test_a_second_call_changes_nothing():
    cfg = configuration(add_guest_config, add_freeseg_config)
    cfg.MODEL.LSEG.TEMPERATURE = 1.0
    cfg.freeze()
    before, section = flat(cfg), cfg.MODEL.MASK_FORMER
    add_freeseg_config(cfg)
    assert flat(cfg) == before
    assert cfg.MODEL.MASK_FORMER is section


def test_sections_of_one_configuration_are_not_those_of_another():
    first, second = configuration(add_freeseg_config), configuration(add_freeseg_config)
    first.MODEL.SWIN.DEPTHS.append(1)
    first.MODEL.LSEG.TEMPERATURE = 1.0
    assert second.MODEL.SWIN.DEPTHS == [2, 2, 6, 2]
    assert second.MODEL.LSEG.TEMPERATURE == 0.07


def test_a_frozen_configuration_is_refused_as_ever():
    cfg = configuration(add_guest_config)
    cfg.freeze()
    before = flat(cfg)
    with pytest.raises(AttributeError, match="immutable"):
        add_freeseg_config(cfg)
    assert flat(cfg) == before


def test_renamed_and_deprecated_keys_stay_so():
    cfg = get_cfg()
    cfg.register_renamed_key("MODEL.OLD", "MODEL.NEW")
    cfg.register_deprecated_key("MODEL.OLDER")
    add_freeseg_config(cfg)
    assert cfg.key_is_renamed("MODEL.OLD")
    assert cfg.key_is_deprecated("MODEL.OLDER")


@pytest.mark.parametrize("is_allowed", [True, False])
def test_new_keys_are_allowed_where_they_were(is_allowed):
    cfg = get_cfg()
    cfg.set_new_allowed(is_allowed)
    add_freeseg_config(cfg)
    assert cfg.MODEL.is_new_allowed() is is_allowed
    assert cfg.MODEL.MASK_FORMER.TEST.is_new_allowed() is is_allowed


def test_what_is_no_section_with_the_guest_stays_as_it_is():
    cfg = get_cfg()
    cfg.WANDB = False
    add_freeseg_config(cfg)
    assert cfg.WANDB is False
    assert completed(cfg) is cfg


def test_a_complete_configuration_is_not_copied():
    cfg = configuration(add_freeseg_config)
    assert completed(cfg) is cfg


def test_what_is_absent_is_added_to_a_copy():
    cfg = configuration(*ORDERS["guest last"])
    cfg.freeze()
    before = flat(cfg)
    copied = completed(cfg)
    assert copied.is_frozen()
    assert copied.MODEL.MASK_FORMER.TEST.MIN_AREA == 0
    assert {key: flat(copied)[key] for key in before} == before == flat(cfg)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_files_say_what_the_guest_would_say_otherwise(path):
    alone, together = (
        configuration(*adders) for adders in [(add_freeseg_config,), ORDERS["guest first"]]
    )
    for cfg in (alone, together):
        with accepts_auto(cfg):
            cfg.merge_from_file(str(path))
    system = alone.MODEL.META_ARCHITECTURE
    alone, together = flat(alone), flat(together)
    is_read = ("INPUT.", *READ[system], *(() if system in UNTRAINED else ("SOLVER.",)))
    names = {key for key in alone if key.startswith(is_read)} - UNREAD.get(system, set())
    assert len(names) > 20
    assert [key for key in names if list_or(alone[key][1]) != list_or(together[key][1])] == []


def list_or(value):
    return list(value) if isinstance(value, tuple) else value


def losses_of(cfg: CfgNode) -> dict[str, float]:
    """Those of two annotated pictures after a step."""
    cfg.MODEL.WEIGHTS = ""
    torch.manual_seed(0)
    model = build_model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    for _ in range(2):
        torch.manual_seed(1)
        batch = [annotated([0, 2], seed=seed, task="semantic") for seed in (1, 2)]
        losses = model(batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        scheduler.step()
    return {name: loss.item() for name, loss in losses.items()}


@pytest.mark.parametrize("system", SMALL)
def test_small_systems_train_alike_in_either_order(system):
    file = str(CONFIGS / SMALL[system])
    first = configuration(*ORDERS["guest first"])
    first.merge_from_file(file)
    last = configuration(*ORDERS["guest last"])
    last.set_new_allowed(True)  # else the file's keys are refused in sections that were made anew
    last.merge_from_file(file)
    alone = configuration(add_freeseg_config)
    alone.merge_from_file(file)
    expected = losses_of(alone)
    assert losses_of(first) == expected
    assert losses_of(last) == expected


@pytest.mark.parametrize("name", SMALL)
def test_systems_need_only_what_is_no_default(name):
    cfg = configuration(add_freeseg_config)
    cfg.merge_from_file(str(CONFIGS / SMALL[name]))
    bare = without_defaults(cfg)
    assert len(flat(bare)) < len(flat(cfg)) - 100
    assert losses_of(bare) == losses_of(cfg)


def test_parts_of_freeseg_need_only_what_is_no_default():
    cfg = configuration(add_freeseg_config)
    cfg.merge_from_file(str(CONFIGS / "freeseg/shapes/prompts.yaml"))
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = 7
    bare = without_defaults(cfg)
    assert len(flat(bare)) < len(flat(cfg)) - 100
    torch.manual_seed(0)
    expected = build_model(cfg).state_dict(), OpenVocabularyDecoder(cfg).state_dict()
    torch.manual_seed(0)
    found = build_model(bare).state_dict(), OpenVocabularyDecoder(bare).state_dict()
    assert len(found[0]) == 2, "of the prompts alone, the encoder is not saved"
    assert found[1]["query_feat.weight"].shape[0] == 7
    for one, other in zip(found, expected):
        assert list(one) == list(other)
        assert all(torch.equal(one[key], other[key]) for key in one)


MAPS = {f"res{level}": ShapeSpec(channels=8, stride=2**level) for level in (2, 3, 4, 5)}
READERS = {
    "choose_test_datasets": lambda cfg: (arguments.choose_test_datasets(cfg), cfg.DATASETS.TEST),
    **{
        name: getattr(arguments, name)
        for name in dir(arguments)
        if name.endswith("_arguments") and name not in ("lseg_head_arguments", "vit_arguments")
        if name != "pixel_decoder_arguments"
    },
    "pixel_decoder_arguments": lambda cfg: arguments.pixel_decoder_arguments(cfg, MAPS),
    "default_tasks": arguments.default_tasks,
    "training_tasks": arguments.training_tasks,
    "D2DiNAT": lambda cfg: D2DiNAT.from_config(cfg, ShapeSpec(channels=3)),
    "LSegHead": lambda cfg: LSegHead.from_config(cfg, MAPS),
    "SegmentationMapper": lambda cfg: described(SegmentationMapper.from_config(cfg)),
    "test mapper": lambda cfg: described(SegmentationMapper.from_config(cfg, is_train=False)),
    "SegmentMapper": lambda cfg: described(SegmentMapper.from_config(cfg)),
    "InputSize": InputSize.from_config,
    "PhotoReader": PhotoReader.from_config,
    "read_config": lambda cfg: read_config(cfg, None, "cpu", ()),
    "best_metric": best_metric,
    "require_known_metric": require_known_metric,
}


def described(values):
    return {key: getattr(value, "__dict__", str(value)) for key, value in values.items()}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_detectron2_alone_has_is_read_as_if_complete(read):
    plain, complete = get_cfg(), configuration(add_freeseg_config)
    for cfg in (plain, complete):
        cfg.INPUT.FORMAT = "RGB"  # which regions need
        cfg.MODEL.SEM_SEG_HEAD.NAME = "OneFormerHead"
        cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = list(MAPS)
        cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 256
    before = flat(plain)
    assert str(read(plain)) == str(read(complete))
    assert flat(plain) == before


@pytest.mark.parametrize(
    ("section", "name", "values"),
    [
        ("SWIN", "D2SwinTransformer", {"DEPTHS": [1, 1, 1, 1]}),
        ("CONVNEXT", "D2ConvNeXt", {"DEPTHS": [1, 1, 1, 1], "DIMS": [8, 16, 32, 64]}),
        ("TIMM", "TimmBackbone", {}),
        ("DPT", "DPTBackbone", {"NAME": "vit_tiny_patch16_224", "TAPS": [0, 1, 2, 3]}),
    ],
)
def test_backbones_are_built_of_a_section_that_was_made_anew(section, name, values):
    cfg = configuration(add_freeseg_config)
    cfg.MODEL[section] = CfgNode(values)
    cfg.MODEL.BACKBONE.NAME = name
    assert list(build_backbone(with_own_names(cfg)).output_shape()) == [
        "res2",
        "res3",
        "res4",
        "res5",
    ]


def test_text_encoders_are_built_of_a_section_that_was_made_anew():
    cfg = configuration(add_freeseg_config)
    cfg.MODEL.TEXT_ENCODER = CfgNode({"NAME": "toy_clip"})
    cfg.MODEL.CLIP_ADAPTER = CfgNode({"PROMPT_LEARNER": "learnable"})
    assert build_text_encoder(cfg).dim == build_clip_adapter(completed(cfg)).clip_model.dim == 64
