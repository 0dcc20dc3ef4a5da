"""The laws that every registered system keeps: evaluators, tiles, bulk jobs and export take it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator, COCOPanopticEvaluator, SemSegEvaluator
from freeseg.bulk.manifest import Manifest
from freeseg.bulk.parts import part_path, read_part
from freeseg.bulk.records import record_of
from freeseg.bulk.worker import ModelSettings, Worker
from freeseg.graphs import build_graph
from freeseg.inference import (
    AugmentedSemantic,
    SlidingWindow,
    segment_in_tiles,
    segment_within_memory,
)
from freeseg.segmenter import Segmenter
from freeseg.structures import OUTPUT_KEYS, Marks, Prompt, Task, read_output
from freeseg.systems import systems

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_inputs import picture
from tiny_systems import assert_equal, tiny, unprompted_tasks

SYSTEMS = sorted(systems())
ANSWERS = unprompted_tasks()  # what is pointed at is refused in parts of a photo, and in bulk
SIZE = (57, 83)


@pytest.fixture
def truth(model_of, tmp_path):
    """Registers an image's ground truth over a model's classes, as all evaluators read it."""
    names = []

    def register(system: str) -> dict:
        vocabulary = model_of(system).vocabulary
        labels = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) * len(vocabulary) // (SIZE[0] * SIZE[1])
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "labels.png")
        Image.fromarray(np.stack([labels + 1, labels * 0, labels * 0], -1).astype(np.uint8)).save(
            tmp_path / "photo.png"
        )
        categories = [
            {"id": 10 + label, "name": name, "isthing": int(is_thing)}
            for label, (name, is_thing) in enumerate(zip(vocabulary.names, vocabulary.is_thing))
        ]
        ids = {10 + label: label for label in range(len(vocabulary))}
        image = {"id": 1, "file_name": "photo.png", "height": SIZE[0], "width": SIZE[1]}
        segments = [
            {"id": label + 1, "category_id": 10 + label, "iscrowd": 0, "area": 1, "bbox": [0] * 4}
            for label in range(len(vocabulary))
        ]
        annotation = {"image_id": 1, "file_name": "photo.png", "segments_info": segments}
        for file, rows in (("panoptic.json", [annotation]), ("things.json", [])):
            content = {"images": [image], "categories": categories, "annotations": rows}
            (tmp_path / file).write_text(json.dumps(content))
        record = {
            "file_name": "photo.png",
            "sem_seg_file_name": str(tmp_path / "labels.png"),
            "image_id": 1,
        }
        name = f"contract_{system}_{len(names)}"
        names.append(name)
        DatasetCatalog.register(name, lambda: [record])
        MetadataCatalog.get(name).set(
            stuff_classes=list(vocabulary.names),
            thing_classes=list(vocabulary.names),
            thing_dataset_id_to_contiguous_id=ids,
            stuff_dataset_id_to_contiguous_id=ids,
            ignore_label=255,
            json_file=str(tmp_path / "things.json"),
            panoptic_json=str(tmp_path / "panoptic.json"),
            panoptic_root=str(tmp_path),
        )
        return {**record, "dataset": name}

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


EVALUATORS = {
    Task.SEMANTIC: lambda name: SemSegEvaluator(name, distributed=False),
    Task.PANOPTIC: lambda name: COCOPanopticEvaluator(name),
    Task.INSTANCE: lambda name: COCOEvaluator(name, tasks=("segm",), distributed=False),
}


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
def test_detectron2s_evaluators_accept_the_dicts(model_of, truth, name, task):
    record = truth(name)
    evaluator = EVALUATORS[task](record["dataset"])
    evaluator.reset()
    asked = {**picture(), **record, "height": SIZE[0], "width": SIZE[1], "tasks": (task,)}
    (output,) = model_of(name)([asked])
    evaluator.process([asked], [output])
    JUDGED[task](evaluator, output)


def judged_semantic(evaluator, output):
    found = np.bincount(output["sem_seg"].argmax(0).flatten(), minlength=len(output["sem_seg"]))
    confusion = np.asarray(evaluator._conf_matrix)
    assert confusion.sum() == SIZE[0] * SIZE[1]
    np.testing.assert_array_equal(confusion[:-1].sum(1), found)


def judged_panoptic(evaluator, output):
    (predictions,) = evaluator._predictions
    prediction = predictions[0] if isinstance(predictions, tuple) else predictions
    found = [one["category_id"] for one in prediction["segments_info"]]
    assert found == [10 + one["category_id"] for one in output["panoptic_seg"][1]]


def judged_instances(evaluator, output):
    (prediction,) = evaluator._predictions
    assert [row["score"] for row in prediction["instances"]] == output["instances"].scores.tolist()
    assert all(row["segmentation"]["size"] == list(SIZE) for row in prediction["instances"])


JUDGED = {
    Task.SEMANTIC: judged_semantic,
    Task.PANOPTIC: judged_panoptic,
    Task.INSTANCE: judged_instances,
}


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
def test_one_tile_is_the_whole(model_of, name, task):
    model = model_of(name)
    asked = {**picture(), "height": SIZE[0], "width": SIZE[1], "tasks": (task,), "label_map": True}
    tiled = segment_in_tiles(model, asked, parts=1)
    assert set(tiled) == {OUTPUT_KEYS[task]}
    whole, joined = read_output(model([asked])[0]), read_output(tiled)
    if task == Task.PANOPTIC:
        assert_same_regions(whole.panoptic, joined.panoptic)
    else:
        assert_equal(whole, joined)


def assert_same_regions(first, second):
    """Whatever numbers segments have."""
    regions = [
        {
            (one.category_id, one.isthing, one.score, tuple((ids == one.id).flatten().tolist()))
            for one in each.segments
        }
        for each, ids in ((first, first.segment_ids), (second, second.segment_ids))
    ]
    assert regions[0] == regions[1]


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
def test_many_tiles_cover_the_photo(model_of, name, task):
    model = model_of(name)
    asked = {**picture(96, 128), "height": 70, "width": 90, "tasks": (task,), "label_map": True}
    joined = read_output(segment_in_tiles(model, asked, parts=3))
    num_classes = len(model.vocabulary)
    if task == Task.SEMANTIC:
        assert joined.semantic.labels.shape == (70, 90)
        assert 0 <= joined.semantic.labels.min() <= joined.semantic.labels.max() < num_classes
    elif task == Task.PANOPTIC:
        ids = set(joined.panoptic.segment_ids.unique().tolist()) - {0}
        assert joined.panoptic.segment_ids.shape == (70, 90)
        assert ids == {one.id for one in joined.panoptic.segments}
    else:
        assert joined.instances.masks.shape == (len(joined.instances), 70, 90)
        assert ((joined.instances.scores >= 0) & (joined.instances.scores <= 1)).all()


PARTS = {
    "tiles": lambda model, asked: segment_in_tiles(model, asked, parts=2),
    "windows": lambda model, asked: SlidingWindow(
        model, window=(32, 32), stride=(16, 16), tasks=("semantic",)
    )([asked]),
    "copies of it": lambda model, asked: AugmentedSemantic(
        model, min_sizes=[32], max_size=64, flip=True
    )([asked]),
}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("parts", PARTS)
def test_what_is_pointed_at_is_not_looked_for_in_parts(model_of, name, parts):
    """Marks lie in pixels of the photo, which those of a part are not."""
    marked = Prompt(marks=Marks.read(SIZE, points=[(70, 50)]))
    asked = {**picture(), "height": SIZE[0], "width": SIZE[1], "prompt": marked}
    with pytest.raises(ValueError, match=f"points of a photo cannot be answered in {parts}"):
        PARTS[parts](model_of(name), asked)


def test_a_photo_of_marks_that_does_not_fit_is_said_so():
    marked = Prompt(marks=Marks.read(SIZE, boxes=[3, 3, 9, 9]))

    def full(_):
        raise MemoryError

    asked = {**picture(96, 96), "height": SIZE[0], "width": SIZE[1], "prompt": marked}
    with pytest.raises(ValueError, match="boxes of a photo cannot be answered in tiles"):
        segment_within_memory(full, [asked])


@pytest.mark.parametrize(("name", "task"), ANSWERS)
def test_bulk_jobs_write_what_a_segmenter_gives(model_of, monkeypatch, tmp_path, name, task):
    segmenter = Segmenter(model_of(name))
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    Manifest(tmp_path).write(paths, 2)
    (tmp_path / "parts").mkdir()
    monkeypatch.setattr(ModelSettings, "build", lambda self: segmenter)
    classes = (tiny(name).class_lists or (None,))[0]
    settings = ModelSettings(task=task, classes=classes)
    assert Worker(settings, str(tmp_path), "jsonl").run(0) == 2
    written = list(read_part(part_path(tmp_path / "parts", 0, "jsonl")))
    for number, (path, record) in enumerate(zip(paths, written), start=1):
        result = segmenter(path, task, classes)
        expected = record_of(result, f"00000000-{number:06d}", Path(path).name)
        assert record == json.loads(json.dumps({"photo": path, **expected}))
        assert set(record) == {"photo", "image", task}


@torch.inference_mode()
@pytest.mark.parametrize("name", [name for name in SYSTEMS if tiny(name).exports])
def test_a_graph_has_numbers_under_its_names(model_of, name):
    graph = build_graph(model_of(name))
    images = torch.stack([picture(64, 96, seed)["image"].float() for seed in range(2)])
    outputs = graph(images)
    assert len(outputs) == len(graph.output_names)
    assert all(len(each) == 2 and each.isfinite().all() for each in outputs)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if not tiny(name).exports])
def test_a_system_without_a_graph_is_refused_by_name(model_of, name):
    kind = type(model_of(name)).__name__
    with pytest.raises(ValueError, match=f"{kind} has no graph to export, known are "):
        build_graph(model_of(name))
