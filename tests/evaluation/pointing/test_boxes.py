"""Masks in given boxes, judged by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle_codec
from scripted_system import ScriptedSystem, answers, region, shown
from tiny_systems import tiny_sam

from detectron2.data import DatasetCatalog
from freeseg import Segmenter
from freeseg.engine import Trainer
from freeseg.evaluation.pointing import EncodedPhoto, TrueObjects, fill_boxes

SIZE = (120, 120)
SMALL = region(SIZE, (2, 12), (3, 13))  # 100 pixels
OTHER = region(SIZE, (20, 30), (3, 13))
MEDIUM = region(SIZE, (20, 70), (60, 100))  # 2,000
BOXES = [[3, 2, 13, 12], [3, 20, 13, 30], [60, 20, 100, 70]]


def reply(prompt):
    """By the corner of a box: 62 of 100 pixels, all, half of them."""
    found = {
        (3, 2): (region(SIZE, (2, 12), (3, 13), 62), 0.9),
        (3, 20): (OTHER, 0.8),
        (60, 20): (region(SIZE, (20, 45), (60, 100)), 0.7),
    }
    rows = [found[left, top] for left, top, _, _ in prompt.marks.boxes.tolist()]
    return answers(*zip(*rows))


def test_by_hand(drawn, sam_cfg):
    name = drawn([(SMALL, 0), (MEDIUM, 1)], [(OTHER, 0)])
    system = ScriptedSystem(reply)
    results = Trainer.test(sam_cfg(name, KINDS=["boxes"]), system)["boxes"]
    assert results["mIoU"] == pytest.approx(100 * (0.62 + 1 + 0.5) / 3)
    assert results["mIoUs"] == pytest.approx(100 * (0.62 + 1) / 2)
    assert results["mIoUm"] == pytest.approx(50)
    assert math.isnan(results["mIoUl"])
    # cats: to 0.6 both are right; above it the better scored one is wrong, precision is 1/2 up to
    # a recall of 1/2, which are 51 of COCO's 101 places. The dog is half right, to 0.5.
    cats = 10 * (3 * 1 + 7 * 0.5 * 51 / 101)
    assert results["AP-cat"] == pytest.approx(cats)
    assert results["AP-dog"] == pytest.approx(10)
    assert results["AP"] == pytest.approx((cats + 10) / 2)
    assert results["AP50"] == pytest.approx(100)
    assert results["APm"] == pytest.approx(10)
    assert (results["objects"], results["skipped"]) == (3, 0)
    assert system.num_encoded == 2


def test_boxes_enclose_all_that_is_annotated():
    """Also what of it is not judged."""
    system = ScriptedSystem(lambda prompt: answers([SMALL, OTHER, MEDIUM]))
    wanted = shown([SMALL, OTHER, MEDIUM], ignored=region(SIZE, (0, 5), (0, 120)))
    found = fill_boxes(EncodedPhoto(system, wanted), TrueObjects.read(wanted))
    (prompt,) = system.prompts
    assert prompt.marks.boxes.tolist() == BOXES
    assert prompt.marks.kinds == {"boxes"}
    assert found.areas.tolist() == [70, 100, 2000]
    assert found.overlaps.tolist() == [1, 1, 1]


def test_the_second_round_says_the_box_again_with_the_answers_logits():
    logits = torch.arange(12.0).view(3, 2, 2)
    system = ScriptedSystem(
        lambda prompt: answers(
            [SMALL, OTHER, MEDIUM][: len(prompt)], mask_logits=logits[: len(prompt)]
        )
    )
    wanted = shown([SMALL, OTHER, MEDIUM])
    photo, objects = EncodedPhoto(system, wanted), TrueObjects.read(wanted)
    fill_boxes(photo, objects, rounds=2)
    first, second = system.prompts
    assert first.logits is None
    assert torch.equal(second.logits, logits)
    assert torch.equal(second.marks.boxes, first.marks.boxes)
    fill_boxes(photo, objects, objects_at_once=2)
    assert [len(prompt) for prompt in system.prompts[2:]] == [2, 1]


def test_a_closer_look_is_the_sessions(drawn, sam_cfg):
    name = drawn([(SMALL, 0), (MEDIUM, 1)], [(OTHER, 0)])
    for record in DatasetCatalog.get(name):
        noise = np.random.default_rng(record["image_id"]).integers(0, 256, (*SIZE, 3), np.uint8)
        Image.fromarray(noise).save(record["file_name"])
    system, overlaps = tiny_sam(1), []
    for record in DatasetCatalog.get(name):
        with Segmenter(system).open(record["file_name"]) as session:
            for row in record["annotations"]:
                true = rle_codec.decode(row["segmentation"]).astype(bool)
                box = rle_codec.toBbox(row["segmentation"])
                box[2:] += box[:2]
                answer = session.zoom(session(boxes=box, alternatives=False))
                found = answer.masks[0]
                overlaps.append((found & true).sum() / (found | true).sum())
    cfg = sam_cfg(name, KINDS=["boxes"], BOX_ZOOM=True)
    cfg.INPUT.TEST_RESIZE.LONG_SIDE = 128
    results = Trainer.test(cfg, system)["boxes"]
    assert results["mIoU"] == pytest.approx(100 * np.mean(overlaps))
    cfg.TEST.POINTING.BOX_ZOOM = False
    assert Trainer.test(cfg, system)["boxes"]["mIoU"] != pytest.approx(results["mIoU"])
