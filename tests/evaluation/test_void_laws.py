"""Void around a truth, or a photo of void alone, changes no score and crashes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from detectron2.structures import BitMasks, Instances
from freeseg.data.records import dataset_records
from freeseg.evaluation import build_evaluators

sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_boxes import Scene, answers, write_ids

CLASSES = ("bench", "bolt", "nut", "washer", "felt")
IDS = {50: 0, 6: 1, 41: 2, 12: 3, 7: 4}
LEFT, RIGHT, TOP, BOTTOM = 5, 2, 3, 9  # pixels of void
SCENES = (
    Scene("a.png", (("nut", 3, 5, 9, 4), ("washer", 20, 2, 7, 11)), "bench", (23, 31)),
    Scene("b.png", (("nut", 1, 2, 3, 4), ("bolt", 9, 8, 6, 5)), "felt", (19, 47)),
    Scene("c.png", (("washer", 2, 3, 12, 6), ("nut", 30, 4, 5, 8)), "", (17, 41)),
)


def padded(values, fill):
    """A map [..., H, W] with a border."""
    border = (LEFT, RIGHT, TOP, BOTTOM)
    return F.pad(torch.as_tensor(values), border, value=fill)


def damaged(mask):
    """A found box without its first third of rows."""
    shorter, rows = mask.copy(), np.flatnonzero(mask.any(1))
    shorter[rows[: len(rows) // 3]] = False
    return shorter


def in_void(answer: dict, random: torch.Generator) -> dict:
    """An answer about the same photo with a border, in which anything is found."""
    ids, segments = answer["panoptic_seg"]
    inside = padded(torch.ones(ids.shape), 0) > 0
    noise = torch.rand((len(CLASSES), *inside.shape), generator=random)
    whole = padded(answer["instances"].pred_masks, False)
    found = Instances(
        tuple(inside.shape),
        pred_masks=whole,
        pred_boxes=BitMasks(whole).get_bounding_boxes(),
        pred_classes=answer["instances"].pred_classes,
        scores=answer["instances"].scores,
    )
    extra = [{"id": 90, "category_id": 2, "isthing": True}]
    return {
        "sem_seg": padded(answer["sem_seg"], 0.0).where(inside, noise),
        "instances": found,
        "panoptic_seg": (padded(ids, 90), [*segments, *extra]),
    }


def nothing_but_void(size) -> dict:
    """Something is found everywhere, but no instances: COCO knows no void for these."""
    scores = torch.zeros(len(CLASSES), *size)
    scores[2, :4], scores[4, 4:] = 1, 1
    ids = torch.ones(size, dtype=torch.int32)
    masks = torch.zeros(0, *size) > 0
    none = Instances(
        size,
        pred_masks=masks,
        pred_boxes=BitMasks(masks).get_bounding_boxes(),
        pred_classes=torch.zeros(0, dtype=torch.int64),
        scores=torch.zeros(0),
    )
    segments = [{"id": 1, "category_id": 2, "isthing": True}]
    return {"sem_seg": scores, "instances": none, "panoptic_seg": (ids, segments)}


def records_of(folder: Path, border: bool) -> list[dict]:
    records = []
    for number, scene in enumerate(SCENES):
        pixels, ids = scene.pixels(), scene.ids() * 257
        Image.fromarray(pixels).save(folder / scene.file_name)
        name = folder / scene.file_name
        if border:
            name, ids = folder / f"around_{scene.file_name}", padded(ids, 0).numpy()
            around = padded(torch.from_numpy(pixels).permute(2, 0, 1), 77).permute(1, 2, 0)
            Image.fromarray(around.numpy()).save(name)
        write_ids(folder / "maps" / name.name, ids)
        segments = [
            {"id": 257 * place, "category_id": CLASSES.index(kind)}
            for place, kind in enumerate(scene.kinds(), 1)
        ]
        png = str(folder / "maps" / name.name)
        record = {"file_name": str(name), "image_id": 30 - number, "pan_seg_file_name": png}
        records.append({**record, "segments_info": segments})
    return records


@pytest.fixture
def judged(cfg, loader, tmp_path):
    """Evaluates the damaged answers, on the photos as they are or with void."""

    def judge(border=False, extra=False, is_split=False):
        records = records_of(tmp_path, border)
        if extra:
            empty = tmp_path / "void.png"
            write_ids(tmp_path / "maps" / "void.png", np.zeros((14, 33), int))
            Image.new("RGB", (33, 14), (9, 99, 200)).save(empty)
            png = str(tmp_path / "maps" / "void.png")
            row = {"file_name": str(empty), "image_id": 7, "pan_seg_file_name": png}
            records.insert(1, {**row, "segments_info": []})
        flags = {"trainable_flag": [1, 0, 1, 0, 1]} if is_split else {}
        name = loader(
            records,
            stuff_classes=list(CLASSES),
            thing_classes=["bolt", "nut", "washer"],
            stuff_dataset_id_to_contiguous_id=IDS,
            thing_dataset_id_to_contiguous_id={6: 1, 41: 2, 12: 3},
            **flags,
        )
        cfg.DATASETS.TRAIN, results = (name,), {}
        for evaluator in build_evaluators(cfg, name, tmp_path / name):
            evaluator.reset()
            random = torch.Generator().manual_seed(0)
            for record in dataset_records(name):
                evaluator.process([record], [answer_to(record, tmp_path, border, random)])
            results.update(evaluator.evaluate())
        return {
            f"{task}/{key}": value
            for task, values in results.items()
            for key, value in values.items()
            if "Boundary" not in key and not key.startswith("min(")
        }

    return judge


def answer_to(record, folder, border, random) -> dict:
    name = Path(record["file_name"]).name.removeprefix("around_")
    if name == "void.png":
        return nothing_but_void((14, 33))
    answer = answers(str(folder / name), CLASSES, damaged)
    return in_void(answer, random) if border else answer


@pytest.mark.parametrize("is_split", [False, True], ids=["all", "seen and unseen"])
@pytest.mark.parametrize("void", ["border", "extra"])
def test_void_changes_no_score(judged, void, is_split):
    plain = judged(is_split=is_split)
    assert judged(**{void: True}, is_split=is_split) == pytest.approx(plain, nan_ok=True)
    for key in ("sem_seg/mIoU", "segm/AP", "panoptic_seg/PQ"):
        assert 0 < plain[key] < 100
    assert ("panoptic_seg/hPQ" in plain) == is_split
