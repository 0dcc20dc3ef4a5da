"""Datasets of drawn objects, and configurations of a system that knows no classes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scripted_system import code
from small_inputs import CONFIGS

from detectron2.config import get_cfg
from freeseg import add_freeseg_config


@pytest.fixture
def drawn(loader, tmp_path):
    """Registers photos of objects: of every photo pairs of a mask and a class, and more keys."""

    def register(*photos, classes=("cat", "dog"), **more):
        records = []
        for number, objects in enumerate(photos, 1):
            height, width = objects[0][0].shape
            file = tmp_path / f"photo_{number}.png"
            Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(file)
            rows = [{"category_id": label, "segmentation": code(mask)} for mask, label in objects]
            size = {"height": height, "width": width}
            name = {"file_name": str(file), "image_id": number}
            records.append({**name, **size, "annotations": rows, **more})
        return loader(records, thing_classes=list(classes), evaluator_type="coco")

    return register


@pytest.fixture
def sam_cfg(tmp_path):
    """Of a SAM, whose images are their photos."""

    def make(*names, **pointing):
        cfg = get_cfg()
        add_freeseg_config(cfg)
        cfg.merge_from_file(str(CONFIGS / "sam" / "vit_b.yaml"))
        cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
        cfg.DATASETS.TEST, cfg.OUTPUT_DIR = tuple(names), str(tmp_path / "output")
        cfg.DATALOADER.NUM_WORKERS = 0
        for key, value in pointing.items():
            cfg.TEST.POINTING[key] = value
        return cfg

    return make
