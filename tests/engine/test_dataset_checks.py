"""A training refuses its sets before the first step, all that is wrong with them in one list."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog
from freeseg.data.problems import DataError
from freeseg.engine import Trainer
from freeseg.engine.dataset_checks import check_datasets


@pytest.fixture
def steps(tiny, monkeypatch):
    """Training steps that are done."""
    done = []
    forward = tiny.TinySegmenter.forward

    def counted(self, inputs):
        done.extend([1] * self.training)
        return forward(self, inputs)

    monkeypatch.setattr(tiny.TinySegmenter, "forward", counted)
    return done


@pytest.fixture
def changed(tiny, monkeypatch, tmp_path):
    """Changes records of the tiny sets for one test; files of them are copied before."""
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))

    def change(name, number, **fields):
        records = DatasetCatalog.get(name)
        records[number].update(fields)
        monkeypatch.setitem(DatasetCatalog.data, name, lambda: records)

    return change


@pytest.fixture
def broken(changed, tmp_path):
    """Faults of both sets."""
    labels = np.zeros((32, 32), np.uint8)
    labels[3:5, 7] = 3
    Image.fromarray(labels).save(tmp_path / "beyond.png")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    changed("tiny_train", 2, sem_seg_file_name=str(tmp_path / "beyond.png"))
    changed("tiny_train", 5, file_name=str(tmp_path / "gone.png"))
    changed("tiny_val", 0, file_name=str(tmp_path / "cut.png"))
    changed("tiny_val", 1, height=31)
    return (
        "gone.png does not exist",
        "beyond.png has the label 3 in 2 pixels, but the 3 classes are numbered 0 to 2",
        "cut.png is not an image",
        "is 32x32 pixels (width x height), its annotation says 32x31",
    )


def test_training_does_no_step_and_names_everything(tiny_config, broken, steps, one_thread):
    with pytest.raises(DataError) as refused:
        Trainer(tiny_config("SOLVER.MAX_ITER", 2)).train()
    assert len(refused.value.problems) == 4
    for part in broken:
        assert any(part in line for line in refused.value.problems)
    assert all(line.startswith("tiny_") for line in refused.value.problems)
    assert not steps


def test_an_evaluation_asks_for_the_test_sets_alone(tiny_config, broken):
    with pytest.raises(DataError) as refused:
        check_datasets(tiny_config(), is_training=False)
    assert [line.split(":")[0] for line in refused.value.problems] == ["tiny_val"] * 2


def test_who_does_not_want_it_is_not_checked(tiny_config, broken):
    check_datasets(tiny_config("DATASETS.CHECK", "False"))


def test_the_number_of_classes_is_checked_in_any_case(tiny_config, steps):
    cfg = tiny_config("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2, "DATASETS.CHECK", "False")
    with pytest.raises(DataError, match="NUM_CLASSES is 2, but tiny_train lists 3 classes"):
        Trainer(cfg)
    cfg = tiny_config("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 0)
    assert Trainer(cfg).model.classifier.out_channels == 3


def test_what_one_should_know_is_logged(tiny_config, changed, caplog):
    changed("tiny_val", 0, file_name=DatasetCatalog.get("tiny_train")[4]["file_name"])
    with caplog.at_level(logging.WARNING):
        check_datasets(tiny_config())
    (record,) = [one for one in caplog.records if one.name.startswith("freeseg")]
    assert "tiny_val: 1 of 4 photos are trained on as well, such as" in record.getMessage()
    assert record.levelno == logging.WARNING


def test_a_good_job_trains(tiny_config, steps, one_thread):
    Trainer(tiny_config("SOLVER.MAX_ITER", 2, "DATASETS.TEST", "()")).train()
    assert len(steps) == 2
