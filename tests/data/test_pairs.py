"""Pairs of records: who is drawn, how often, and that (seed, position) alone decide it."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from freeseg.data import (
    MAPPER_REGISTRY,
    PairDataset,
    PairSet,
    SegmentationMapper,
    build_train_loader,
    pair_sets,
)
from freeseg.data.augmentation import RandomColorSSD
from freeseg.data.loader import ENDLESS
from freeseg.data.pairs import MAX_DRAWS
from freeseg.structures import DATASET_KEY, Vocabulary

TRIANGLE = [[0, 0, 4, 0, 4, 4]]
NAMES = ("pea", "rice", "oat")
VOCABULARY = Vocabulary(NAMES, (True, True, False))
LEAST_P = 0.01  # seeds are fixed: these are no tests that fail by chance


def photo(name: str, *labels: int, crowds: tuple[int, ...] = ()) -> dict:
    rows = [{"category_id": label, "segmentation": TRIANGLE} for label in labels]
    rows += [{"category_id": label, "segmentation": TRIANGLE, "iscrowd": 1} for label in crowds]
    return {"file_name": name, "image_id": name, "height": 8, "width": 8, "annotations": rows}


RECORDS = [
    photo("a", 0, 0, 1),
    photo("b", 1),
    photo("c", 0, 2),
    photo("d"),
    photo("e", 0),
    photo("f", 1, 0),
]
SHOWS = {0: "acef", 1: "abf", 2: "c"}  # by hand


def identity(pair):
    return pair


def pairs(count: int, sets=None, seed: int = 5, **options):
    dataset = PairDataset(
        sets or [PairSet.of("set", RECORDS, VOCABULARY)], identity, seed, **options
    )
    return [dataset[position] for position in range(count)]


def names_of(pair) -> list[str]:
    return [record["file_name"] for record in (pair.record, *pair.references)]


def told(pair):
    """All that is drawn."""
    views = [(row["file_name"], row["seed"], row["position"]) for row in
             (pair.record, *pair.references)]  # fmt: skip
    return pair.set_name, pair.label, views


# the index


def test_the_index_has_the_records_of_every_class():
    places = PairSet.of("set", RECORDS, VOCABULARY).places
    found = {
        label: "".join(RECORDS[p]["file_name"] for p in rows) for label, rows in places.items()
    }
    assert found == SHOWS


def test_crowds_count_where_the_task_learns_them():
    records = [photo("a", 0, crowds=(1,)), photo("b", 1)]
    two = Vocabulary(NAMES[:2], (True, True))
    for task, expected in (("semantic", [0, 1]), ("instance", [1]), ("panoptic", [1])):
        assert PairSet.of("set", records, two, task=task).places[1].tolist() == expected


def test_classes_of_maps_are_read_from_their_pngs(tmp_path, write_image):
    pictures = {"a": [[0, 2]], "b": [[1, 255]], "c": [[0, 1]]}
    records = [
        {"file_name": name, "sem_seg_file_name": str(write_image(tmp_path / f"{name}.png", labels))}
        for name, labels in pictures.items()
    ]
    places = PairSet.of("set", records, VOCABULARY).places
    assert {label: rows.tolist() for label, rows in places.items()} == {
        **{0: [0, 2], 1: [1, 2], 2: [0]}
    }


def test_classes_without_a_record_are_refused_by_name():
    four = Vocabulary((*NAMES, "fig", "nut"), (True,) * 5)
    with pytest.raises(ValueError, match=r"^shop has no record that shows fig, nut$"):
        PairSet.of("shop", RECORDS, four)
    chosen = PairSet.of("shop", RECORDS, four, classes=(0, 2))
    assert sorted(chosen.places) == [0, 2]
    with pytest.raises(ValueError, match="shop has no record that shows any class"):
        PairSet.of("shop", RECORDS, four, classes=())


def test_classes_without_a_record_can_be_left_out():
    four = Vocabulary((*NAMES, "fig"), (True,) * 4)
    assert sorted(PairSet.of("shop", RECORDS, four, only_shown=True).places) == [0, 1, 2]
    with pytest.raises(ValueError, match="shop has no record that shows any class"):
        PairSet.of("shop", RECORDS[3:4], four, only_shown=True)


def test_a_class_beyond_the_list_is_refused_with_its_record():
    with pytest.raises(ValueError, match=r"of b has class 1, but the 1 classes are numbered 0"):
        PairSet.of("set", RECORDS[1:], Vocabulary(("pea",), (True,)))


BAD = {
    "no set": (lambda s: PairDataset([], identity, 0), "at least one set"),
    "no reference": (lambda s: PairDataset([s], identity, 0, num_references=0), "or more, got 0"),
    "no probability": (
        lambda s: PairDataset([s], identity, 0, same_photo_probability=1.5),
        "must be from 0 to 1, got 1.5",
    ),
    "no weight": (
        lambda s: PairSet.of("set", RECORDS, VOCABULARY, weight=0),
        "the weight of set must be above 0, got 0",
    ),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
def test_what_is_no_sequence_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build(PairSet.of("set", RECORDS, VOCABULARY))


# what is drawn


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_references_show_the_class_of_the_record(count):
    for pair in pairs(300, num_references=count):
        assert len(pair.references) == count
        assert set(names_of(pair)) <= set(SHOWS[pair.label])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_references_are_other_records_and_each_once_before_any_comes_again(count):
    for pair in pairs(200, num_references=count, same_photo_probability=0):
        first, *others = names_of(pair)
        if pair.label == 2:  # which one record alone shows
            assert others == ["c"] * count
            continue
        shown = len(SHOWS[pair.label]) - 1
        assert first not in others
        times = Counter(others)
        assert len(times) == min(count, shown)
        assert max(times.values()) - min(times.values()) <= 1


def test_the_same_photo_comes_with_its_probability():
    assert all(len(set(names_of(pair))) == 1 for pair in pairs(100, same_photo_probability=1))
    drawn = [pair for pair in pairs(4000, same_photo_probability=0.3) if pair.label != 2]
    same = sum(len(set(names_of(pair))) == 1 for pair in drawn)
    assert chisquare([same, len(drawn) - same], [0.3 * len(drawn), 0.7 * len(drawn)])[1] > LEAST_P


def test_classes_records_and_references_are_uniform():
    drawn = pairs(6000, same_photo_probability=0)
    labels = Counter(pair.label for pair in drawn)
    assert chisquare([labels[label] for label in SHOWS]).pvalue > LEAST_P
    for label in (0, 1):
        found = Counter(tuple(names_of(pair)) for pair in drawn if pair.label == label)
        possible = list(itertools.permutations(SHOWS[label], 2))
        assert set(found) <= set(possible)
        assert chisquare([found[each] for each in possible]).pvalue > LEAST_P


def test_sets_are_drawn_by_their_weights_and_keep_their_labels():
    figs = Vocabulary(("fig",), (True,))
    sets = [
        PairSet.of("first", RECORDS, VOCABULARY, weight=2),
        PairSet.of("second", [photo("x", 0), photo("y", 0)], figs, weight=5),
        PairSet.of("third", [photo("z", 0)], figs, weight=1),
    ]
    drawn = pairs(4000, sets)
    found = Counter(pair.set_name for pair in drawn)
    counts = [found[each.name] for each in sets]
    assert chisquare(counts, [1000, 2500, 500]).pvalue > LEAST_P
    for pair in drawn[:200]:
        owner = next(each for each in sets if each.name == pair.set_name)
        assert pair.vocabulary is owner.vocabulary
        files = {record["file_name"] for record in owner.records}
        assert set(names_of(pair)) <= files


# seeds


def test_a_position_alone_decides_whatever_was_drawn_before():
    forwards = [told(pair) for pair in pairs(40)]
    other = PairDataset([PairSet.of("set", RECORDS, VOCABULARY)], identity, 5)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    state = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    backwards = [told(other[position]) for position in reversed(range(40))]
    assert backwards[::-1] == forwards
    assert state[0] == random.getstate()
    assert (state[1] == np.random.get_state()[1]).all()
    assert torch.equal(state[2], torch.get_rng_state())


def test_seeds_and_positions_give_other_pairs():
    assert [told(pair) for pair in pairs(20)] != [told(pair) for pair in pairs(20, seed=6)]
    assert len({str(told(pair)) for pair in pairs(500)}) == 500
    far = PairDataset([PairSet.of("set", RECORDS, VOCABULARY)], identity, 5)
    assert len(far) == ENDLESS
    assert told(far[10**12]) == told(far[10**12])


def test_pairs_are_drawn_as_they_always_were():
    """Written down: a run must find them again with any later version of ours."""
    found = ["".join([str(pair.label), *names_of(pair)]) for pair in pairs(8, num_references=2)]
    assert found == ["1bfa", "0afc", "0ccc", "2ccc", "2ccc", "1fba", "1bbb", "1aaa"]


def test_every_view_has_a_seed_of_its_own():
    seeds = [
        record["seed"]
        for pair in pairs(300, num_references=4, same_photo_probability=1)
        for record in (pair.record, *pair.references)
    ]
    assert len(set(seeds)) == 1500


def test_views_of_one_photo_differ_by_their_augmentation_alone(tmp_path, write_image):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    record = {**photo(str(write_image(tmp_path / "a.png", pixels)), 0), "height": 16, "width": 16}
    mapper = SegmentationMapper(
        augmentations=[RandomColorSSD("RGB")], image_format="RGB", task="instance"
    )

    def views(pair):
        return [mapper(each) for each in (pair.record, *pair.references)]

    sets = [PairSet.of("set", [record], Vocabulary(("pea",), (True,)))]
    dataset = PairDataset(sets, views, 0, num_references=2)
    first, again = dataset[3], dataset[3]
    for one, other in zip(first, again):
        assert torch.equal(one["image"], other["image"])
    images = [one["image"] for position in (3, 4) for one in dataset[position]]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(images, 2))
    assert all(one["instances"].gt_classes.tolist() == [0] for one in first)


# pairs that a mapper cannot use


def test_a_pair_that_cannot_be_used_is_drawn_anew_for_this_position_alone():
    sets = [PairSet.of("set", RECORDS, VOCABULARY)]

    def only_rice(pair):
        return told(pair) if pair.label == 1 else None

    plain, strict = PairDataset(sets, told, 5), PairDataset(sets, only_rice, 5)
    assert [strict[position] for position in range(60)] == [
        next(
            each for each in (told(strict.pair_at(position, n)) for n in range(99)) if each[1] == 1
        )
        for position in range(60)
    ]
    kept = [position for position in range(60) if plain[position][1] == 1]
    assert 5 < len(kept) < 60
    assert all(strict[position] == plain[position] for position in kept)
    assert told(plain.pair_at(3)) == plain[3]


def test_a_mapper_that_can_use_no_pair_is_an_error_with_the_last_of_them():
    asked = []
    sets = [PairSet.of("shop", [photo("a", 0), photo("b", 0)], Vocabulary(("pea",), (True,)))]
    dataset = PairDataset(sets, asked.append, 0)
    with pytest.raises(ValueError, match=r"was [ab] with the class pea of shop$"):
        dataset[0]
    assert len(asked) == MAX_DRAWS
    assert len({str(told(pair)) for pair in asked}) == MAX_DRAWS


# configurations


class PairMapper:
    """What a project would register."""

    def __init__(self, cfg, is_train):
        self.cfg = cfg

    def __call__(self, record):
        return record

    def make_dataset(self, records, seed):
        return PairDataset(pair_sets(self.cfg, records), told, seed, num_references=2)


@pytest.fixture
def pair_cfg(cfg, loader):
    MAPPER_REGISTRY._do_register("pairs_of_a_test", PairMapper)
    cfg.INPUT.DATASET_MAPPER_NAME = "pairs_of_a_test"
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.DATASETS.TRAIN = (loader(RECORDS, thing_classes=NAMES),)
    yield cfg
    del MAPPER_REGISTRY._obj_map["pairs_of_a_test"]


def test_pairs_are_trained_on_by_name_and_resumed(pair_cfg):
    batches = list(itertools.islice(build_train_loader(pair_cfg), 6))
    resumed = itertools.islice(build_train_loader(pair_cfg, start_iter=4), 2)
    assert list(resumed) == batches[4:]
    expected = pairs(24, seed=pair_cfg.SEED, num_references=2)
    assert [row[1:] for batch in batches for row in batch] == [told(pair)[1:] for pair in expected]
    pair_cfg.DATALOADER.NUM_WORKERS = 2
    assert list(itertools.islice(build_train_loader(pair_cfg), 6)) == batches


def test_two_processes_see_the_pairs_that_one_sees(pair_cfg, monkeypatch):
    single = list(itertools.islice(build_train_loader(pair_cfg), 4))
    halves = []
    for rank in range(2):
        monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda rank=rank: rank)
        monkeypatch.setattr("detectron2.data.build.get_world_size", lambda: 2)
        halves.append(list(itertools.islice(build_train_loader(pair_cfg), 4)))
    assert [first + second for first, second in zip(*halves)] == single


def test_sets_with_their_own_lists_are_drawn_apart(cfg, loader):
    first = loader([photo("a", 0, 1)], thing_classes=["pea", "rice"])
    second = loader([photo("b", 0), photo("c", 0)], thing_classes=["rice"])
    cfg.DATASETS.TRAIN, cfg.DATASETS.MIX_LABEL_SETS = (first, second), True
    rows = [(first, photo("a", 0, 1)), (second, photo("b", 0)), (second, photo("c", 0))]
    records = [{**record, DATASET_KEY: name} for name, record in rows]
    sets = pair_sets(cfg, records, weights=(1, 3))
    assert [
        (each.name, each.vocabulary.names, len(each.records), each.weight) for each in sets
    ] == [
        (first, ("pea", "rice"), 1, 1),
        (second, ("rice",), 2, 3),
    ]
    with pytest.raises(ValueError, match=f"1 weights for 2 sets of pairs: {first}, {second}"):
        pair_sets(cfg, records, weights=(1,))


def test_sets_of_one_list_are_one(cfg, loader):
    first = loader([], thing_classes=NAMES)
    cfg.DATASETS.TRAIN = (first, loader([], thing_classes=NAMES[:2]))
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    (one,) = pair_sets(cfg, RECORDS)
    assert (one.name, one.vocabulary.names, len(one.records)) == (first, NAMES, 6)


def test_a_set_that_names_no_classes_is_refused(cfg, loader):
    cfg.DATASETS.TRAIN = (loader(RECORDS),)
    with pytest.raises(ValueError, match=f"{cfg.DATASETS.TRAIN[0]} names no classes to draw pairs"):
        pair_sets(cfg, RECORDS)
