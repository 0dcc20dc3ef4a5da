"""What sentences mean: sets in RefCOCO's layout, scores by hand, systems that are asked."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from detectron2.evaluation import inference_on_dataset
from freeseg.data import build_test_loader, register_all
from freeseg.data.datasets.json_rows import MissingDataError
from freeseg.data.datasets.referring import REFERRED_KEY, ReferringFiles, load_referring
from freeseg.data.problems import Problems
from freeseg.engine.dataset_checks import check_all
from freeseg.engine.evaluated_model import evaluated_model
from freeseg.evaluation import build_evaluators, require_known_metric
from freeseg.evaluation.referring import (
    FOUND_KEY,
    Overlap,
    ReferringEvaluator,
    box_overlap,
    referring_scores,
)
from freeseg.structures import InstanceSet

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_systems import (
    tiny_grounded_sam,
    tiny_grounding_dino,
    tiny_grounding_dino_config,
    tiny_sam,
)

SIZE = (40, 60)
CAT, DOG = [10.0, 5, 20, 30], [35.0, 10, 20, 20]  # x, y, width, height


def ref(image: int, meant: int, split: str, *sentences: str) -> dict:
    said = [{"sent": sentence} for sentence in sentences]
    return {"image_id": image, "ann_id": meant, "split": split, "sentences": said}


REFS = [
    ref(3, 1, "val", "the cat", "left"),
    ref(3, 2, "val", "a dog"),
    ref(4, 3, "testA", "sea"),
]


@pytest.fixture
def root(tmp_path):
    """A folder of data sets with RefCOCO of two photos."""
    folder, photos = tmp_path / "refer" / "refcoco", tmp_path / "coco" / "train2014"
    folder.mkdir(parents=True)
    photos.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(photos / name), np.random.default_rng(0).integers(0, 255, (*SIZE, 3)))
    x, y, w, h = CAT
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    content = {
        "images": [
            {"id": n, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for n, name in ((3, "a.jpg"), (4, "b.jpg"))
        ],
        "annotations": [
            {"id": 1, "image_id": 3, "bbox": CAT, "segmentation": polygon},
            {"id": 2, "image_id": 3, "bbox": DOG},
            {"id": 3, "image_id": 4, "bbox": DOG},
        ],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    (folder / "refs(unc).p").write_bytes(pickle.dumps(REFS))
    return tmp_path


@pytest.fixture
def registered(root):
    register_all(root)
    yield root
    register_all()


def files(root: Path, split: str = "val") -> ReferringFiles:
    return ReferringFiles(root / "refer/refcoco", "unc", split, root / "coco/train2014")


def test_a_split_has_a_record_for_every_photo(root):
    problems = Problems()
    (record,) = load_referring(files(root), problems)
    assert problems.errors == []
    assert [meant["sentences"] for meant in record[REFERRED_KEY]] == [
        ["the cat", "left"],
        ["a dog"],
    ]
    assert record[REFERRED_KEY][0]["bbox"] == [10, 5, 30, 35]
    assert (record["image_id"], Path(record["file_name"]).name) == (3, "a.jpg")
    (other,) = load_referring(files(root, "testA"), problems)
    assert other["image_id"] == 4
    assert load_referring(files(root, "train"), problems) == []


def test_the_list_may_be_json_and_a_hostile_pickle_is_refused(root):
    folder = root / "refer/refcoco"
    pickled = folder / "refs(unc).p"

    class Hostile:
        def __reduce__(self):
            return (print, ("called",))

    pickled.write_bytes(pickle.dumps([Hostile()]))
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p is no list of references: it asks for"):
        load_referring(files(root), Problems())
    (folder / "refs(unc).json").write_text(json.dumps(REFS))
    assert len(load_referring(files(root), Problems())) == 1
    (folder / "refs(unc).json").write_text("{}")
    with pytest.raises(ValueError, match="is no list of references"):
        load_referring(files(root), Problems())


def test_what_is_not_there_is_named(root):
    pickled = root / "refer/refcoco/refs(unc).p"
    lost = ref(3, 99, "val")
    pickled.write_bytes(pickle.dumps([*REFS, lost]))
    problems = Problems()
    load_referring(files(root), problems)
    assert len(problems.errors) == 1
    assert "reference 3 is of no object there" in problems.errors[0]
    pickled.unlink()
    with pytest.raises(MissingDataError, match=r"refs\(unc\)\.p does not exist"):
        load_referring(files(root), Problems())


def test_scores_by_hand():
    overlaps = [Overlap(50, 100), Overlap(95, 100), Overlap(0, 20), Overlap(3, 4)]
    scores = referring_scores(overlaps)
    assert scores == pytest.approx(
        {
            "P@0.5": 75.0,
            "P@0.7": 50.0,
            "P@0.9": 25.0,
            "mIoU": 100 * (0.5 + 0.95 + 0 + 0.75) / 4,
            "cIoU": 100 * 148 / 224,
        }
    )
    assert set(referring_scores([]).values()) == {0.0}
    assert box_overlap([0, 0, 10, 10], [5, 5, 15, 10]) == Overlap(25, 125)
    assert box_overlap([0, 0, 1, 1], [5, 5, 6, 6]).share == 0
    assert box_overlap([1, 1, 1, 1], [1, 1, 1, 1]).share == 0


def test_boxes_and_masks_are_judged_sentence_by_sentence(root):
    (record,) = load_referring(files(root), Problems())
    masks = torch.zeros(3, *SIZE, dtype=torch.bool)
    masks[0, 5:35, 10:30] = True  # the cat
    masks[1, 5:35, 10:20] = True  # half of it
    found = InstanceSet(
        masks,
        torch.tensor([[10.0, 5, 30, 35], [10, 5, 20, 35], [0, 0, 5, 5]]),
        None,
        torch.ones(3),
        owners=torch.arange(3),
        choices=torch.zeros(3, dtype=torch.int64),
    )
    evaluator = ReferringEvaluator()
    evaluator.process([record], [{FOUND_KEY: found}])
    results = evaluator.evaluate()
    assert results["referring boxes"]["mIoU"] == pytest.approx(50.0)
    assert results["referring boxes"]["P@0.5"] == pytest.approx(200 / 3)
    assert results["referring boxes"]["cIoU"] == pytest.approx(100 * 900 / (600 + 600 + 425))
    assert results["referring masks"]["mIoU"] == pytest.approx(75.0)  # the dog has no mask
    assert results["referring masks"]["cIoU"] == pytest.approx(75.0)


@pytest.mark.parametrize(
    ("build", "kinds"),
    [
        (tiny_grounding_dino, {"referring boxes"}),
        (tiny_grounded_sam, {"referring boxes", "referring masks"}),
    ],
)
def test_systems_that_take_phrases_are_asked_and_an_image_is_encoded_once(
    registered, monkeypatch, build, kinds
):
    cfg = tiny_grounding_dino_config(["DATALOADER.NUM_WORKERS", 0])
    cfg.DATASETS.TEST = ("refcoco_unc_val",)
    model, calls = build(1), []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda given: calls.append(1) or encode(given))
    (evaluator,) = build_evaluators(cfg, "refcoco_unc_val", registered / "out")
    loader = build_test_loader(cfg, "refcoco_unc_val")
    with torch.no_grad():
        results = inference_on_dataset(evaluated_model(cfg, model), loader, evaluator)
    assert calls == [1]
    assert set(results) == kinds
    assert all(0 <= value <= 100 for row in results.values() for value in row.values())


@pytest.mark.usefixtures("registered")
def test_a_system_that_takes_no_phrases_is_refused():
    cfg = tiny_grounding_dino_config()
    cfg.DATASETS.TEST = ("refcoco_unc_val",)
    with pytest.raises(ValueError, match="SAM does not take phrases for object"):
        evaluated_model(cfg, tiny_sam())


@pytest.mark.usefixtures("registered")
def test_a_job_looks_at_such_a_set_before_it_starts():
    cfg = tiny_grounding_dino_config()
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (), ("refcoco_unc_val",)
    problems = Problems()
    check_all(cfg, problems, is_training=False)
    assert problems.errors == []
    require_known_metric(cfg)
