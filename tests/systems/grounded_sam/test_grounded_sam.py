"""Grounded-SAM: which boxes go on, what fills them, how often is encoded, what its demo writes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

import freeseg
from freeseg import Segmenter, build_model
from freeseg.composition import pretrained
from freeseg.structures import (
    Frame,
    InstanceSet,
    Marks,
    Prompt,
    Request,
    SegmentationResult,
    Task,
    Vocabulary,
    Wants,
)
from freeseg.systems import GroundedSAM
from freeseg.systems.grounded_sam import mask_rows, value_map

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import CONFIGS, picture, three_classes
from tiny_systems import (
    _mask2former,
    tiny_click,
    tiny_grounded_sam,
    tiny_grounding_dino,
    tiny_sam,
)

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
SIZE = (60, 90)
NAMES = Vocabulary(("cat", "dog"), (True, True))
BOXES = [[10.0, 10, 40, 40], [11, 10, 40, 40], [50, 5, 80, 50], [12, 11, 41, 39], [5, 5, 5, 9]]
SCORES = [0.9, 0.8, 0.6, 0.5, 0.4]
LABELS = [0, 1, 0, 0, 1]


def photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def fixed(monkeypatch, model: GroundedSAM) -> None:
    """Lets the grounder find the boxes above, whatever is asked."""

    def answer(features, requests):
        found = InstanceSet(
            None, torch.tensor(BOXES), torch.tensor(LABELS), torch.tensor(SCORES), size=SIZE
        )
        return [SegmentationResult(instances=found, vocabulary=NAMES) for _ in requests]

    monkeypatch.setattr(model.grounder, "answer", answer)


def instances(model: GroundedSAM) -> InstanceSet:
    with torch.inference_mode():
        features = model.encode(model.prepare([torch.from_numpy(photo()).permute(2, 0, 1)]))
        request = Request(0, (Task.INSTANCE,), Prompt(vocabulary=NAMES))
        return model.answer(features, [request])[0].instances


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"max_overlap": None}, [0, 1, 2, 3, 4]),
        ({"max_overlap": 0.8}, [0, 2, 4]),  # as the demos do, whatever the class
        ({"max_overlap": 0.8, "per_class": True}, [0, 1, 2, 4]),
        ({"max_overlap": None, "min_score": 0.6}, [0, 1, 2]),
        ({"max_overlap": None, "min_score": 0.95}, []),
    ],
)
def test_boxes_that_are_good_and_lie_on_no_better_one_are_filled(monkeypatch, settings, kept):
    model = tiny_grounded_sam(1, **settings)
    fixed(monkeypatch, model)
    found = instances(model)
    assert found.scores.tolist() == pytest.approx([SCORES[row] for row in kept])
    assert found.labels.tolist() == [LABELS[row] for row in kept]
    assert found.asked_boxes.tolist() == [BOXES[row] for row in kept]
    assert found.masks.shape == (len(kept), *SIZE)
    if 4 in kept:  # without area
        assert not found.masks[-1].any()


def test_masks_are_those_of_the_segmenter_alone_for_prompts_of_one_meaning(monkeypatch):
    model = tiny_grounded_sam(1, max_overlap=0.8)
    fixed(monkeypatch, model)
    found = instances(model)
    sam = model.segmenter
    image = sam.photo_input(photo())
    frame = Frame.of_whole(SIZE, tuple(image.shape[-2:]))
    with torch.inference_mode():
        features = sam.encode(sam.prepare([image], [frame]))
        for row in (0, 1):
            marks = Marks.read(SIZE, boxes=found.asked_boxes[row].tolist())
            single, best = (
                sam.answer(features, [Request(0, (Task.OBJECT,), Prompt(marks=marks), wants=each)])
                for each in (Wants(alternatives=False, single=True), Wants(alternatives=False))
            )
            assert torch.equal(found.masks[row], single[0].objects.masks[0])
            assert not torch.equal(single[0].objects.mask_logits, best[0].objects.mask_logits)


def test_each_encoder_runs_once_for_a_photo_and_the_second_only_for_boxes(monkeypatch):
    model = tiny_grounded_sam(1)
    calls = []
    for part in ("grounder", "segmenter"):
        system = getattr(model, part)
        monkeypatch.setattr(
            system,
            "encode",
            lambda given, encode=system.encode, part=part: calls.append(part) or encode(given),
        )
    with Segmenter(model).open(photo()) as session:
        session(text="sky: stuff")
        assert calls == ["grounder"]
        session(text="cat, dog")
        session(phrases="the red ball")
        session(text="tree")
    assert calls == ["grounder", "segmenter"]


def test_phrases_become_masks_with_their_readings(monkeypatch):
    model = tiny_grounded_sam(1)
    with Segmenter(model).open(photo()) as session:
        found = session(phrases=["the cat", "a dog"]).segments("object")
    assert found.owners.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.masks.shape == (6, *SIZE)
    assert found.asked_boxes.shape == (6, 4)


def test_features_count_what_is_kept_and_are_chosen_without_encoding():
    model = tiny_grounded_sam(1)
    with torch.inference_mode():
        features = model.encode(model.prepare([picture()["image"], picture(seed=1)["image"]]))
        before = features.nbytes
        assert features.images[0].segmented is features.images[0].segmented
    assert features.nbytes > before
    other = features.select([1, 0])
    assert other.images == features.images[::-1]
    assert other.to("cpu") is other


@pytest.mark.parametrize("segmenter", [tiny_sam, tiny_click])
def test_any_grounder_fits_any_system_that_takes_boxes(segmenter):
    composed = freeseg.compose(Segmenter(tiny_grounding_dino(2)), segmenter(2), min_score=0.0)
    assert composed.takes_text
    found = composed(photo(), text="cat|kitten, dog")
    assert set(found.names) <= {"cat", "dog"}
    assert found.masks.shape[1:] == SIZE


def test_parts_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match="got GroundingDINO and Mask2Former"):
        freeseg.compose(tiny_grounding_dino(), _mask2former(0))
    with pytest.raises(ValueError, match="got SAM and SAM"):
        freeseg.compose(tiny_sam(), tiny_sam())
    for rule, share in {"min_score": 1.5, "max_overlap": -0.1}.items():
        with pytest.raises(ValueError, match=f"{rule} must be from 0 to 1, got {share}"):
            freeseg.compose(tiny_grounding_dino(), tiny_sam(), **{rule: share})
    foreign = SimpleNamespace(model=torch.nn.Linear(1, 1))
    with pytest.raises((ValueError, TypeError)):
        freeseg.compose(foreign, tiny_sam())


def test_two_names_joined_by_a_plus_are_composed(monkeypatch, tmp_path):
    made = {"words/dino": Segmenter(tiny_grounding_dino(2)), "sam": Segmenter(tiny_sam(2))}
    asked = []

    def load(name, device=None, opts=()):
        asked.append((name, device, tuple(opts)))
        return made.get(name, str(name))

    monkeypatch.setattr(Segmenter, "from_pretrained", load)
    opts = ("MODEL.GROUNDED_SAM.MIN_SCORE", "0.25", "MODEL.GROUNDED_SAM.MAX_OVERLAP", "1.0")
    composed = pretrained("words/dino+sam", "cpu", opts)
    assert asked == [("words/dino", "cpu", ()), ("sam", "cpu", ())]
    assert (composed.model.min_score, composed.model.max_overlap) == (0.25, None)
    assert pretrained("words/dino+sam").model.max_overlap == 0.8
    with pytest.raises(ValueError, match=r"are those of MODEL.GROUNDED_SAM.*INPUT.FORMAT"):
        pretrained("words/dino+sam", opts=("INPUT.FORMAT", "RGB"))
    for name in ("sam+", "+sam", "+", "", "sam+ "):
        with pytest.raises(ValueError, match=r"two with a plus between as in A\+B, got"):
            pretrained(name)
    assert pretrained("sam", "cuda", ("A", "b")) is made["sam"]
    (tmp_path / "a+b").mkdir()
    assert pretrained(tmp_path / "a+b") == str(tmp_path / "a+b")  # a folder of that name


def test_a_configuration_names_two_files(tmp_path):
    names = {}
    for part, model in (
        ("GROUNDER", "grounding_dino/swin_t.yaml"),
        ("SEGMENTER", "sam/click.yaml"),
    ):
        names[part] = tmp_path / f"{part}.yaml"
        changes = {"_BASE_": str(CONFIGS / model), "MODEL": {"WEIGHTS": ""}}
        if part == "GROUNDER":
            sizes = {"WIDTH": 16, "DEPTH": 1, "NHEADS": 2, "DIM_FEEDFORWARD": 16}
            changes["MODEL"].update(
                TEXT_ENCODER={"BERT": sizes},
                SWIN={"EMBED_DIM": 24, "DEPTHS": [1, 1, 1, 1]},
                GROUNDING_DINO={"HIDDEN_DIM": 64, "ENC_LAYERS": 1, "NUM_QUERIES": 5},
            )
        else:
            changes["MODEL"].update(TIMM={"NAME": "test_efficientnet", "NORM": "", "FREEZE_AT": ""})
        names[part].write_text(yaml.safe_dump(changes))
    cfg = three_classes("grounding_dino/swin_t.yaml")
    cfg.MODEL.DEVICE, cfg.MODEL.META_ARCHITECTURE = "cpu", "GroundedSAM"
    with pytest.raises(
        ValueError, match=r"MODEL.GROUNDED_SAM.GROUNDER names no configuration file"
    ):
        build_model(cfg)
    cfg.MODEL.GROUNDED_SAM.GROUNDER = str(names["GROUNDER"])
    cfg.MODEL.GROUNDED_SAM.SEGMENTER = str(names["SEGMENTER"])
    cfg.MODEL.GROUNDED_SAM.MAX_OVERLAP = 1.0
    model = build_model(cfg)
    assert (model.max_overlap, model.min_score, model.per_class) == (None, 0.3, False)
    assert type(model.segmenter).__name__ == "SAM"


def test_rows_are_those_of_the_demo():
    file = SHARED / "golden" / "grounding_dino_tiny" / "text.json"
    if not file.is_file():
        pytest.skip(f"no stored outputs of the original at {file}")
    stored = json.loads(file.read_text())["grounded_sam_json"]
    found = mask_rows(stored["phrases"], stored["scores"], stored["boxes_xyxy"])
    assert found == stored["mask_json"]


def test_the_last_mask_has_a_pixel():
    masks = np.zeros((2, 3, 4), dtype=bool)
    masks[0, :2], masks[1, 1:, 2:] = True, True
    assert value_map(masks).tolist() == [[1, 1, 1, 1], [1, 1, 2, 2], [0, 0, 2, 2]]
