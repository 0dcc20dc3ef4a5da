"""Every key of INPUT.CONTEXT acts on its own part of the mapper in_context."""

from __future__ import annotations

import pytest

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from freeseg.data.contexts import ContextMapper

# key -> another value, what reads it, that with the key and without
KEYS = {
    "SIDE": (96, lambda m: (crop(m).side, m.recrop.side), (96, 96), (448, 448)),
    "EXAMPLES": (3, lambda m: m.contexts.num_examples, 3, 1),
    "SCALE": ((0.5, 0.9), lambda m: (crop(m).scale, m.recrop.scale), ((0.5, 0.9),) * 2,
              ((0.3, 1.0),) * 2),
    "ASPECT": ((0.5, 2.0), lambda m: (crop(m).aspect, m.recrop.aspect), ((0.5, 2.0),) * 2,
               ((3 / 4, 4 / 3),) * 2),
    "JITTER": ((0.1, 0.2, 0.3, 0.4), lambda m: jitter(m).ranges, (0.1, 0.2, 0.3, 0.4),
               (0.4, 0.4, 0.2, 0.1)),
    "JITTER_PROBABILITY": (0.3, lambda m: jitter(m).probability, 0.3, 0.8),
    "SAME_PHOTO": (0.25, lambda m: m.same_photo_probability, 0.25, 0.5),
    "WEIGHTS": ([1.0, 2.0], lambda m: m.find_sets.keywords["weights"], [1.0, 2.0], None),
    "INSTANCE_SHARES": ([0.2, 0.3], lambda m: m.instance_shares, (0.2, 0.3), (0.5,)),
    "SUBSETS": (False, lambda m: m.contexts.draws_subset, False, True),
    "LEAST_AREA": (0.01, lambda m: m.contexts.least_area, 0.01, 0.0005),
    "MIX_PROBABILITY": (0.75, lambda m: m.contexts.mix_probability, 0.75, 0.25),
    "MIX_ACROSS": (3, lambda m: m.contexts.num_references, 17, 7),
}  # fmt: skip


def crop(mapper):
    return mapper.augmentations.augs[0]


def jitter(mapper):
    return mapper.augmentations.augs[-1]


@pytest.fixture
def context_cfg(cfg):
    cfg.DATASETS.TRAIN = ("context_keys",)
    MetadataCatalog.get("context_keys").set(ignore_label=250, stuff_classes=["a", "b"])
    yield cfg
    MetadataCatalog.remove("context_keys")


def test_all_keys_are_here(context_cfg):
    node = context_cfg.INPUT.CONTEXT
    assert set(node) == set(KEYS)
    assert not any(isinstance(value, CfgNode) for value in node.values())


@pytest.mark.parametrize("key", KEYS)
def test_two_values_of_a_key_are_two_mappers(context_cfg, key):
    value, read, expected, default = KEYS[key]
    assert read(ContextMapper(context_cfg)) == default
    before = {name: row[1](ContextMapper(context_cfg)) for name, row in KEYS.items()}
    context_cfg.merge_from_list([f"INPUT.CONTEXT.{key}", value])
    after = {name: row[1](ContextMapper(context_cfg)) for name, row in KEYS.items()}
    assert after[key] == expected
    others = {key, "MIX_ACROSS"} if key == "EXAMPLES" else {key}  # each has a grid
    assert {name for name in KEYS if after[name] != before[name]} == others


def test_keys_of_other_mappers_that_count_here(context_cfg):
    assert ContextMapper(context_cfg).ignore_label == 250
    found = []
    for kind in ("none", "horizontal", "vertical"):
        context_cfg.INPUT.RANDOM_FLIP = kind
        steps = ContextMapper(context_cfg).augmentations.augs
        flips = [step for step in steps if isinstance(step, T.RandomFlip)]
        found.append([(step.horizontal, step.vertical) for step in flips])
    assert found == [[], [(True, False)], [(False, True)]]
    context_cfg.INPUT.EXIF, context_cfg.INPUT.WHITE_LEVEL = "stored", 4095
    reader = ContextMapper(context_cfg).reader
    assert (reader.frame, reader.white_level) == ("stored", 4095)
