"""Annotated regions of a test set, as they are shown to CLIP."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.config import get_cfg
from freeseg import add_freeseg_config
from freeseg.engine import segment_naming
from freeseg.structures import Vocabulary


@pytest.fixture
def records(tmp_path):
    """Three photos of 4 rows and 6 columns whose channels differ; class 2 is left of the rest."""
    rows = []
    for number in range(3):
        pixels = np.zeros((4, 6, 3), np.uint8) + np.array([200, 90 + number, 10], np.uint8)
        pixels[0, 1] = (1, 2, 3)
        labels = np.full((4, 6), 1, np.uint8)
        labels[:, : number + 1] = 2
        labels[3, 5] = 9  # void
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        Image.fromarray(labels).save(tmp_path / f"{number}_labels.png")
        names = {"file_name": f"{number}.png", "sem_seg_file_name": f"{number}_labels.png"}
        paths = {key: str(tmp_path / name) for key, name in names.items()}
        rows.append({**paths, "image_id": number, "height": 4, "width": 6})
    return rows


@pytest.fixture
def cfg(records, loader):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    name = loader(records, stuff_classes=["a", "b", "c"], ignore_label=9)
    cfg.DATASETS.TEST, cfg.MODEL.DEVICE, cfg.INPUT.FORMAT = (name,), "cpu", "BGR"
    cfg.MODEL.CLIP_ADAPTER.PROMPT_LEARNER = "predefined"
    return cfg


@pytest.mark.parametrize(("limit", "numbers"), [(0, [0, 1, 2]), (1, [0]), (2, [0, 1])])
def test_photos_are_rgb_and_masks_have_their_classes(cfg, limit, numbers):
    found = list(segment_naming._photos(cfg, cfg.DATASETS.TEST[0], limit))
    assert [int(image[1, 3, 3]) - 90 for image, *_ in found] == numbers
    for number, (image, masks, classes) in zip(numbers, found):
        assert image.shape == (3, 4, 6)
        assert image.dtype == torch.uint8
        assert image[:, 0, 1].tolist() == [1, 2, 3]
        expected = torch.zeros(3, 4, 6, dtype=torch.bool)
        expected[2, :, : number + 1] = expected[1, :, number + 1 :] = True
        expected[1, 3, 5] = False
        assert sorted(classes.tolist()) == [1, 2]
        for mask, label in zip(masks, classes):
            assert torch.equal(mask, expected[label])


def test_objects_and_stuff_are_regions_where_both_are_annotated(cfg, loader, monkeypatch):
    asked = []

    class Segments:
        def apply(self, transform, size):
            assert size == (4, 6)
            return self

        def targets(self, task):
            asked.append(task)
            return np.array([0]), np.ones((1, 4, 6), bool)

    for tasks in (("semantic", "panoptic"), ("instance", "semantic"), ("semantic",)):
        monkeypatch.setattr(
            segment_naming, "read_annotation", lambda *_, tasks=tasks: (Segments(), tasks)
        )
        next(segment_naming._photos(cfg, cfg.DATASETS.TEST[0], 1))
    assert asked == ["panoptic", "instance", "semantic"]


def test_a_set_is_measured_with_its_own_classes(cfg, monkeypatch):
    asked = []

    class Adapter(torch.nn.Module):
        def __init__(self, cfg, *, has_void):
            super().__init__()
            assert has_void is False

    def measure(adapter, crops, photos, vocabulary):
        assert not torch.is_grad_enabled()
        assert not adapter.training
        asked.append((crops, len(list(photos)), vocabulary))
        return {"the": "results"}

    monkeypatch.setattr(segment_naming, "build_clip_adapter", Adapter)
    monkeypatch.setattr(segment_naming, "measure_naming", measure)
    monkeypatch.setattr(segment_naming, "crop_arguments", lambda cfg: {"a": 1})
    monkeypatch.setattr(segment_naming, "MaskCrops", lambda **arguments: arguments)
    assert segment_naming.run_naming(cfg, 2) == {"the": "results"}
    assert asked == [({"a": 1}, 2, Vocabulary(("a", "b", "c"), (False,) * 3))]
    segment_naming.run_naming(cfg)
    assert asked[1][1] == 3
    cfg.MODEL.CLIP_ADAPTER.PROMPT_LEARNER = "learnable"
    cfg.MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT = "given.pth"
    assert segment_naming.run_naming(cfg) == {"the": "results"}
    cfg.MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT = ""
    with pytest.raises(ValueError, match="the prompts are not trained"):
        segment_naming.run_naming(cfg)


def test_a_set_without_classes_cannot_be_measured(cfg, loader):
    cfg.DATASETS.TEST = (loader([]),)
    with pytest.raises(ValueError, match=f"{cfg.DATASETS.TEST[0]} names no classes"):
        segment_naming.run_naming(cfg)
    cfg.DATASETS.TEST = ()
    with pytest.raises(ValueError, match=r"DATASETS\.TEST names no set"):
        segment_naming.run_naming(cfg)
