"""Shares of regions that are named right, against a loop over regions and texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from freeseg import add_freeseg_config
from freeseg.evaluation.segment_naming import measure_naming, naming_table
from freeseg.structures import JUDGED_TASKS, Vocabulary
from freeseg.systems.freeseg.crops import MaskCrops, masked_pictures
from freeseg.systems.freeseg.text_side import build_clip_adapter

CONFIG = Path(__file__).resolve().parents[2] / "configs/freeseg/shapes/full.yaml"
VOCABULARY = Vocabulary(
    ("red square", "blue square", "green square", "yellow square"),
    (True, False, True, False),
    is_seen=(True, True, False, False),
    synonyms=(("red square",), ("blue box", "blue square"), ("green square",), ("a yellow box",)),
)
COLOURS = ((220, 30, 30), (30, 60, 220), (40, 180, 60), (240, 220, 30))
SIZES = ((48, 70), (36, 36), (60, 41))


@pytest.fixture(scope="module")
def adapter():
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIG))
    weights = "freeseg://weights/shapes_freeseg.safetensors"
    options = {
        "DEVICE": "cpu",
        "TEXT_ENCODER.CACHE": False,
        "CLIP_ADAPTER.PROMPT_CHECKPOINT": weights,
    }
    cfg.merge_from_list(
        [item for key, value in options.items() for item in (f"MODEL.{key}", value)]
    )
    return build_clip_adapter(cfg, has_void=False).eval()


def photo(number: int, border=(0, 0)):
    """Squares of all colours on grey, some called by another's name; the last mask is empty."""
    random = torch.Generator().manual_seed(number)
    height, width = SIZES[number]
    top, left = border
    image = torch.full((3, height + 2 * top, width + 2 * left), 128, dtype=torch.uint8)
    masks = torch.zeros(7, *image.shape[1:], dtype=torch.bool)
    labels = torch.randint(0, 4, (7,), generator=random)
    for place, mask in enumerate(masks[:-1]):
        x, y = (int(each) for each in torch.randint(4, 20, (2,), generator=random))
        mask[top + y : top + y + 11, left + x : left + x + 9] = True
        image[:, mask] = torch.tensor(COLOURS[place % 4], dtype=torch.uint8)[:, None]
        if float(torch.rand((), generator=random)) < 0.6:
            labels[place] = place % 4
    return image, masks, labels


def by_hand(adapter, photos) -> dict[str, dict[str, float]]:
    rows: dict[str, list[list[bool]]] = {}
    for image, masks, labels in photos:
        for mask, label in zip(masks, labels.tolist()):
            if not mask.any():
                continue
            picture = masked_pictures(adapter.clip_model, image, mask[None], MaskCrops())
            feature = adapter.clip_model.encode_image(picture)[0]
            right = []
            for task in JUDGED_TASKS:
                best, found = -2.0, -1
                for each, texts in enumerate(VOCABULARY.synonyms):
                    for text in adapter.class_features(texts, task):
                        cosine = float(feature @ text / feature.norm() / text.norm())
                        best, found = max((best, found), (cosine, each))
                right.append(found == label)
            known = "seen" if VOCABULARY.is_seen[label] else "unseen"
            kind = "things" if VOCABULARY.is_thing[label] else "stuff"
            rows.setdefault(f"{known} {kind}", []).append(right)
    return {
        name: {"regions": len(each)}
        | {task: 100 * sum(column) / len(each) for task, column in zip(JUDGED_TASKS, zip(*each))}
        for name, each in rows.items()
    }


@torch.no_grad()
def test_regions_are_counted_by_group_and_task(adapter):
    photos = [photo(number) for number in range(3)]
    empty = photos[1][0], photos[1][1][:0], photos[1][2][:0]  # nothing is annotated on it
    found = measure_naming(adapter, MaskCrops(), [photos[0], empty, *photos[1:]], VOCABULARY)
    assert found == {name: pytest.approx(row) for name, row in by_hand(adapter, photos).items()}
    assert list(found) == ["seen things", "seen stuff", "unseen things", "unseen stuff"]
    assert sum(row["regions"] for row in found.values()) == 18
    assert any(0 < row[task] < 100 for row in found.values() for task in JUDGED_TASKS)


@torch.no_grad()
def test_void_around_a_photo_changes_nothing(adapter):
    found = measure_naming(adapter, MaskCrops(), [photo(0), photo(1)], VOCABULARY)
    around = [photo(0, border=(7, 0)), photo(1, border=(3, 12))]
    assert measure_naming(adapter, MaskCrops(), around, VOCABULARY) == found


def test_a_table_to_the_letter():
    rows = {
        "seen things": {"regions": 12, "semantic": 1.25, "instance": 100.0, "panoptic": 7.0},
        "unseen stuff": {"regions": 3, "semantic": 0.0, "instance": 66.67, "panoptic": 33.33},
    }
    assert (
        naming_table(rows)
        == """\
| | regions | semantic | instance | panoptic |
| --- | ---: | ---: | ---: | ---: |
| seen things | 12 | 1.2 | 100.0 | 7.0 |
| unseen stuff | 3 | 0.0 | 66.7 | 33.3 |"""
    )
