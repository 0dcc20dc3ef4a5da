"""Datasets out of lists and functions, and the loaders built on them."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from detectron2.config import get_cfg
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    MapDataset,
    MetadataCatalog,
    ToIterableDataset,
    build_batch_data_loader,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
    print_instances_class_histogram,
)
from detectron2.data.build import filter_images_with_few_keypoints
from detectron2.data.common import AspectRatioGroupedDataset
from detectron2.data.samplers import InferenceSampler, TrainingSampler

NUM_IMAGES = 12


class Counting(IterableDataset):
    def __init__(self, stop):
        self.stop = stop

    def __iter__(self):
        return iter(range(self.stop))


def drop_odd(number):
    return None if number % 2 else number * 10


def image_dicts(num_images=NUM_IMAGES):
    return [
        {
            "image_id": i,
            "width": 20 if i % 3 else 5,
            "height": 10,
            "annotations": [{"category_id": int(i == 0), "iscrowd": 0}],
        }
        for i in range(num_images)
    ]


@pytest.fixture
def config(catalogs):
    DatasetCatalog.register("tiny", image_dicts)
    MetadataCatalog.get("tiny").thing_classes = ["common", "rare"]
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("tiny",)
    cfg.DATASETS.TEST = ("tiny",)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SEED = 7
    return cfg


def ids(batches):
    return [[item["image_id"] for item in batch] for batch in batches]


@pytest.mark.parametrize("serialize", [True, False])
def test_list_dataset_gives_copies(serialize):
    source = [{"a": [1]}, "text", np.arange(3)]
    dataset = DatasetFromList(source, serialize=serialize)
    assert len(dataset) == 3
    dataset[0]["a"].append(2)
    assert dataset[0] == source[0] == {"a": [1]}
    assert dataset[1] == "text"
    assert dataset[-1].tolist() == [0, 1, 2]
    with pytest.raises(IndexError):
        dataset[3]


def test_list_dataset_without_copies():
    source = [{"a": 1}]
    assert DatasetFromList(source, copy=False, serialize=False)[0] is source[0]
    assert DatasetFromList(source, serialize=tuple)[0] is source[0]
    with pytest.raises(TypeError):
        DatasetFromList(source, serialize="yes")


def test_mapping_tries_another_element_or_the_next():
    mapped = MapDataset(DatasetFromList(list(range(20))), drop_odd)
    assert len(mapped) == 20
    assert [mapped[i] for i in range(0, 20, 2)] == list(range(0, 200, 20))
    others = [mapped[i] for i in range(1, 20, 2)]
    assert set(others) <= set(range(0, 200, 20))
    assert list(MapDataset(Counting(5), drop_odd)) == [0, 20, 40]
    assert isinstance(MapDataset(Counting(5), drop_odd), IterableDataset)


def test_mapped_datasets_can_be_pickled_with_a_lambda():
    mapped = MapDataset(DatasetFromList([1, 2]), lambda x: x + 1)
    assert list(map(pickle.loads(pickle.dumps(mapped)).__getitem__, range(2))) == [2, 3]


def test_wide_and_tall_images_are_not_mixed():
    batches = list(itertools.islice(AspectRatioGroupedDataset(image_dicts(), 3), 10))
    assert ids(batches) == [[1, 2, 4], [0, 3, 6], [5, 7, 8]]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("drop_last", [True, False])
def test_any_number_of_workers_gives_every_element_once(num_workers, drop_last):
    loader = build_batch_data_loader(
        DatasetFromList(list(range(22))),
        InferenceSampler(22),
        4,
        num_workers=num_workers,
        drop_last=drop_last,
    )
    batches = list(loader)
    assert sorted(itertools.chain(*batches)) == list(range(20 if drop_last else 22))
    full = [batch for batch in batches if len(batch) == 4]
    assert full[:5] == [list(range(i, i + 4)) for i in range(0, 20, 4)]


def test_workers_do_not_change_training_batches():
    def batches(num_workers):
        loader = build_detection_train_loader(
            list(range(10)),
            mapper=lambda x: x * 10,
            sampler=TrainingSampler(10, seed=1),
            total_batch_size=3,
            aspect_ratio_grouping=False,
            num_workers=num_workers,
        )
        return list(itertools.islice(loader, 7))

    assert batches(0) == batches(2)


def test_workers_have_random_generators_of_their_own():
    def draw(_):
        return np.random.randint(2**31), torch.initial_seed()

    loader = build_batch_data_loader(
        MapDataset(DatasetFromList(list(range(4))), draw),
        InferenceSampler(4),
        1,
        num_workers=2,
        seed=5,
    )
    first, again = ([batch[0] for batch in loader] for _ in range(2))
    assert len({number for number, _ in first}) == 4
    assert len({seed for _, seed in first}) == 2
    assert first != again


def test_batch_sizes():
    data, sampler = DatasetFromList(list(range(6))), InferenceSampler(6)
    loader = build_batch_data_loader(data, sampler, 0, single_gpu_batch_size=3)
    assert list(loader) == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="total_batch_size"):
        build_batch_data_loader(data, sampler, 2, single_gpu_batch_size=3)
    with pytest.raises(AssertionError):
        build_batch_data_loader(data, sampler, 0)
    with pytest.raises(AssertionError):
        build_batch_data_loader(data, sampler, 2, aspect_ratio_grouping=True, drop_last=False)
    with pytest.raises(AssertionError, match="sampler must be None"):
        build_batch_data_loader(Counting(3), sampler, 2)


def test_loaders_of_iterable_datasets():
    train = build_detection_train_loader(
        Counting(9), mapper=drop_odd, total_batch_size=2, aspect_ratio_grouping=False
    )
    assert list(train) == [[0, 20], [40, 60]]
    test = build_detection_test_loader(Counting(3), mapper=lambda x: x)
    assert list(test) == [[0], [1], [2]]
    as_iterable = ToIterableDataset(DatasetFromList([5, 6]), TrainingSampler(2, shuffle=False))
    assert list(itertools.islice(as_iterable, 3)) == [5, 6, 5]


def test_collating():
    data = image_dicts()

    def collate(batch):
        return torch.tensor([item["image_id"] for item in batch])

    test = build_detection_test_loader(data, mapper=None, batch_size=5, collate_fn=collate)
    assert torch.cat(list(test)).tolist() == list(range(NUM_IMAGES))
    train = build_detection_train_loader(
        data, mapper=None, total_batch_size=2, collate_fn=collate, aspect_ratio_grouping=True
    )
    assert next(iter(train)).shape == (2,)


@pytest.mark.parametrize("grouping", [True, False])
def test_training_from_a_config(config, grouping):
    config.DATALOADER.ASPECT_RATIO_GROUPING = grouping
    loader = build_detection_train_loader(config, mapper=lambda d: d)
    batches = ids(itertools.islice(loader, 60))
    wide = [[i % 3 > 0 for i in batch] for batch in batches]
    assert all(len(batch) == 2 for batch in batches)
    assert all(a == b for a, b in wide) == grouping
    assert set(itertools.chain(*batches)) == set(range(NUM_IMAGES))
    again = build_detection_train_loader(config, mapper=lambda d: d)
    assert ids(itertools.islice(again, 60)) == batches


@pytest.mark.parametrize(
    ("settings", "share_of_rare"),
    [
        ({"SAMPLER_TRAIN": "TrainingSampler"}, 1 / 12),
        ({"SAMPLER_TRAIN": "RepeatFactorTrainingSampler", "REPEAT_THRESHOLD": 0.75}, 3 / 14),
        ({"SAMPLER_TRAIN": "WeightedTrainingSampler"}, 1 / 12),
        ({"SAMPLER_TRAIN": "WeightedCategoryTrainingSampler", "REPEAT_THRESHOLD": 0.75}, 3 / 14),
    ],
    ids=lambda value: value["SAMPLER_TRAIN"] if isinstance(value, dict) else "",
)
def test_samplers_from_a_config(config, settings, share_of_rare):
    # The rare class is in 1 of 12 images: its factor is sqrt(0.75 * 12) = 3.
    config.DATALOADER.ASPECT_RATIO_GROUPING = False
    config.DATASETS.TRAIN_REPEAT_FACTOR = [("tiny", 2.0)]
    for key, value in settings.items():
        config.DATALOADER[key] = value
    loader = build_detection_train_loader(config, mapper=lambda d: d)
    drawn = list(itertools.chain(*ids(itertools.islice(loader, 12 * 14))))
    assert drawn.count(0) / len(drawn) == pytest.approx(share_of_rare, abs=0.01)


def test_random_subset_from_a_config(config):
    config.DATALOADER.SAMPLER_TRAIN = "RandomSubsetTrainingSampler"
    config.DATALOADER.RANDOM_SUBSET_RATIO = 0.5
    config.DATALOADER.ASPECT_RATIO_GROUPING = False
    loader = build_detection_train_loader(config, mapper=lambda d: d)
    assert len(set(itertools.chain(*ids(itertools.islice(loader, 30))))) == 6


def test_what_a_config_cannot_ask_for(config):
    config.DATALOADER.SAMPLER_TRAIN = "Nonsense"
    with pytest.raises(ValueError, match="Nonsense"):
        build_detection_train_loader(config, mapper=lambda d: d)
    config.DATALOADER.SAMPLER_TRAIN = "WeightedTrainingSampler"
    config.DATASETS.TRAIN_REPEAT_FACTOR = [("other", 2.0)]
    with pytest.raises(AssertionError, match="other"):
        build_detection_train_loader(config, mapper=lambda d: d)


def test_testing_from_a_config(config):
    loader = build_detection_test_loader(config, "tiny", mapper=lambda d: d)
    assert ids(loader) == [[i] for i in range(NUM_IMAGES)]
    loader = build_detection_test_loader(config, ["tiny"], mapper=lambda d: d, batch_size=5)
    assert [len(batch) for batch in loader] == [5, 5, 2]


def test_dicts_without_objects_are_left_out(catalogs):
    crowd = {"annotations": [{"category_id": 0, "iscrowd": 1}]}
    empty = {"annotations": []}
    good = {"annotations": [{"category_id": 0}]}
    DatasetCatalog.register("mixed", lambda: [crowd, empty, good])
    assert get_detection_dataset_dicts("mixed") == [good]
    assert len(get_detection_dataset_dicts(["mixed", "mixed"], filter_empty=False)) == 6
    DatasetCatalog.register("crowds", lambda: [crowd])
    with pytest.raises(AssertionError, match="crowds"):
        get_detection_dataset_dicts("crowds")
    DatasetCatalog.register("none", list)
    with pytest.raises(AssertionError, match="none"):
        get_detection_dataset_dicts("none")
    with pytest.raises(KeyError, match="typo"):
        get_detection_dataset_dicts("typo")
    with pytest.raises(AssertionError):
        get_detection_dataset_dicts([])


def test_datasets_with_other_classes_do_not_go_together(catalogs):
    for name, classes in (("cats", ["cat"]), ("dogs", ["dog"])):
        DatasetCatalog.register(name, lambda: [{"annotations": [{"category_id": 0}]}])
        MetadataCatalog.get(name).thing_classes = classes
    with pytest.raises(ValueError, match="thing_classes"):
        get_detection_dataset_dicts(["cats", "dogs"])
    assert len(get_detection_dataset_dicts(["cats", "dogs"], check_consistency=False)) == 2


def test_torch_datasets_are_passed_through(catalogs):
    class Numbers(Dataset):
        def __getitem__(self, index):
            return index

        def __len__(self):
            return 3

    numbers = Numbers()
    DatasetCatalog.register("numbers", lambda: numbers)
    assert get_detection_dataset_dicts("numbers") is numbers
    assert len(get_detection_dataset_dicts(["numbers", "numbers"])) == 6


def test_images_with_few_keypoints_are_left_out():
    images = [
        {"annotations": [{"keypoints": [1, 1, v, 2, 2, 1]}, {"bbox": [0, 0, 1, 1]}]}
        for v in (0, 1, 2)
    ]
    assert filter_images_with_few_keypoints(images, 2) == images[1:]
    assert filter_images_with_few_keypoints(images, 3) == []


def test_histogram_refuses_ids_without_a_name():
    for category_id in (-1, 2):
        dicts = [{"annotations": [{"category_id": category_id}]}]
        with pytest.raises(AssertionError, match=str(category_id)):
            print_instances_class_histogram(dicts, ["a", "b"])
