"""Average recall of proposals, counted by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scripted_system import ScriptedSystem, answers, region, shown

from freeseg.engine import Trainer
from freeseg.evaluation.pointing import EncodedPhoto, average_recall, propose
from freeseg.structures import EverythingSettings, Runs

SIZE = (120, 120)
SMALL = region(SIZE, (2, 12), (3, 13))  # 100 pixels
MOST_OF_SMALL = region(SIZE, (2, 12), (3, 13), 62)
MEDIUM = region(SIZE, (20, 70), (60, 100))
JUNK = [region(SIZE, (100, 105), (10 * n, 10 * n + 5)) for n in range(9)]


def everything(prompt):
    """Nine masks of nothing, and behind them both objects, by the mean of the two columns."""
    masks = [MEDIUM, *JUNK, MOST_OF_SMALL]
    qualities = torch.tensor([0.9, *[0.8] * 9, 0.7])
    stabilities = torch.tensor([0.1, *[0.9] * 9, 0.8])
    found = answers(masks, qualities=qualities, owners=None, choices=None)
    return type(found)(
        Runs.of_masks(found.masks),
        found.boxes,
        None,
        qualities,
        qualities=qualities,
        stabilities=stabilities,
    )


def test_by_hand(drawn, sam_cfg):
    name = drawn([(SMALL, 0), (MEDIUM, 1)])
    system = ScriptedSystem(everything)
    results = Trainer.test(sam_cfg(name, KINDS=["proposals"]), system)["proposals"]
    # the tenth overlaps the small object by 0.62: enough for 3 of 10 thresholds; then comes the
    # medium one, as it is
    assert results["AR@10"] == pytest.approx(100 * 0.3 / 2)
    assert results["ARs@10"] == pytest.approx(30)
    assert results["ARm@10"] == 0
    assert results["AR@100"] == results["AR@1000"] == pytest.approx(100 * (0.3 + 1) / 2)
    assert results["ARm@1000"] == pytest.approx(100)
    assert math.isnan(results["ARl@1000"])
    assert results["objects"] == 2
    (prompt,) = system.prompts
    # as in appendix D.3 of SAM's paper
    assert prompt.everything == EverythingSettings(
        points_per_side=64, min_quality=0.0, min_stability=0.0, max_overlap=0.9
    )


def test_classes_do_not_count_and_a_proposal_serves_one_object(drawn, sam_cfg):
    name = drawn([(SMALL, 0), (SMALL, 1)], [(MEDIUM, 1)])

    def reply(prompt):
        return answers([SMALL, MEDIUM], [0.9, 0.8], owners=None, choices=None)

    results = Trainer.test(sam_cfg(name, KINDS=["proposals"]), ScriptedSystem(reply))
    assert results["proposals"]["AR@10"] == pytest.approx(200 / 3)


def test_ranks_are_means_of_quality_and_stability_and_an_unknown_stability_is_none():
    photo = EncodedPhoto(ScriptedSystem(everything), shown([SMALL]))
    found = propose(photo, EverythingSettings())
    assert found.scores == pytest.approx([*[0.85] * 9, 0.75, 0.5])

    def without(prompt):
        return answers(JUNK[:3], [0.2, 0.9, 0.4], owners=None, choices=None)

    photo = EncodedPhoto(ScriptedSystem(without), shown([SMALL]))
    assert propose(photo, EverythingSettings()).scores == pytest.approx([0.9, 0.4, 0.2])

    def of_nothing(prompt):
        empty = torch.zeros_like(SMALL)
        stabilities = torch.tensor([torch.nan, 0.5])
        return answers([empty, SMALL], [0.4, 0.3], stabilities=stabilities)

    photo = EncodedPhoto(ScriptedSystem(of_nothing), shown([SMALL]))
    assert propose(photo, EverythingSettings()).scores == pytest.approx([0.4, 0.2])


def test_no_proposal_finds_nothing_and_crowds_are_no_objects():
    row = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "area": 1.0}
    mask = {"size": [1, 2], "counts": [0, 1, 1]}
    content = {
        "images": [{"id": 1, "height": 1, "width": 2}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{**row, "id": 1, "iscrowd": 0, "segmentation": mask}],
    }
    assert average_recall(content, [])["AR@1000"] == 0
    content["annotations"][0]["iscrowd"] = 1
    with pytest.raises(ValueError, match="no photo of the dataset has an object"):
        average_recall(content, [])
