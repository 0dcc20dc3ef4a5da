from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.catalog import dataset_metadata, kept
from freeseg.data import SegmentationMapper, register_all
from freeseg.data.categories import Category, load_categories
from freeseg.data.datasets.catalog import IGNORED_KEY, STUFF_KEY, register
from freeseg.data.datasets.seen import PUBLISHED, register_seen, seen_records
from freeseg.data.panoptic import id2rgb
from freeseg.data.splits import load_split, split_metadata

COUNTS = {  # (classes of the table that a split is about, unseen, unseen things)
    "coco_stuff_156_15": (171, 15, 7),
    "coco_panoptic_122_11": (133, 11, 7),
    "coco_instance_73_7": (80, 7, 7),
    "ade20k_135_15": (150, 15, 11),
    "voc_15_5": (20, 5, 5),
}


@pytest.mark.parametrize(("name", "counts"), COUNTS.items(), ids=COUNTS)
def test_published_splits_have_their_published_size(name, counts):
    split = load_split(name)
    rows = load_categories(split.table)
    if name == "voc_15_5":
        rows = rows[1:]  # the background is ignored
    if name == "coco_instance_73_7":
        rows = [row for row in rows if row.is_thing]
    things = [row.name for row in rows if row.is_thing]
    found = (len(rows), len(split.unseen), len(set(split.unseen) & set(things)))
    assert found == counts
    numbers = split_metadata([row.name for row in rows], split.unseen)
    assert len(numbers["evaluation_set"]["unseen"]) == counts[1]
    assert sum(numbers["trainable_flag"]) == counts[0] - counts[1]
    assert split.source


def test_the_ade20k_split_is_the_release_s_by_number():
    names = [row.name for row in load_categories("ade20k")]
    unseen = load_split("ade20k_135_15").unseen
    numbers = sorted(names.index(name) for name in unseen)
    assert numbers == [9, 15, 30, 37, 49, 60, 74, 81, 89, 99, 112, 128, 136, 143, 149]


def test_an_unknown_split_names_the_known_ones():
    with pytest.raises(ValueError, match=r"no split 'lvis'; known splits are ade20k_135_15"):
        load_split("lvis")


def test_every_published_set_is_registered_with_its_flags():
    register_all()
    for sets in PUBLISHED:
        trained = [f"{name}_seen" for name in sets.train]
        published = [name for names in sets.train.values() for name in names]
        for name in (*trained, *published, *sets.test):
            metadata = dataset_metadata(name)
            names = metadata.get("stuff_classes") or metadata.thing_classes
            flags = dict(zip(names, metadata.trainable_flag))
            assert 0 < len(flags) - sum(flags.values()) <= 15, name
            assert {key for key, flag in flags.items() if not flag} <= set(
                load_split(sets.split).unseen
            )
        for name in sets.train:
            assert dataset_metadata(name).get("trainable_flag") is None, "trained on everything"
    expected = {"ade20k_all_train_base", "coco_2017_train_full_task_base", "voc_base_sem_seg_train"}
    assert expected <= set(DatasetCatalog.list()), "names in the release's configurations"


def test_registering_again_changes_nothing():
    register_all()
    before = dataset_metadata("ade20k_panoptic_train_seen").as_dict()
    register_all()
    assert dataset_metadata("ade20k_panoptic_train_seen").as_dict() == before


@pytest.fixture
def scene(tmp_path):
    """A dataset of one image: classes a, b (things), c, d (stuff); b and d are unseen."""
    classes = np.array([[0, 0, 1, 1], [2, 2, 3, 3]], dtype=np.uint8)
    Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(classes).save(tmp_path / "classes.png")
    Image.fromarray(id2rgb(classes.astype(np.int32) + 1)).save(tmp_path / "ids.png")
    record = {
        "file_name": str(tmp_path / "image.png"),
        "image_id": 7,
        "pan_seg_file_name": str(tmp_path / "ids.png"),
        "sem_seg_file_name": str(tmp_path / "classes.png"),
        "segments_info": [
            {"id": number + 1, "category_id": number, "isthing": number < 2} for number in range(4)
        ],
    }
    names = ["a", "b", "c", "d"]
    register("all_of_it", lambda _: [record], {"stuff_classes": names, "json_file": "all.json"})
    register_seen("seen_of_it", "all_of_it", ["b", "d"])
    yield record
    for name in ("all_of_it", "seen_of_it"):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def mapped(record, task):
    mapper = SegmentationMapper(augmentations=[], image_format="RGB", task=task)
    instances = mapper(record)["instances"]
    masks = instances.gt_masks.tensor
    return dict(zip(instances.gt_classes.tolist(), (mask.tolist() for mask in masks)))


LEFT = {0: [[True, True, False, False], [False] * 4], 2: [[False] * 4, [True, True, False, False]]}


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_unseen_pixels_are_void_in_training(scene, task):
    (record,) = kept("seen_of_it").load()
    expected = {0: LEFT[0]} if task == "instance" else LEFT
    assert mapped(record, task) == expected
    assert len(mapped(scene, task)) == 2 * len(expected), "the source still has all"


def test_metadata_of_the_seen_part(scene):
    metadata = dataset_metadata("seen_of_it")
    assert metadata.stuff_classes == ["a", "b", "c", "d"], "class numbers stay"
    assert metadata.trainable_flag == [1, 0, 1, 0]
    assert metadata.evaluation_set == {"seen": ["a", "c"], "unseen": ["b", "d"]}
    assert metadata.get("json_file") is None, "that file has all classes"


def test_semantic_maps_are_filtered_as_they_are_read(scene):
    semantic = {key: scene[key] for key in ("file_name", "image_id", "sem_seg_file_name")}
    (record,) = seen_records([semantic], {1, 3})
    assert mapped(record, "semantic") == LEFT
    assert IGNORED_KEY not in SegmentationMapper(augmentations=[], image_format="RGB")(record)


def test_things_and_stuff_from_two_annotations(scene):
    """Panoptic things, and the class map everywhere else, without its own things."""
    record = {
        **scene,
        "segments_info": scene["segments_info"][:1],
        STUFF_KEY: scene["sem_seg_file_name"],
        IGNORED_KEY: [0, 1],
    }
    found = mapped(record, "panoptic")
    assert found == {**LEFT, 3: [[False] * 4, [False, False, True, True]]}
    (seen,) = seen_records([record], {1, 3})
    assert mapped(seen, "panoptic") == LEFT
    assert len(mapped(scene, "semantic")) == 4


def test_images_with_nothing_left_are_not_loaded():
    empty = {"file_name": "a", "segments_info": [{"id": 1, "category_id": 1}]}
    boxes = {"file_name": "b", "annotations": [{"category_id": 0}, {"category_id": 1}]}
    assert seen_records([empty, boxes], {1}) == [
        {"file_name": "b", "annotations": [{"category_id": 0}]}
    ]


def test_classes_that_the_dataset_has_not_are_refused(scene):
    with pytest.raises(ValueError, match="unseen classes of the dataset all_of_it, got zebra"):
        register_seen("wrong", "all_of_it", ["a", "zebra"])
    with pytest.raises(ValueError, match="got none"):
        register_seen("wrong", "all_of_it", [])


def test_flags_follow_the_order_of_classes():
    rows = [Category(number, name, True, (0, 0, 0)) for number, name in enumerate("xyz")]
    values = split_metadata([row.name for row in rows], {"y"})
    assert values["trainable_flag"] == [1, 0, 1]
