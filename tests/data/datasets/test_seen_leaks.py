"""Nothing of an unseen class gets into a training set: no row, no file, no pixel."""

from __future__ import annotations

import numpy as np
import pytest

from freeseg.catalog import dataset_metadata, dataset_names, kept
from freeseg.data.datasets import few_shot, seen
from freeseg.data.datasets.catalog import IGNORED_KEY, STUFF_KEY, load_kept, register
from freeseg.data.datasets.seen import PUBLISHED, register_seen, seen_records
from freeseg.data.few_shot.benchmark import load_benchmark
from freeseg.data.problems import Problems
from freeseg.data.splits import load_split

SEEN = {
    name: (source, sets.split)
    for sets in PUBLISHED
    for source, published in sets.train.items()
    for name in (f"{source}_seen", *published)
}
FILES = {"image_root", "image_dir"}  # that a seen set may name: photos


def random_records(count, num_classes):
    """Records of every form, with rows of random classes."""
    random = np.random.default_rng(4)
    records = []
    for number in range(count):
        record = {"file_name": f"{number}.jpg", "image_id": number}
        kind = ("annotations", "segments_info", "labels", "stuff")[number % 4]
        rows = [
            {"id": each, "category_id": int(label), "area": each + 7}
            for each, label in enumerate(random.integers(0, num_classes, random.integers(0, 4)))
        ]
        if kind == "labels":
            record["sem_seg_file_name"] = f"{number}.png"
        elif kind == "annotations":
            record["annotations"] = rows
        else:
            record.update(segments_info=rows, pan_seg_file_name=f"{number}_ids.png")
            if number % 8 > 3:
                record["sem_seg_file_name"] = f"{number}.png"
        if kind == "stuff":
            record[STUFF_KEY] = record.pop("sem_seg_file_name", "stuff.png")
            record.update({IGNORED_KEY: [2, 5]} if number % 8 > 3 else {})
        records.append(record)
    return records


def test_records_are_those_of_a_loop():
    unseen = {1, 2, 6}
    records = random_records(120, 8)
    expected = []
    for record in records:
        record = dict(record)
        if "segments_info" in record or "annotations" in record:
            key = "annotations" if "annotations" in record else "segments_info"
            record[key] = [row for row in record[key] if row["category_id"] not in unseen]
            record.pop("sem_seg_file_name", None)
            if STUFF_KEY in record:
                record[IGNORED_KEY] = sorted(unseen | set(record.get(IGNORED_KEY, [])))
            elif not record[key]:
                continue
        else:
            record[IGNORED_KEY] = [1, 2, 6]
        expected.append(record)
    assert seen_records(records, unseen) == expected
    assert 60 < len(expected) < 110
    assert records == random_records(120, 8), "the source stays"


def test_published_seen_sets_name_no_file_and_no_row_of_what_is_unseen(monkeypatch, root):
    """Each is filtered with the numbers of its own class list."""
    for name, (source, split) in SEEN.items():
        names = dataset_metadata(source).stuff_classes
        unseen = {n for n, each in enumerate(names) if each in load_split(split).unseen}
        assert 0 < len(unseen) <= 15
        records = random_records(60, len(names))
        given = []

        def load(asked, problems, given=given, records=records):
            given.append((asked, problems))
            return records

        monkeypatch.setattr(seen, "load_kept", load)
        problems = Problems()
        assert load_kept(name, problems) == seen_records(records, unseen)
        assert given == [(source, problems)]
        metadata = dataset_metadata(name).as_dict()
        paths = {key for key, value in metadata.items() if str(value).startswith(str(root))}
        assert paths <= FILES
        assert metadata["stuff_classes"] == names
        assert metadata["evaluation_set"]["unseen"] == [names[each] for each in sorted(unseen)]
        assert metadata["trainable_flag"] == [int(n not in unseen) for n in range(len(names))]


@pytest.mark.parametrize("key", ["json_file", "sem_seg_root", "panoptic_json", "gt_dir"])
def test_files_with_all_classes_are_not_named(loader, key):
    name = loader([], stuff_classes=["a", "b", "c"], image_root="photos", **{key: "all"})
    seen_name = f"{name}_seen"
    register_seen(seen_name, name, ["b"])
    values = dataset_metadata(seen_name).as_dict()
    assert key not in values
    assert values["image_root"] == "photos"
    assert (values["name"], dataset_metadata(name).get(key)) == (seen_name, "all")


def test_sets_that_are_tested_on_keep_all_and_say_what_is_unseen(root):
    for sets in PUBLISHED:
        for name in sets.test:
            metadata = dataset_metadata(name)
            unseen = set(load_split(sets.split).unseen)
            names = metadata.stuff_classes
            assert metadata.evaluation_set == {
                "seen": [each for each in names if each not in unseen],
                "unseen": [each for each in names if each in unseen],
            }


def test_folds_hide_their_own_classes(monkeypatch, root):
    hidden = {}
    for name in ("pascal_5i", "coco_20i"):
        benchmark = load_benchmark(name)
        for fold, classes in benchmark.folds.items():
            set_name = f"{name}_fold{fold}_train"
            assert set_name in dataset_names()
            metadata = dataset_metadata(set_name)
            names = metadata.stuff_classes
            wanted = [benchmark.classes[each] for each in classes]
            assert metadata.evaluation_set["unseen"] == [each for each in names if each in wanted]
            hidden[set_name] = {names.index(each) for each in wanted}
            source = few_shot.SOURCES[name]
            records = random_records(40, len(names))
            monkeypatch.setattr(seen, "load_kept", lambda asked, _, s=source, r=records: (
                r if asked == s else None
            ))  # fmt: skip
            assert kept(set_name).load() == seen_records(records, hidden[set_name])
    assert {len(each) for each in hidden.values()} == {5, 20}
    assert hidden["pascal_5i_fold1_train"] == {6, 7, 8, 9, 10}, "bus to cow, behind the background"


def test_only_classes_of_the_source_can_be_unseen(root):
    register("three_classes", lambda _: [], {"stuff_classes": ["a", "b", "c"]})
    for wrong, said in ((["b", "z", "y"], "y, z"), ([], "none")):
        message = f"wanted unseen classes of the dataset three_classes, got {said}$"
        with pytest.raises(ValueError, match=message):
            register_seen("some_of_three", "three_classes", wrong)
    assert "some_of_three" not in dataset_names()
    register_seen("some_of_three", "three_classes", ["a", "b", "c"])
    assert dataset_metadata("some_of_three").trainable_flag == [0, 0, 0]
