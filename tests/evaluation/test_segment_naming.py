"""Which regions CLIP names right, against the annotation's own JSON."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg import add_freeseg_config
from freeseg.data import evenly_spread
from freeseg.engine.segment_naming import run_naming
from freeseg.evaluation.segment_naming import measure_naming, naming_table
from freeseg.structures import JUDGED_TASKS, Vocabulary
from freeseg.systems.freeseg.crops import MaskCrops
from freeseg.systems.freeseg.text_side import build_clip_adapter

CONFIGS = Path(__file__).resolve().parents[2] / "configs/freeseg/shapes"
SET = "shapes_val_panoptic"
NUM_PHOTOS = 12


def config(*options):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "full.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.TEXT_ENCODER.CACHE", False, *options])
    return cfg


TEMPLATES = (
    *("MODEL.CLIP_ADAPTER.PROMPT_LEARNER", "predefined"),
    *("MODEL.CLIP_ADAPTER.PREDEFINED_PROMPT_TEMPLATES", ["a photo of a {}."]),
)
BUNDLED = ("MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT", "freeseg://weights/shapes_freeseg.safetensors")


@pytest.mark.parametrize("prompts", [TEMPLATES, BUNDLED], ids=["template", "learned"])
def test_every_region_of_the_annotation_is_asked_about(prompts):
    results = run_naming(config(*prompts), NUM_PHOTOS)
    records = evenly_spread(DatasetCatalog.get(SET), NUM_PHOTOS)
    metadata = MetadataCatalog.get(SET)
    annotations = json.loads(Path(metadata.panoptic_json).read_text())["annotations"]
    ids = {record["image_id"] for record in records}
    rows = [row for each in annotations if each["image_id"] in ids for row in each["segments_info"]]
    things = metadata.thing_dataset_id_to_contiguous_id
    labels = {**metadata.stuff_dataset_id_to_contiguous_id, **things}
    wanted = Counter(
        f"{'seen' if metadata.trainable_flag[labels[row['category_id']]] else 'unseen'} "
        f"{'things' if row['category_id'] in things else 'stuff'}"
        for row in rows
    )
    assert {name: row["regions"] for name, row in results.items()} == wanted
    assert all(results["seen things"][task] > 80 for task in JUDGED_TASKS)
    spread = {results["seen things"][task] for task in JUDGED_TASKS}
    assert prompts is BUNDLED or len(spread) == 1  # templates know no task
    assert f"| seen things | {wanted['seen things']} |" in naming_table(results)


def test_a_region_is_right_where_its_own_text_is_the_best():
    vocabulary = Vocabulary(("red circle", "blue square"), (True, True))
    image = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    image[:, 8:24, 8:24] = torch.tensor([30, 60, 220]).view(3, 1, 1)
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[0, 8:24, 8:24] = True  # the second is empty: nothing is shown of it
    photos = [(image, mask, torch.tensor([1, 0]))]
    adapter = build_clip_adapter(config(*TEMPLATES), has_void=False).eval()
    with torch.no_grad():
        found = measure_naming(adapter, MaskCrops(), photos, vocabulary)
        assert found == {"seen things": {"regions": 1, **dict.fromkeys(JUDGED_TASKS, 100.0)}}
        turned = Vocabulary(vocabulary.names[::-1], (True, False), is_seen=(True, False))
        found = measure_naming(adapter, MaskCrops(), photos, turned)
        assert found == {"unseen stuff": {"regions": 1, **dict.fromkeys(JUDGED_TASKS, 0.0)}}


def test_untrained_prompts_and_missing_sets_are_refused():
    with pytest.raises(ValueError, match=r"name MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT"):
        run_naming(config("MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT", ""))
    with pytest.raises(ValueError, match=r"DATASETS.TEST names no set"):
        run_naming(config(*TEMPLATES, "DATASETS.TEST", ()))


def test_photos_are_spread_over_the_set():
    records = [{"image_id": index} for index in range(10)]
    assert [one["image_id"] for one in evenly_spread(records, 3)] == [0, 3, 6]
    assert len(evenly_spread(records, 99)) == len(evenly_spread(records, 0)) == 10
