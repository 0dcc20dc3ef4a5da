"""AP by size goes by the pixels of a mask: of thin shapes in boxes of another size class."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detectron2.structures import BitMasks, Instances
from freeseg.data import register_custom
from freeseg.data.records import dataset_records
from freeseg.evaluation import build_evaluators

SIZE = (150, 230)
CATEGORIES = {"hook": 300, "rail": 7, "plate": 41}
CLASSES = ("rail", "plate", "hook")  # by their ids, as a model's outputs are
# class, left, top, width, height, thickness of the two arms of an L; 0 is a whole rectangle
SHAPES = (
    [("hook", 2, 3, 110, 120, 3), ("hook", 120, 5, 40, 45, 5), ("rail", 125, 60, 100, 80, 12)],
    [("plate", 5, 8, 32, 32, 0), ("rail", 60, 4, 111, 97, 7), ("hook", 180, 9, 40, 130, 40)],
    [("plate", 5, 8, 96, 96, 0), ("plate", 110, 8, 33, 32, 0), ("hook", 150, 50, 70, 90, 9)],
    [("rail", 30, 20, 180, 4, 0), ("plate", 20, 40, 97, 97, 0), ("rail", 130, 40, 98, 99, 2)],
)


def drawn(shape) -> np.ndarray:
    _, left, top, width, height, thick = shape
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    if thick:
        mask[top : top + height - thick, left + thick : left + width] = False
    return mask


def found(number: int) -> list[tuple[str, float, np.ndarray]]:
    """(class, score, mask) on a photo: short of an end, or moved and of another class."""
    rows = []
    for place, shape in enumerate(SHAPES[number]):
        cut = (0.04, 0.22, 0.4)[(place + number) % 3]
        mask = drawn(shape)
        rows_of_mask = np.flatnonzero(mask.any(1))
        mask[: rows_of_mask[0] + int(cut * len(rows_of_mask))] = False
        rows.append((shape[0], 0.9 - 0.17 * place - 0.03 * number, mask))
    moved = np.roll(drawn(SHAPES[number][0]), (11, 17), (0, 1))
    return [*rows, (SHAPES[number][1][0], 0.5 + 0.1 * number, moved)]


def truth_file(folder) -> str:
    """COCO's form, with areas that are counted."""
    rows = []
    for number, shapes in enumerate(SHAPES):
        for shape in shapes:
            mask = drawn(shape)
            runs = codec.encode(np.asfortranarray(mask.astype(np.uint8)))
            row = {"id": len(rows) + 1, "image_id": 10 + number, "area": int(mask.sum())}
            row |= {"category_id": CATEGORIES[shape[0]], "bbox": list(shape[1:5]), "iscrowd": 0}
            rows.append({**row, "segmentation": {**runs, "counts": runs["counts"].decode()}})
    images = [
        {"id": 10 + n, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]}
        for n in range(len(SHAPES))
    ]
    categories = [{"id": each, "name": name, "isthing": 1} for name, each in CATEGORIES.items()]
    path = folder / "counted.json"
    content = {"info": {}, "images": images, "annotations": rows, "categories": categories}
    path.write_text(json.dumps(content))
    return str(path)


def by_cocoeval(path: str) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(path)
        rows = []
        for number in range(len(SHAPES)):
            for name, score, mask in found(number):
                runs = codec.encode(np.asfortranarray(mask.astype(np.uint8)))
                row = {"image_id": 10 + number, "category_id": CATEGORIES[name]}
                rows.append({**row, "segmentation": runs, "score": score})
        judge = COCOeval(truth, truth.loadRes(rows), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    return {name: 100 * value for name, value in zip(names, judge.stats)}


def registered(kind: str, folder) -> str:
    """The shapes as a set of somebody's own, whose areas are those of the boxes."""
    content = json.loads(Path(truth_file(folder)).read_text())
    for number in range(len(SHAPES)):
        Image.new("RGB", SIZE[::-1], (200, 30 * number, 7)).save(folder / f"{number}.png")
    for row in content["annotations"]:
        row["area"] = row["bbox"][2] * row["bbox"][3]
    maps = ""
    if kind == "panoptic":
        maps = folder / "maps"
        maps.mkdir()
        content["annotations"] = [panoptic_row(number, maps) for number in range(len(SHAPES))]
    path = folder / "own.json"
    path.write_text(json.dumps(content))
    name = f"thin_shapes_{kind}_{folder.name}"
    register_custom([[name, str(path), str(folder), str(maps)]])
    return name


def panoptic_row(number: int, maps) -> dict:
    pixels, segments = np.zeros((*SIZE, 3), np.uint8), []
    for place, shape in enumerate(SHAPES[number], 1):
        pixels[drawn(shape)] = (0, place, 3)
        id_ = 256 * place + 3 * 65536
        row = {"id": id_, "category_id": CATEGORIES[shape[0]], "area": shape[3] * shape[4]}
        segments.append({**row, "bbox": list(shape[1:5]), "iscrowd": 0})
    Image.fromarray(pixels).save(maps / f"{number}.png")
    return {"image_id": 10 + number, "file_name": f"{number}.png", "segments_info": segments}


def answer(number: int) -> dict:
    rows = found(number)
    masks = torch.from_numpy(np.stack([mask for *_, mask in rows]))
    instances = Instances(
        SIZE,
        pred_masks=masks,
        pred_boxes=BitMasks(masks).get_bounding_boxes(),
        pred_classes=torch.tensor([CLASSES.index(name) for name, *_ in rows]),
        scores=torch.tensor([score for _, score, _ in rows]),
    )
    return {"instances": instances}


def size_of(area: int) -> str:
    return "small" if area < 32**2 else "medium" if area < 96**2 else "large"


@pytest.mark.parametrize("kind", ["instance", "panoptic"])
def test_sizes_are_those_of_the_masks(cfg, tmp_path, kind):
    name = registered(kind, tmp_path)
    test = cfg.MODEL.MASK_FORMER.TEST
    test.SEMANTIC_ON = test.PANOPTIC_ON = False
    (evaluator,) = build_evaluators(cfg, name)
    evaluator.reset()
    for record in dataset_records(name):
        number = record["image_id"] - 10
        inputs = {"file_name": record["file_name"], "image_id": record["image_id"]}
        evaluator.process([inputs], [answer(number)])
    results = evaluator.evaluate()["segm"]
    expected = by_cocoeval(truth_file(tmp_path))
    assert {key: results[key] for key in expected} == pytest.approx(expected)
    assert len({round(value, 3) for value in expected.values()}) == len(expected)
    assert all(0 < value < 100 for value in expected.values())
    areas = {int(drawn(shape).sum()): shape[3] * shape[4] for row in SHAPES for shape in row}
    kinds = {(size_of(mask), size_of(box)) for mask, box in areas.items()}
    assert {("small", "medium"), ("small", "large"), ("medium", "large")} <= kinds
    assert {32 * 32, 32 * 33, 96 * 96, 97 * 97} <= set(areas), "at the limits and beside"
