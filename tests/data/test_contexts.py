"""In-context samples of photos in flat colours: which objects they show, and who draws them."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from freeseg.data import build_mapper, build_train_loader
from freeseg.structures import DATASET_KEY, read_sample
from tests.data.painted_photos import (
    CAT,
    CLASSES,
    KITE,
    PLACES,
    SEGMENTS,
    SKY,
    ids_of_photo,
    is_mask_of,
    is_of,
    write_record,
)

SIDE = 64
LEAST_P = 0.01  # seeds are fixed: these are no tests that fail by chance
OF_CLASS = {KITE: (1, 70000), CAT: (2, 3), SKY: (300,)}
IS_THING = {row["id"]: row["isthing"] and not row["iscrowd"] for row in SEGMENTS}


@pytest.fixture
def context_cfg(cfg):
    cfg.INPUT.DATASET_MAPPER_NAME = "in_context"
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    node = cfg.INPUT.CONTEXT
    node.SIDE, node.JITTER_PROBABILITY, node.MIX_PROBABILITY = SIDE, 0.0, 0.0
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(CLASSES)
    return cfg


@pytest.fixture
def record(tmp_path, write_image):
    return write_record(tmp_path, write_image, ids_of_photo())


@pytest.fixture
def other(tmp_path, write_image):
    """A photo without the second kite and the cat of its own."""
    ids = ids_of_photo()[:, ::-1].copy()
    ids[np.isin(ids, (70000, 2))] = 300
    return write_record(tmp_path, write_image, ids, "b")


def samples(cfg, loader, records, count, *values):
    cfg.DATASETS.TRAIN = (loader(records, stuff_classes=CLASSES, ignore_label=255),)
    cfg.merge_from_list(list(values))
    mapper = build_mapper(cfg, True)
    dataset = mapper.make_dataset(records, cfg.SEED)
    return [dataset[position] for position in range(count)]


def sides(sample):
    """Image [S, S, 3], ids, masks and void of the query and of every example."""
    query, examples = sample["instances"], sample["examples"]
    rows = [
        (sample["image"], query.gt_ids, query.gt_masks.tensor),
        *((each.image, each.ids, each.masks) for each in examples),
    ]
    return [
        (image.permute(1, 2, 0).numpy(), ids.tolist(), masks.numpy(), void.numpy())
        for (image, ids, masks), void in zip(rows, sample["void"])
    ]


SEMANTIC, INSTANCE = ("INPUT.CONTEXT.INSTANCE_SHARES", [0]), ("INPUT.CONTEXT.INSTANCE_SHARES", [1])
WHOLE = ("INPUT.CONTEXT.SCALE", (1.0, 1.0), "INPUT.CONTEXT.ASPECT", (1.5, 1.5))  # the photo's
MIXED = ("INPUT.CONTEXT.MIX_PROBABILITY", 1.0)


@pytest.mark.parametrize("mixed", [(), MIXED], ids=["plain", "mixed"])
@pytest.mark.parametrize("count", [1, 3])
def test_instances_of_one_id_are_one_object_in_all_views(context_cfg, loader, record, mixed, count):
    values = (*INSTANCE, *mixed, "INPUT.CONTEXT.EXAMPLES", count)
    asked = set()
    for sample in samples(context_cfg, loader, [record], 24, *values):
        assert (sample["task"], len(sample["examples"])) == ("instance", count)
        assert sample["image"].dtype == torch.uint8
        assert sample["image"].shape == (3, SIDE, SIDE)
        for image, ids, masks, void in sides(sample):
            assert ids == sorted(set(ids)) == sample["instances"].gt_ids.tolist() != []
            for one, mask in zip(ids, masks):
                assert IS_THING[PLACES[one]]
                assert mask.mean() >= context_cfg.INPUT.CONTEXT.LEAST_AREA
                assert is_mask_of(mask, image, [PLACES[one]])
            assert is_mask_of(void, image, [0, 3])  # not annotated, or a crowd
        asked.add(tuple(sample["instances"].gt_ids.tolist()))
        labels = [SEGMENTS[one]["category_id"] for one in sample["instances"].gt_ids.tolist()]
        assert sample["instances"].gt_classes.tolist() == labels
        assert sample["examples"][0].labels.tolist() == labels
        assert sample["examples"][0].vocabulary.names == CLASSES
    assert {1, 2} <= set(map(len, asked))


@pytest.mark.parametrize("mixed", [(), MIXED], ids=["plain", "mixed"])
def test_classes_are_unions_of_their_segments(context_cfg, loader, record, other, mixed):
    """Crowds belong to their class; what is not asked for is background, not void."""
    asked = set()
    for sample in samples(context_cfg, loader, [record, other], 40, *SEMANTIC, *mixed):
        assert sample["task"] == "semantic"
        for image, ids, masks, void in sides(sample):
            assert ids == sorted(set(ids)) == sample["instances"].gt_ids.tolist() != []
            for label, mask in zip(ids, masks):
                assert is_mask_of(mask, image, OF_CLASS[label])
            assert is_mask_of(void, image, [0])
        assert sample["instances"].gt_ids.tolist() == sample["instances"].gt_classes.tolist()
        asked.add(tuple(sample["instances"].gt_ids.tolist()))
    assert {1, 2, 3} <= set(map(len, asked))


def test_all_that_is_shared_can_be_asked_for(context_cfg, loader, record):
    values = (*SEMANTIC, *WHOLE, "INPUT.CONTEXT.SUBSETS", False)
    for sample in samples(context_cfg, loader, [record], 4, *values):
        assert sample["instances"].gt_ids.tolist() == [KITE, CAT, SKY]


def test_objects_smaller_than_the_least_area_are_not_seen(context_cfg, loader, record):
    values = (*INSTANCE, *WHOLE, "INPUT.CONTEXT.SUBSETS", False, "INPUT.CONTEXT.LEAST_AREA")
    shares = {place: (ids_of_photo() == PLACES[place]).mean() for place in (1, 2, 3)}
    assert 0.08 < shares[2] < 0.088 < min(shares[1], 1) < 0.1
    (sample,) = samples(context_cfg, loader, [record], 1, *values, 0.09)
    assert sample["instances"].gt_ids.tolist() == [1]


def test_photos_are_as_often_two_as_is_said(context_cfg, loader, record, other):
    values = (*SEMANTIC, *WHOLE, "INPUT.CONTEXT.SAME_PHOTO")
    for same in (0.0, 1.0):
        found = [
            {bool(is_of(image, 70000).any()) for image, *_ in sides(sample)}
            for sample in samples(context_cfg, loader, [record, other], 20, *values, same)
        ]  # fmt: skip
        assert {len(each) for each in found} == {2 if same == 0 else 1}


def test_a_pair_that_shares_nothing_is_drawn_anew(context_cfg, loader, record, tmp_path,
                                                  write_image):  # fmt: skip
    """Kites in one corner alone are cut off by most views: none of these is given."""
    ids = np.zeros((64, 96), dtype=np.int32)
    ids[:12, :12] = 1
    lone = write_record(tmp_path, write_image, ids, "lone")
    for sample in samples(context_cfg, loader, [lone], 20, *INSTANCE):
        for _, _, masks, _ in sides(sample):
            assert masks.any(axis=(1, 2)).all()
    mapper = build_mapper(context_cfg, True)
    pairs = mapper.make_dataset([lone], 7)._kinds[0]
    drawn = [mapper.sample(pairs.pair_at(position), task="instance") for position in range(40)]
    assert 5 < sum(sample is None for sample in drawn) < 40


def test_left_stays_left_without_flips(context_cfg, loader, record):
    for flip, expected in (("none", {True}), ("horizontal", {True, False})):
        context_cfg.INPUT.RANDOM_FLIP = flip
        found = {
            np.argwhere(is_of(image, 1))[:, 1].mean() < SIDE / 2
            for sample in samples(context_cfg, loader, [record], 12, *WHOLE)
            for image, *_ in sides(sample)
        }
        assert found == expected


# who is drawn


def test_shares_and_weights_say_how_often(context_cfg, loader, record, other):
    """Whatever is drawn anew: of the second set many pairs are."""
    names = [loader([each], stuff_classes=CLASSES, ignore_label=255) for each in (record, other)]
    context_cfg.DATASETS.TRAIN, context_cfg.DATASETS.MIX_LABEL_SETS = tuple(names), True
    context_cfg.INPUT.CONTEXT.WEIGHTS = [1, 3]
    context_cfg.INPUT.CONTEXT.INSTANCE_SHARES = [0.5, 0.2]
    context_cfg.INPUT.CONTEXT.SIDE, context_cfg.INPUT.CONTEXT.LEAST_AREA = 8, 0.1
    rows = [{**each, DATASET_KEY: name} for each, name in zip((record, other), names)]
    dataset = build_mapper(context_cfg, True).make_dataset(rows, 7)
    found = Counter(
        (sample[DATASET_KEY], sample["task"]) for sample in map(dataset.__getitem__, range(200))
    )
    expected = {
        **{(names[0], "semantic"): 25, (names[0], "instance"): 25},
        **{(names[1], "semantic"): 120, (names[1], "instance"): 30},
    }
    assert set(found) == set(expected)
    assert chisquare([found[key] for key in expected], list(expected.values()))[1] > LEAST_P


def test_maps_of_classes_serve_beside_panoptic_sets(context_cfg, loader, record, tmp_path,
                                                    write_image):  # fmt: skip
    labels = np.select([ids_of_photo() == 0, ids_of_photo() == 300], [255, SKY], KITE)
    only_map = {
        **{key: record[key] for key in ("file_name", "height", "width")},
        "sem_seg_file_name": str(write_image(tmp_path / "labels.png", labels)),
    }
    found = samples(context_cfg, loader, [only_map], 12)
    assert {sample["task"] for sample in found} == {"semantic"}
    for sample in found:
        assert set(sample["instances"].gt_ids.tolist()) <= {KITE, SKY}
        for image, _, _, void in sides(sample):
            assert is_mask_of(void, image, [0])
    with pytest.raises(ValueError, match=r"has no instances, and INPUT\.CONTEXT\.INSTANCE"):
        samples(context_cfg, loader, [only_map], 1, *INSTANCE)
    both = samples(context_cfg, loader, [only_map, record], 12, *INSTANCE)
    assert {sample["task"] for sample in both} == {"instance"}


def test_objects_of_a_json_have_background_behind_them(context_cfg, loader, record):
    box = [[6, 16, 30, 16, 30, 40, 6, 40]]
    rows = [{"category_id": KITE, "segmentation": box, "iscrowd": 0}]
    alone = {key: record[key] for key in ("file_name", "height", "width")}
    for sample in samples(context_cfg, loader, [{**alone, "annotations": rows}], 12):
        for image, ids, masks, void in sides(sample):
            assert ids == [0]
            assert is_mask_of(masks[0], image, [1])
            assert not void.any()


BAD = {
    "BGR": (("INPUT.FORMAT", "BGR"), "in_context makes RGB images, INPUT.FORMAT is BGR"),
    "shares": (("INPUT.CONTEXT.INSTANCE_SHARES", [0.5, 1.5]), r"from 0 to 1, got \[0.5, 1.5\]"),
    "no share": (("INPUT.CONTEXT.INSTANCE_SHARES", []), r"INSTANCE_SHARES are from 0 to 1"),
    "too many": (("INPUT.CONTEXT.INSTANCE_SHARES", [0.5, 0.1]), "2 INPUT.*SHARES for 1 sets: own"),
    "weights": (("INPUT.CONTEXT.WEIGHTS", [1.0, 2.0]), "2 weights for 1 sets of pairs: own"),
    "no example": (("INPUT.CONTEXT.EXAMPLES", 0), "num_examples must be 1 or more, got 0"),
    "no grid": (("INPUT.CONTEXT.MIX_ACROSS", 0), "mix_across must be 1 or more, got 0"),
    "probability": (("INPUT.CONTEXT.MIX_PROBABILITY", 2.0), "mix_probability must be from 0 to 1"),
    "side": (("INPUT.CONTEXT.SIDE", 0), "the side of a view must be 1 or more, got 0"),
    "scale": (("INPUT.CONTEXT.SCALE", (0.5, 2.0)), "the scale of a view is no range"),
    "jitter": (("INPUT.CONTEXT.JITTER", (0.1, 0.1)), "colour jitter is brightness, contrast"),
}


@pytest.mark.parametrize(("values", "message"), BAD.values(), ids=BAD)
def test_what_makes_no_samples_is_refused(context_cfg, loader, record, values, message):
    with pytest.raises(ValueError, match=message):
        samples(context_cfg, loader, [record], 1, *values)


# seeds


def told(sample):
    return [sample["task"], *((image.tolist(), ids, masks.tolist(), void.tolist())
                              for image, ids, masks, void in sides(sample))]  # fmt: skip


def test_a_position_alone_decides(context_cfg, loader, record, other):
    """With jitter and grids; a run that is resumed sees the same, and no global state is moved."""
    node = context_cfg.INPUT.CONTEXT
    node.SIDE, node.JITTER_PROBABILITY, node.MIX_PROBABILITY = 16, 0.8, 0.5
    context_cfg.DATASETS.TRAIN = (loader([record, other], stuff_classes=CLASSES, ignore_label=255),)
    random.seed(1), np.random.seed(1)
    state = random.getstate(), np.random.get_state()[1].copy()
    batches = list(itertools.islice(build_train_loader(context_cfg), 4))
    assert state[0] == random.getstate()
    assert (state[1] == np.random.get_state()[1]).all()
    resumed = list(itertools.islice(build_train_loader(context_cfg, start_iter=2), 2))
    for batch, again in zip(batches[2:], resumed):
        assert list(map(told, again)) == list(map(told, batch))
    everything = [str(told(sample)) for batch in batches for sample in batch]
    assert len(set(everything)) == len(everything) == 16


def test_systems_read_them_by_name(context_cfg, loader, record):
    (sample,) = samples(context_cfg, loader, [record], 1, "INPUT.CONTEXT.EXAMPLES", 2)
    read = read_sample(sample, 255)
    assert read.examples == sample["examples"]
    assert read.ids.equal(sample["instances"].gt_ids)
    assert read.void is sample["void"]
    assert (read.task, read.dataset) == (sample["task"], context_cfg.DATASETS.TRAIN[0])
    plain = read_sample({"image": sample["image"], "sem_seg": sample["void"][0].long()}, 255)
    assert (plain.examples, plain.ids, plain.void) == ((), None, None)


def test_photos_of_a_test_are_whole(context_cfg, record):
    context_cfg.INPUT.MIN_SIZE_TEST = 32
    assert build_mapper(context_cfg, False)(record)["image"].shape == (3, 32, 48)
