"""Boxes with class names or captions: files of JSON lines, and the mapper of boxes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from detectron2.config import get_cfg
from detectron2.data import transforms as T
from freeseg import add_freeseg_config
from freeseg.catalog import dataset_vocabulary
from freeseg.data import BoxMapper, build_mapper, build_train_loader
from freeseg.data.datasets.custom import register_custom
from freeseg.data.datasets.odvg import phrase_spans
from freeseg.data.records import dataset_records
from freeseg.structures import read_sample

SIZE = (40, 60)
DETECTED = {
    "detection": {
        "instances": [
            {"bbox": [5, 5, 25, 30], "label": 1, "category": "dog"},
            {"bbox": [30.5, 10, 60, 40], "label": 0, "category": "red car"},
        ]
    }
}
SAID = {
    "grounding": {
        "caption": "A caterpillar and a cat on the left, two dogs",
        "regions": [
            {"bbox": [5, 5, 25, 30], "phrase": "a cat"},
            {"bbox": [30, 10, 60, 40], "phrase": "dogs", "tokens_positive": [[37, 40], [41, 45]]},
        ],
    }
}


@pytest.fixture
def written(tmp_path):
    """Writes lines, each about a photo of its own, and gives the row of DATASETS.CUSTOM."""

    def write(name: str, *contents: dict) -> list[str]:
        lines = []
        for number, content in enumerate(contents):
            photo = f"{name}_{number}.png"
            pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / photo), pixels)
            lines.append({"filename": photo, "height": SIZE[0], "width": SIZE[1], **content})
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
        return [name, str(path), str(tmp_path), ""]

    return write


def config(*rows, **changes):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.DATASETS.CUSTOM = list(rows)
    cfg.DATASETS.TRAIN = tuple(row[0] for row in rows)
    cfg.INPUT.DATASET_MAPPER_NAME = "boxes"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (80,), 200
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS = 1, 0
    for key, value in changes.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def test_classes_are_those_that_the_lines_name(written):
    register_custom([written("odvg_named", DETECTED, DETECTED)])
    assert dataset_vocabulary("odvg_named").names == ("red car", "dog")
    records = dataset_records("odvg_named")
    assert [row["category_id"] for row in records[0]["annotations"]] == [1, 0]
    assert "caption" not in records[0]


def test_phrases_are_whole_words_or_what_the_file_says(written):
    register_custom([written("odvg_said", SAID)])
    (record,) = dataset_records("odvg_said")
    caption = record["caption"]
    spans = [row["phrases"] for row in record["annotations"]]
    assert [[caption[first:behind] for first, behind in each] for each in spans] == [
        ["a cat"],
        ["two", "dogs"],
    ]


@pytest.mark.parametrize(
    ("caption", "phrase", "found"),
    [
        ("a caterpillar, a cat", "cat", (17, 20)),
        ("The Traffic  light.", "traffic light", (4, 18)),
        ("cats", "cat", None),
        ("a cat", "  ", None),
        ("b+ or (b)", "(b)", (6, 9)),
    ],
)
def test_a_phrase_is_found_as_words(caption, phrase, found):
    assert phrase_spans(caption, phrase) == ([found] if found else [])


def detected(*box):
    return {"detection": {"instances": [{"bbox": list(box), "label": 0, "category": "a"}]}}


def said(caption, *phrases):
    regions = [{"bbox": [1, 2, 3, 4], "phrase": phrase} for phrase in phrases]
    return {"grounding": {"caption": caption, "regions": regions}}


def listed(*instances):
    return {"detection": {"instances": [*instances]}}


def placed(spans):
    region = {"bbox": [1, 2, 3, 4], "phrase": "dog", "tokens_positive": spans}
    return {"grounding": {"caption": "a dog", "regions": [region]}}


NO_SPANS = ([2, 5], "dog", [[2, 6]], [[5, 2]], [[-3, -1]], [[2]], [[2.0, 5.0]], [["2", "5"]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (detected(1, 2, 3), "a box is x0, y0, x1, y1"),
        (detected(9, 2, 3, 4), "a box is x0, y0, x1, y1"),
        (said("a dog", "do"), "image 1: 'do' is not in 'a dog'"),
        (said(" "), "image 1 has no caption"),
        (detected(1, 2, 3, float("inf")), "a box is x0, y0, x1, y1"),
        (listed("x"), "image 1 must be an object, got str"),
        (listed({"bbox": [1, 2, 3, 4], "category": "a"}), "needs 'label', a whole number"),
        (listed({"bbox": [1, 2, 3, 4], "label": [1], "category": "a"}), "needs 'label'"),
        (listed({"bbox": [1, 2, 3, 4], "label": "1", "category": "a"}), "needs 'label'"),
        *((placed(spans), r"list of \[start, end\] in the 5 characters") for spans in NO_SPANS),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_line(written, change, message):
    name = f"odvg_wrong_{abs(hash(message + str(change)))}"
    register_custom([written(name, change)])
    with pytest.raises(ValueError, match=message):
        dataset_records(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detection": []}, "line 1 needs 'detection', an object"),
        ({"detection": {"instances": {}}}, "line 1 needs 'instances', a list"),
        ({"grounding": "a dog"}, "line 1 needs 'grounding', an object"),
        ({"grounding": {"caption": "a", "regions": {}}}, "line 1 needs 'regions', a list"),
    ],
)
def test_a_line_of_another_form_is_refused_at_once(written, change, message):
    with pytest.raises(ValueError, match=message):
        register_custom([written("odvg_form", change)])


def test_lines_end_with_line_feeds_alone(written):
    """Of Python's other ends of lines some may stand in a caption; a mark of UTF-8 is no text."""
    row = written("odvg_separator", said("a dog\u2028a cat", "cat"), {"detection": None})
    text = Path(row[1]).read_text().replace("\\u2028", "\u2028").replace("\n", "\r\n")
    Path(row[1]).write_bytes(b"\xef\xbb\xbf" + text.encode())
    register_custom([row])
    first, second = dataset_records("odvg_separator")
    assert first["caption"] == "a dog\u2028a cat"
    assert first["annotations"][0]["phrases"] == [[8, 11]]
    assert second["annotations"] == []


