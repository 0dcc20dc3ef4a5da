"""Two processes that share a dataset score the same as one."""

from __future__ import annotations

import contextlib
import io
import json
import pickle

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import launch
from detectron2.evaluation import (
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluators,
    SemSegEvaluator,
)
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

SIZE = (24, 30)
NUM_IMAGES = 4
NAME = "d2lite_test_distributed"


def write_dataset(folder):
    """Two things over one stuff class, in all three kinds of annotation."""
    rng = np.random.default_rng(0)
    coco, panoptic = [], []
    for image_id in range(NUM_IMAGES):
        ids = np.full(SIZE, 1)
        for number in (2, 3):
            y, x = rng.integers(0, 12, 2)
            ids[y : y + 10, x : x + 12] = number
        Image.fromarray((ids > 1).astype(np.uint8)).save(folder / f"{image_id}_sem.png")
        rgb = np.stack([ids, 0 * ids, 0 * ids], axis=-1).astype(np.uint8)
        Image.fromarray(rgb).save(folder / f"{image_id}.png")
        segments = []
        for number in np.unique(ids).tolist():
            ys, xs = (ids == number).nonzero()
            box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
            common = {"category_id": int(number > 1), "area": len(xs), "iscrowd": 0}
            segments.append({"id": number, **common})
            if number > 1:
                rle = mask_util.encode(np.asfortranarray(ids == number, dtype=np.uint8))
                rle["counts"] = rle["counts"].decode()
                place = {"image_id": image_id, "bbox": [int(v) for v in box], "segmentation": rle}
                coco.append({"id": len(coco) + 1, **common, **place})
        png = f"{image_id}.png"
        panoptic.append({"image_id": image_id, "file_name": png, "segments_info": segments})
    categories = [{"id": 0, "isthing": 0, "name": "g"}, {"id": 1, "isthing": 1, "name": "t"}]
    images = [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(NUM_IMAGES)]
    for name, entries in (("coco", coco), ("panoptic", panoptic)):
        content = {"images": images, "annotations": entries, "categories": categories}
        (folder / f"{name}.json").write_text(json.dumps(content))


def evaluate_share(folder, images):
    """Evaluate noisy predictions of some of the images; noise depends on the image alone."""
    records = [
        {"file_name": f"{i}.jpg", "image_id": i, "sem_seg_file_name": str(folder / f"{i}_sem.png")}
        for i in range(NUM_IMAGES)
    ]
    DatasetCatalog.register(NAME, lambda: records)
    MetadataCatalog.get(NAME).set(
        json_file=str(folder / "coco.json"),
        panoptic_json=str(folder / "panoptic.json"),
        panoptic_root=str(folder),
        stuff_classes=["ground", "thing"],
        ignore_label=255,
        thing_dataset_id_to_contiguous_id={1: 1, 0: 0},
        stuff_dataset_id_to_contiguous_id={0: 0, 1: 1},
    )
    evaluators = DatasetEvaluators(
        [SemSegEvaluator(NAME), COCOEvaluator(NAME), COCOPanopticEvaluator(NAME)]
    )
    evaluators.reset()
    for image_id in images:
        rng = np.random.default_rng(image_id)
        ids = np.array(Image.open(folder / f"{image_id}.png"))[..., 0].astype(np.int32)
        ids = np.roll(ids, tuple(rng.integers(0, 3, 2)), axis=(0, 1))
        masks = torch.as_tensor(np.stack([ids == 2, ids == 3]))
        instances = Instances(SIZE)
        instances.pred_masks = masks
        instances.pred_boxes = Boxes(torch.as_tensor(rng.uniform(0, 24, (2, 4))))
        instances.pred_classes = torch.ones(2, dtype=torch.long)
        instances.scores = torch.as_tensor(rng.random(2))
        segments = [
            {"id": n, "category_id": int(n > 1), "isthing": n > 1} for n in np.unique(ids).tolist()
        ]
        output = {
            "sem_seg": torch.as_tensor(np.stack([ids == 1, ids > 1])).float(),
            "instances": instances,
            "panoptic_seg": (torch.as_tensor(ids), segments),
        }
        evaluators.process([records[image_id]], [output])
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluators.evaluate()


def worker(folder):
    rank, world_size = comm.get_rank(), comm.get_world_size()
    results = evaluate_share(folder, range(rank, NUM_IMAGES, world_size))
    (folder / f"result_{rank}.pkl").write_bytes(pickle.dumps(results))


@pytest.mark.slow
def test_two_processes_score_as_one(tmp_path):
    write_dataset(tmp_path)
    launch(worker, 2, dist_url="auto", args=(tmp_path,))
    main, other = (pickle.loads((tmp_path / f"result_{r}.pkl").read_bytes()) for r in (0, 1))
    assert other == {}
    try:
        alone = evaluate_share(tmp_path, range(NUM_IMAGES))
    finally:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)
    assert list(main) == list(alone) == ["sem_seg", "bbox", "segm", "panoptic_seg"]
    for task, scores in alone.items():
        assert main[task] == pytest.approx(scores, nan_ok=True)
    assert 20 < alone["sem_seg"]["mIoU"] < 100
    assert 20 < alone["panoptic_seg"]["PQ"] < 100
    assert 0 < alone["segm"]["AP"] < 100
