"""PascalVOCDetectionEvaluator on small cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectron2.evaluation import PascalVOCDetectionEvaluator
from detectron2.structures import Boxes, Instances

OBJECT = """<object><name>{name}</name><pose>Left</pose><truncated>0</truncated>
<difficult>{difficult}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>
<ymax>{}</ymax></bndbox></object>"""


class VocSet:
    """Annotations in VOC's layout; objects are (image, class, 1-based box, is difficult)."""

    def __init__(self, folder, register, objects, year, images=("a", "b")):
        (folder / "Annotations").mkdir()
        (folder / "ImageSets/Main").mkdir(parents=True)
        (folder / "ImageSets/Main/val.txt").write_text("".join(f"{i}\n" for i in images))
        for image in images:
            body = "".join(
                OBJECT.format(*box, name=name, difficult=int(difficult))
                for of_image, name, box, difficult in objects
                if of_image == image
            )
            xml = f"<annotation>{body}</annotation>"
            (folder / "Annotations" / f"{image}.xml").write_text(xml)
        self.name = register(
            dirname=str(folder), split="val", year=year, thing_classes=["cat", "dog"]
        )

    def evaluate(self, detections):
        """Detections are (image, class index, 0-based box as the loader makes them, score)."""
        evaluator = PascalVOCDetectionEvaluator(self.name)
        evaluator.reset()
        for image, label, box, score in detections:
            instances = Instances((200, 200))
            instances.pred_boxes = Boxes(torch.tensor([box], dtype=torch.float32))
            instances.pred_classes = torch.tensor([label])
            instances.scores = torch.tensor([score])
            evaluator.process([{"image_id": image}], [{"instances": instances}])
        return evaluator.evaluate()["bbox"]


# Ground truth in file coordinates, and the same boxes as predicted.
CAT_A, CAT_B, DOG_A = [11, 11, 50, 50], [21, 31, 80, 90], [101, 11, 150, 40]
PREDICTED_CAT_A, PREDICTED_CAT_B = [10, 10, 50, 50], [20, 30, 80, 90]
PREDICTED_DOG_A = [100, 10, 150, 40]
OBJECTS = [("a", "cat", CAT_A, False), ("b", "cat", CAT_B, False), ("a", "dog", DOG_A, False)]


@pytest.mark.parametrize("year", [2007, 2012])
def test_perfect_detections_score_100(year, tmp_path, register):
    scores = VocSet(tmp_path, register, OBJECTS, year).evaluate(
        [
            ("a", 0, PREDICTED_CAT_A, 0.9),
            ("b", 0, PREDICTED_CAT_B, 0.8),
            ("a", 1, PREDICTED_DOG_A, 0.7),
        ]
    )
    assert scores == pytest.approx({"AP": 100, "AP50": 100, "AP75": 100})


def test_area_under_the_curve(tmp_path, register):
    """Right, wrong, right: precision 1 up to recall 1/2, then 2/3."""
    scores = VocSet(tmp_path, register, OBJECTS, 2012).evaluate(
        [
            ("a", 0, PREDICTED_CAT_A, 0.9),
            ("b", 0, [150, 150, 190, 190], 0.8),
            ("b", 0, PREDICTED_CAT_B, 0.7),
            ("a", 1, PREDICTED_DOG_A, 0.7),
        ]
    )
    assert scores["AP50"] == pytest.approx(np.mean([100 * (0.5 + 0.5 * 2 / 3), 100]))


def test_eleven_points(tmp_path, register):
    """The same curve at recalls 0 ... 0.5 (six points) and 0.6 ... 1 (five)."""
    scores = VocSet(tmp_path, register, OBJECTS, 2007).evaluate(
        [
            ("a", 0, PREDICTED_CAT_A, 0.9),
            ("b", 0, [150, 150, 190, 190], 0.8),
            ("b", 0, PREDICTED_CAT_B, 0.7),
            ("a", 1, PREDICTED_DOG_A, 0.7),
        ]
    )
    assert scores["AP50"] == pytest.approx(np.mean([100 * (6 + 5 * 2 / 3) / 11, 100]))


def test_second_detection_of_an_object_is_wrong(tmp_path, register):
    scores = VocSet(tmp_path, register, OBJECTS, 2012).evaluate(
        [
            ("a", 0, PREDICTED_CAT_A, 0.9),
            ("a", 0, PREDICTED_CAT_A, 0.8),
            ("b", 0, PREDICTED_CAT_B, 0.7),
        ]
    )
    assert scores["AP50"] == pytest.approx(np.mean([100 * (0.5 + 0.5 * 2 / 3), 0]))


def test_difficult_objects_count_for_nothing(tmp_path, register):
    objects = [*OBJECTS, ("b", "dog", [5, 5, 60, 60], True)]
    regular = [
        ("a", 0, PREDICTED_CAT_A, 0.9),
        ("b", 0, PREDICTED_CAT_B, 0.8),
        ("a", 1, PREDICTED_DOG_A, 0.5),
    ]
    voc_set = VocSet(tmp_path, register, objects, 2012)
    without = voc_set.evaluate(regular)
    with_difficult = voc_set.evaluate([*regular, ("b", 1, [4, 4, 60, 60], 0.9)])
    assert without == with_difficult == pytest.approx({"AP": 100, "AP50": 100, "AP75": 100})


def test_stricter_thresholds_need_better_boxes(tmp_path, register):
    """A box of IoU 0.72 counts at 0.5 ... 0.7, five of the ten thresholds."""
    objects = [("a", "cat", [1, 1, 100, 100], False), ("b", "dog", DOG_A, False)]
    scores = VocSet(tmp_path, register, objects, 2012).evaluate([("a", 0, [0, 0, 72, 100], 0.9)])
    assert scores == pytest.approx({"AP": 25, "AP50": 50, "AP75": 0})