def test_labels_and_names_belong_together(written):
    other = {"detection": {"instances": [{"bbox": [1, 2, 3, 4], "label": 1, "category": "cat"}]}}
    with pytest.raises(ValueError, match="the label 1 is 'dog' and 'cat'"):
        register_custom([written("odvg_two_names", DETECTED, other)])
    with pytest.raises(ValueError, match=r"labels count from 0, got \[1\]"):
        register_custom([written("odvg_gap", other)])
    row = written("odvg_broken", DETECTED)
    with open(row[1], "a") as file:
        file.write("{")
    with pytest.raises(ValueError, match="line 3 is no JSON"):
        register_custom([row])


def test_boxes_follow_the_image(written):
    register_custom([written("odvg_mapped", DETECTED)])
    mapper = build_mapper(config(), is_train=True)
    found = mapper({**dataset_records("odvg_mapped")[0], "seed": 0, "position": 0})
    assert found["image"].shape == (3, 80, 120)
    boxes = found["instances"].gt_boxes.tensor
    assert boxes.tolist() == [[10, 10, 50, 60], [61, 20, 120, 80]]
    assert found["instances"].gt_classes.tolist() == [1, 0]
    assert read_sample(found, 255).caption is None


def test_what_a_crop_cuts_off_is_gone_with_its_phrases(written):
    register_custom([written("odvg_cut", SAID)])
    record = dataset_records("odvg_cut")[0]
    mapper = BoxMapper(flips=[], augmentations=[Cut(28, 40)], image_format="RGB")
    sample = read_sample(mapper(record), 255)
    assert sample.caption == SAID["grounding"]["caption"]
    assert len(sample.instances) == len(sample.phrases) == 1
    assert sample.instances.gt_boxes.tensor.tolist() == [[5, 5, 25, 30]]
    assert sample.phrases == (((18, 23),),)


class Cut(T.Augmentation):
    """The left part of an image."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.width, self.height = width, height

    def get_transform(self, image):
        return T.CropTransform(0, 0, self.width, self.height)


def test_images_whose_caption_says_left_or_right_are_not_mirrored(written):
    mirror = [T.RandomFlip(prob=1.0)]
    mapper = BoxMapper(flips=mirror, augmentations=[T.NoOpTransform()], image_format="RGB")
    plain = {"grounding": {**SAID["grounding"], "caption": "a cat, two dogs and leftovers"}}
    plain["grounding"]["regions"] = [SAID["grounding"]["regions"][0]]
    register_custom([written("odvg_mirrored", SAID, plain)])
    said, other = map(mapper, dataset_records("odvg_mirrored"))
    assert said["instances"].gt_boxes.tensor[0].tolist() == [5, 5, 25, 30]
    assert other["instances"].gt_boxes.tensor[0].tolist() == [35, 5, 55, 30]


def test_a_record_or_an_object_without_box_is_refused(written):
    mapper = build_mapper(config(), is_train=True)
    register_custom([written("odvg_without", DETECTED)])
    record = dataset_records("odvg_without")[0]
    with pytest.raises(ValueError, match=r"has no boxes: INPUT\.DATASET_MAPPER_NAME boxes"):
        mapper({key: value for key, value in record.items() if key != "annotations"})
    with pytest.raises(ValueError, match=r"an object of .* has no box"):
        mapper({**record, "annotations": [{"category_id": 0, "bbox": None}]})


def test_a_loader_mixes_captions_and_class_lists(written):
    rows = [written("odvg_loaded", DETECTED), written("odvg_loaded_said", SAID)]
    cfg = config(*rows, DATASETS__MIX_LABEL_SETS=True)
    batches = iter(build_train_loader(cfg))
    seen = [read_sample(next(batches)[0], 255) for _ in range(8)]
    assert {sample.caption for sample in seen} == {None, SAID["grounding"]["caption"]}
    for sample in seen:
        assert sample.dataset == ("odvg_loaded" if sample.caption is None else "odvg_loaded_said")
        assert torch.isfinite(sample.instances.gt_boxes.tensor).all()


def test_things_of_panoptic_segments_have_boxes_too(written):
    row = written("odvg_panoptic", DETECTED)
    register_custom([row])
    (record,) = dataset_records("odvg_panoptic")
    segments = [
        {"id": 1, "category_id": 0, "isthing": True, "bbox": [5, 5, 20, 25]},
        {"id": 2, "category_id": 1, "isthing": False, "bbox": [0, 0, 60, 40]},
        {"id": 3, "category_id": 0, "isthing": True, "iscrowd": 1, "bbox": [0, 0, 9, 9]},
    ]
    panoptic = {key: value for key, value in record.items() if key != "annotations"}
    mapper = BoxMapper(flips=[], augmentations=[T.NoOpTransform()], image_format="RGB")
    found = mapper({**panoptic, "segments_info": segments, "caption": "of another use"})
    assert found["instances"].gt_boxes.tensor.tolist() == [[5, 5, 25, 30]]
    assert "phrases" not in found
    assert read_sample(found, 255).caption is None
