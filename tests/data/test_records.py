"""Records of any loader have ids and sizes; twins are put together; numbers follow another list."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from PIL import Image

from freeseg.data.annotation_files import drawable_record, read_class_map, read_labels
from freeseg.data.datasets.catalog import IGNORED_KEY, LABELS_KEY
from freeseg.data.label_table import LabelTable
from freeseg.data.loader import train_records
from freeseg.data.problems import EXAMPLES, DataError, Problems
from freeseg.data.records import dataset_records, merged, renumbered


def test_ids_and_sizes_are_made_where_a_loader_gives_none(loader, tmp_path):
    for number in range(2):
        Image.new("RGB", (30 + number, 20)).save(tmp_path / f"{number}.png")
    given = [{"file_name": str(tmp_path / f"{n}.png"), "annotations": []} for n in range(2)]
    before = copy.deepcopy(given)
    assert dataset_records(loader(given)) == [
        {**given[0], "image_id": 1, "height": 20, "width": 30},
        {**given[1], "image_id": 2, "height": 20, "width": 31},
    ]
    assert given == before, "the loader's own dicts stay as they are"


def test_ids_of_a_loader_are_kept_if_all_have_one(loader):
    sizes = {"height": 2, "width": 3, "annotations": []}
    records = [{"file_name": "a", "image_id": "p-7", **sizes}, {"file_name": "b", **sizes}]
    assert [row["image_id"] for row in dataset_records(loader(records))] == [1, 2]
    records[1]["image_id"] = 0
    assert dataset_records(loader(records)) == records


def test_numbers_of_numpy_become_plain(loader):
    row = {"category_id": np.int64(2), "iscrowd": np.bool_(False), "area": np.float32(0.5)}
    record = {"file_name": "a", "image_id": np.int16(4), "annotations": [row]}
    (found,) = dataset_records(loader([{**record, "height": np.int32(2), "width": np.uint8(3)}]))
    values = [found[key] for key in ("image_id", "height", "width")]
    values += found["annotations"][0].values()
    assert values == [4, 2, 3, 2, False, 0.5]
    assert {type(each) for each in values} == {int, bool, float}


def test_what_cannot_be_completed_stays_as_it_is(loader):
    records = [{"file_name": "/nowhere.png", "annotations": []}]
    assert dataset_records(loader(records)) == [
        {**record, "image_id": number} for number, record in enumerate(records, 1)
    ]


def test_twins_are_put_together(loader):
    rows = [{"category_id": n} for n in range(4)]
    sizes = {"height": 2, "width": 3}
    given = [
        {"file_name": "p/a.png", "image_id": 5, "annotations": rows[:1], **sizes},
        {"file_name": "b.png", "image_id": 6, "annotations": [], **sizes},
        {"file_name": "p/./a.png", "image_id": 7, "annotations": rows[1:3], **sizes},
        {"file_name": "p/x/../a.png", "image_id": 8, "annotations": rows[3:], **sizes},
    ]
    before = copy.deepcopy(given)
    name = loader(given)
    first, second = dataset_records(name, merge_twins=True)
    assert first == {**given[0], "annotations": rows}
    assert second == given[1]
    assert given == before
    assert dataset_records(name) == given


def test_twins_with_pngs_are_refused():
    records = [{"file_name": "a.png", "sem_seg_file_name": f"{n}.png"} for n in range(2)]
    with pytest.raises(ValueError, match=r"a\.png is listed twice with PNGs: only records of obj"):
        merged(records)
    assert merged(records[:1]) == records[:1]


def test_objects_segments_and_ignored_classes_follow_the_new_list():
    record = {
        "file_name": "a.png",
        "annotations": [{"category_id": n, "area": n} for n in (0, 2, 1, 2)],
        "segments_info": [{"id": n + 1, "category_id": n} for n in range(3)],
        IGNORED_KEY: [1, 2],
    }
    before = copy.deepcopy(record)
    (found,) = renumbered([record], (4, None, 0), 255, 255)
    assert found == {
        "file_name": "a.png",
        "annotations": [{"category_id": 4, "area": 0}] + [{"category_id": 0, "area": 2}] * 2,
        "segments_info": [{"id": 1, "category_id": 4}, {"id": 3, "category_id": 0}],
        IGNORED_KEY: [0],
    }
    assert record == before


@pytest.mark.parametrize("has_table", [False, True])
def test_pixels_follow_the_new_list(tmp_path, has_table):
    values = np.array([[0, 1, 2, 9]] if not has_table else [[30, 40, 50, 7]], np.uint8)
    path = tmp_path / "labels.png"
    Image.fromarray(values).save(path)
    record = {"file_name": "a.png", "sem_seg_file_name": str(path)}
    if has_table:
        record[LABELS_KEY] = LabelTable({30: 0, 40: 1, 50: 2, 7: None})
    (found,) = renumbered([record], (270, None, 1), 9, 300)
    assert read_class_map(found, 300).tolist() == [[270, 300, 1, 300]]
    drawn = drawable_record(found, 300)
    assert drawn["sem_seg"].tolist() == [[270, 300, 1, 300]]
    (again,) = renumbered([found], [None] * 270 + [5], 300, 255)
    assert read_labels(again, "sem_seg_file_name", 255).tolist() == [[5, 255, 255, 255]]


def test_there_and_back_again_is_nothing(tmp_path):
    """A permutation and its inverse leave a record's classes as they were."""
    path = tmp_path / "labels.png"
    pixels = np.random.default_rng(0).integers(0, 6, (9, 11), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    rows = [{"category_id": n % 6} for n in range(13)]
    record = {"file_name": "a", "sem_seg_file_name": str(path), "annotations": rows}
    there = np.random.default_rng(1).permutation(6)
    moved = renumbered([record], there.tolist(), 255, 255)
    (back,) = renumbered(moved, np.argsort(there).tolist(), 255, 255)
    assert back["annotations"] == rows
    assert (read_class_map(back, 255) == pixels).all()
    assert (read_class_map(moved[0], 255) == there[pixels]).all()


def test_further_training_sets_have_the_numbers_of_the_first(cfg, loader):
    def record(name, *labels):
        rows = [{"category_id": label, "segmentation": [[0, 0, 2, 0, 2, 2]]} for label in labels]
        return {"file_name": name, "image_id": name, "height": 5, "width": 5, "annotations": rows}

    first = loader([record("a", 0, 1, 2)], thing_classes=["pea", "rice", "corn cob"])
    second = loader([record("b", 0, 1, 1)], thing_classes=["Corn_Cob", "pea"])
    cfg.DATASETS.TRAIN = (first, second)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    found = [[row["category_id"] for row in one["annotations"]] for one in train_records(cfg)]
    assert found == [[0, 1, 2], [2, 0, 0]]
    third = loader([record("c", 0)], thing_classes=["oat"])
    cfg.DATASETS.TRAIN = (first, third)
    with pytest.raises(ValueError, match=f"{third} has .* not trained on: oat; it knows pea, rice"):
        train_records(cfg)


def test_problems_are_counted_by_kind():
    problems = Problems()
    for number in range(EXAMPLES + 3):
        problems.error("odd", f"line {number}\n  goes   on")
    problems.warn("even", "a warning")
    with problems.collecting("raised"):
        raise DataError(["one", "two"])
    with problems.collecting("raised"):
        raise NotImplementedError("three")
    assert problems.errors == [
        *(f"line {number} goes on" for number in range(EXAMPLES)),
        "... and 3 more of this kind (odd)",
        "one",
        "two",
        "three",
    ]
    assert problems.num_errors == EXAMPLES + 6
    assert problems.warnings == ["a warning"]
    with pytest.raises(DataError, match="line 0 goes on\nline 1") as raised:
        problems.raise_errors()
    assert raised.value.problems == tuple(problems.errors)
    Problems().raise_errors()
    with pytest.raises(KeyError), problems.collecting("a fault of ours"):
        raise KeyError("stays what it is")
