from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg import register_release_names
from freeseg.catalog import dataset_metadata, dataset_names, kept, own_entry
from freeseg.data import check_registered, register_all
from freeseg.data.datasets.shapes import register_split
from freeseg.data.shapes import ShapesSplit

NAMES = {
    "coco_2017_val_panoptic": (133, 80, "coco_panoptic_seg"),
    "coco_2017_val_panoptic_with_sem_seg": (133, 80, "coco_panoptic_seg"),
    "coco_2017_val": (80, 80, "coco"),
    "coco_2017_val_stuff_sem_seg": (171, 80, "sem_seg"),
    "coco_2017_test_stuff_sem_seg": (171, 80, "sem_seg"),
    "ade20k_sem_seg_val": (150, 100, "sem_seg"),
    "ade20k_instance_val": (100, 100, "coco"),
    "ade20k_panoptic_val": (150, 100, "ade20k_panoptic_seg"),
    "cityscapes_fine_panoptic_val": (19, 8, "cityscapes_panoptic_seg"),
    "cityscapes_fine_instance_seg_val": (8, 8, "cityscapes_instance"),
    "cityscapes_fine_sem_seg_val": (19, 8, "cityscapes_sem_seg"),
    "mapillary_vistas_panoptic_val": (65, 37, "mapillary_vistas_panoptic_seg"),
    "mapillary_vistas_sem_seg_val": (65, 37, "sem_seg"),
    "voc_2012_sem_seg_val": (21, 20, "sem_seg"),
    "voc_2012_objects_sem_seg_val": (20, 20, "sem_seg"),
    "voc_sem_seg_test": (20, 20, "sem_seg"),
    "camvid_val_panoptic": (11, 3, "coco_panoptic_seg"),
    "shapes_val_panoptic": (53, 48, "coco_panoptic_seg"),
    "grabcut": (1, 1, "coco"),
    "berkeley_interactive": (1, 1, "coco"),
    "davis_interactive": (1, 1, "coco"),
    "sbd_train_interactive": (1, 1, "coco"),
    "sbd_val_interactive": (1, 1, "coco"),
    "gsc_interactive": (1, 1, "coco"),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=NAMES)
def test_known_names_have_metadata_without_any_file(name, expected):
    metadata = dataset_metadata(name)
    assert name in dataset_names()
    assert (
        len(metadata.stuff_classes),
        len(metadata.thing_dataset_id_to_contiguous_id),
        metadata.evaluator_type,
    ) == expected
    contiguous = metadata.stuff_dataset_id_to_contiguous_id
    assert sorted(contiguous.values()) == list(range(expected[0]))
    assert len(metadata.stuff_colors) == expected[0]
    assert metadata.thing_classes == metadata.stuff_classes, "numbers count in both"


@pytest.mark.parametrize(
    "name", [name for name in NAMES if not name.startswith(("shapes", "voc_sem", "coco_2017_test"))]
)
def test_a_missing_set_says_what_to_do(root, name):
    with pytest.raises(FileNotFoundError, match="'Datasets' in the documentation"):
        kept(name).load()


def test_another_root_moves_every_set_of_ours(tmp_path):
    try:
        register_all(tmp_path / "elsewhere")
        for name in NAMES:
            values = dataset_metadata(name).as_dict()
            paths = [str(values[key]) for key in ("image_root", "image_dir") if key in values]
            assert paths
            assert paths[0].startswith(str(tmp_path / "elsewhere"))
    finally:
        register_all()


def test_a_set_that_its_user_removes_stays_away(tmp_path):
    name = "a_set_of_one_test"
    register_split(name, tmp_path / "shapes", ShapesSplit("tiny", 1, seed=6, side=64))
    assert name in dataset_names()
    assert own_entry(name) is kept(name)
    assert dataset_metadata(name) is MetadataCatalog.get(name)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)
    register_release_names()
    assert name not in {*dataset_names(), *DatasetCatalog.list(), *MetadataCatalog.list()}
    assert own_entry(name) is None
    with pytest.raises(ValueError, match="no dataset is registered as 'a_set_of_one_test'"):
        check_registered([name])


def test_importing_reads_and_writes_nothing(tmp_path):
    """In a fresh process whose datasets folder does not exist, and stays absent."""
    code = """if True:
        import freeseg.data
        from detectron2.data import DatasetCatalog
        print(len(DatasetCatalog.list()))
    """
    environment = {
        **os.environ,
        "DETECTRON2_DATASETS": str(tmp_path / "absent"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 30
    assert list(tmp_path.iterdir()) == []


def test_generated_sets_go_to_the_cache_when_no_root_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        register_all()
        expected = tmp_path / "freeseg" / "shapes" / "val" / "images"
        assert Path(dataset_metadata("shapes_val_panoptic").image_root) == expected
        coco = Path("datasets/coco/val2017")
        assert Path(dataset_metadata("coco_2017_val_panoptic").image_root) == coco
    finally:
        monkeypatch.undo()
        register_all()


def test_panoptic_records_have_contiguous_classes_and_sizes(root, write_image):
    coco = root / "coco"
    write_image(coco / "val2017" / "000000000009.jpg", np.zeros((4, 6, 3)))
    write_image(coco / "panoptic_val2017" / "000000000009.png", np.ones((4, 6, 3)))
    segments = [
        {"id": 65793, "category_id": 90, "iscrowd": 0, "area": 24, "bbox": [0, 0, 6, 4]},
        {"id": 5, "category_id": 200, "iscrowd": 0, "area": 24, "bbox": [0, 0, 6, 4]},
    ]
    content = {
        "images": [{"id": 9, "file_name": "000000000009.jpg", "height": 4, "width": 6}],
        "annotations": [
            {"image_id": 9, "file_name": "000000000009.png", "segments_info": segments}
        ],
        "categories": [],
    }
    (coco / "annotations").mkdir(parents=True)
    (coco / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content))
    (record,) = kept("coco_2017_val_panoptic").load()
    assert record["file_name"] == str(coco / "val2017" / "000000000009.jpg")
    assert (record["image_id"], record["height"], record["width"]) == (9, 4, 6)
    names = dataset_metadata("coco_2017_val_panoptic").stuff_classes
    assert [(names[row["category_id"]], row["isthing"]) for row in record["segments_info"]] == [
        ("toothbrush", True),
        ("rug-merged", False),
    ]
    assert "sem_seg_file_name" not in record
    with pytest.raises(FileNotFoundError, match="panoptic_semseg_val2017"):
        kept("coco_2017_val_panoptic_with_sem_seg").load()


def test_a_category_outside_the_table_is_an_error(root, write_image):
    camvid = root / "camvid"
    camvid.mkdir()
    segments = [{"id": 1, "category_id": 77}]
    content = {
        "images": [],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
    }
    (camvid / "panoptic_val.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="segment 1 has category 77"):
        kept("camvid_val_panoptic").load()
