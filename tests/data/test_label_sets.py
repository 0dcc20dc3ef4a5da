"""Training sets with different label lists in one loader."""

from __future__ import annotations

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data import build_train_loader
from freeseg.data.datasets.catalog import register


@pytest.fixture
def sets(tmp_path, write_image, cfg):
    """Two registered sets of three images, of 2 and of 3 classes."""
    names = {"first_labels": ["cat", "sky"], "second_labels": ["car", "sky", "road"]}
    for number, (name, classes) in enumerate(names.items()):
        folder, photo, labels = tmp_path / name, [[[0] * 3] * 8] * 8, [[number + 1] * 8] * 8
        records = [
            {
                "file_name": str(write_image(folder / f"{row}.jpg", photo)),
                "sem_seg_file_name": str(write_image(folder / f"{row}.png", labels)),
                "image_id": row,
            }
            for row in range(3)
        ]
        register(name, lambda _, records=records: records, {"stuff_classes": classes})
    cfg.DATASETS.TRAIN = tuple(names)
    cfg.INPUT.DATASET_MAPPER_NAME = "lseg_semantic"
    cfg.INPUT.IMAGE_SIZE, cfg.INPUT.BASE_SIZE, cfg.SOLVER.IMS_PER_BATCH = 16, 12, 6
    yield cfg
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_every_sample_says_whose_labels_it_has(sets):
    sets.DATASETS.MIX_LABEL_SETS = True
    batch = next(iter(build_train_loader(sets)))
    assert sorted(x["dataset_name"] for x in batch) == ["first_labels"] * 3 + ["second_labels"] * 3
    for x in batch:
        wanted = 1 if x["dataset_name"] == "first_labels" else 2
        assert x["instances"].gt_classes.tolist() == [wanted]
        assert x["image"].shape == (3, 16, 16)


def test_without_label_texts_they_may_not_be_mixed(sets):
    with pytest.raises(ValueError, match="MIX_LABEL_SETS"):
        build_train_loader(sets)
