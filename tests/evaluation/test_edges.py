"""Edges: partners by trying all pairings, every score by hand, and systems judged by both."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from detectron2.config import get_cfg
from freeseg import add_freeseg_config
from freeseg.cli import main
from freeseg.data import build_test_loader, register_all
from freeseg.data.datasets.edges import read_boundaries
from freeseg.engine import Trainer
from freeseg.evaluation import build_evaluators, results_table, wanted_tasks
from freeseg.evaluation.edge_counts import (
    average_precision,
    best_between,
    count_edges,
    edge_scores,
    f_measure,
    match_pixels,
    recall_and_precision,
    recall_at_half,
    thresholds_of,
)
from freeseg.evaluation.edges import edge_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from small_inputs import CONFIGS
from tiny_systems import tiny_sam

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[2] / "../shared"))
SIDE = 64


def most_pairs(first, second, reach):
    """Of all ways to pair a few pixels the largest number of pairs."""
    near = [
        [number for number, other in enumerate(second) if np.hypot(*(one - other)) <= reach]
        for one in first
    ]

    def best(at, taken):
        if at == len(near):
            return 0
        found = [1 + best(at + 1, taken | {each}) for each in near[at] if each not in taken]
        return max([*found, best(at + 1, taken)])

    return best(0, frozenset())


@pytest.mark.parametrize("seed", range(20))
def test_as_many_pixels_as_can_be_have_partners(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.random((2, 7, 9)) < 0.12
    reach = float(generator.uniform(1, 3))
    of_first, of_second = match_pixels(first, second, reach)
    assert not (of_first & ~first).any()
    assert not (of_second & ~second).any()
    expected = most_pairs(np.argwhere(first), np.argwhere(second), reach)
    assert np.count_nonzero(of_first) == np.count_nonzero(of_second) == expected


def test_a_partner_lies_at_the_reach_and_not_beyond():
    first, second = np.zeros((2, 20, 20), bool)
    first[10, 5] = second[13, 9] = True  # 5 pixels away
    assert match_pixels(first, second, 5.0)[0].sum() == 1
    assert match_pixels(first, second, 4.99)[0].sum() == 0
    assert match_pixels(first, np.zeros_like(first), 5.0)[1].sum() == 0


def test_what_is_found_and_drawn_is_counted():
    """A photo of 30 x 40 pixels with a diagonal of 50, so that 0.04 are 2 pixels."""
    strengths = np.zeros((30, 40), np.float32)
    strengths[10, 5:15] = 0.9  # 10 pixels, which both have drawn nearby
    strengths[20, 5:25] = 0.4  # 20 pixels, which nobody has
    boundaries = np.zeros((2, 30, 40), bool)
    boundaries[0, 12, 5:15] = True
    boundaries[1, 10, 5:11] = True  # six of them
    boundaries[1, 28, 5:15] = True
    counts = count_edges(strengths, boundaries, thresholds_of(3), max_distance=0.04)
    # matched drawn, drawn, matched found, found
    assert counts.tolist() == [[16, 26, 10, 30], [16, 26, 10, 10], [16, 26, 10, 10]]
    counts = count_edges(strengths, boundaries, np.array([0.95]), max_distance=0.04)
    assert counts.tolist() == [[0, 26, 0, 0]]
    with pytest.raises(ValueError, match="edges are"):
        count_edges(strengths[:20], boundaries, thresholds_of(3))


def test_thresholds_lie_between_the_ends():
    np.testing.assert_allclose(thresholds_of(99), np.linspace(0.01, 0.99, 99))
    assert thresholds_of(1).tolist() == [0.5]


# two photos, two thresholds: matched drawn, drawn, matched found, found
ONE = np.array([[8, 10, 8, 20], [5, 10, 5, 5]])
OTHER = np.array([[9, 10, 9, 10], [2, 10, 2, 4]])


def test_ods_and_ois_by_hand():
    scores = edge_scores([ONE, OTHER])
    # all together: recall 17/20, precision 17/30; then 7/20, 7/9
    first, second = 2 * 17 / (20 + 30), 2 * 7 / (20 + 9)
    assert f_measure(*recall_and_precision(ONE + OTHER)) == pytest.approx([first, second])
    assert scores["ODS"] >= first
    # photo one is best at the second (10/15 after 16/30), the other at the first (18/20)
    assert scores["OIS"] == pytest.approx(2 * (5 + 9) / (10 + 10 + 5 + 10))


def test_the_best_f_may_lie_between_thresholds():
    recall, precision = np.array([1.0, 0.2]), np.array([0.2, 1.0])
    assert f_measure(recall, precision).max() == pytest.approx(1 / 3)
    assert best_between(recall, precision) == pytest.approx(0.6, abs=1e-4)  # half way: both 0.6
    assert best_between(recall[:1], precision[:1]) == pytest.approx(1 / 3)


def test_average_precision_by_hand():
    recall, precision = np.array([0.8, 0.3]), np.array([0.5, 1.0])
    # recalls 0.30 ... 0.80, along a straight line from 1 to 0.5: 51 places of 0.75 in the mean
    assert average_precision(recall, precision) == pytest.approx(51 * 0.75 / 100)
    assert average_precision(recall[:1], precision[:1]) == 0


def test_recall_at_half_by_hand():
    recall, precision = np.array([0.9, 0.6, 0.2]), np.array([0.4, 0.6, 0.8])
    assert recall_at_half(recall, precision) == pytest.approx(0.75)
    assert recall_at_half(recall[1:], precision[1:]) == pytest.approx(0.6)  # never as low


def test_a_perfect_map_has_perfect_scores():
    drawn = np.zeros((1, 40, 40), bool)
    drawn[0, 20, 3:37] = True
    counts = count_edges(drawn[0].astype(np.float32), drawn, thresholds_of(5))
    scores = edge_scores([counts])
    assert (scores["ODS"], scores["OIS"], scores["R50"]) == (1, 1, 1)


def test_people_agree_with_each_other_as_published():
    """Each against the others, of four photos; the published F of people is 0.80."""
    folder = SHARED / "data/edges/BSDS/boundaries"
    if not folder.is_dir():
        pytest.skip(f"no sample data: {folder} does not exist")
    counts = 0
    for name in ("123057", "179084", "228076", "28083"):
        drawn = read_boundaries({"boundaries_file_name": str(folder / f"{name}.png")})
        for number, own in enumerate(drawn):
            others = np.delete(drawn, number, axis=0)
            counts = counts + count_edges(own.astype(np.float32), others, np.array([0.5]))
    assert 0.75 < f_measure(*recall_and_precision(counts))[0] < 0.87


@pytest.fixture
def photos(tmp_path):
    """Two photos of a disc and a bar in BSDS500's packed layout; the root of the sets."""
    rows, columns = np.mgrid[:48, :SIDE]
    for number in range(2):
        disc = (rows - 20) ** 2 + (columns - 20 - 20 * number) ** 2 < 100
        noise = np.random.default_rng(number).integers(0, 40, (48, SIDE, 3))
        photo = np.where(disc[..., None], [200, 60, 50], [40, 90, 120]) + noise
        boundary = disc & ~cv2.erode(disc.astype(np.uint8), np.ones((3, 3))).astype(bool)
        for folder, pixels in (("images", photo), ("boundaries", boundary * 3)):
            path = tmp_path / "edges/BSDS" / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels.astype(np.uint8))
    register_all(tmp_path)
    yield tmp_path
    register_all()


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "sam" / "vit_b.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    cfg.INPUT.TEST_RESIZE.LONG_SIDE = 128
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (), ("bsds_packed",)
    cfg.TEST.EDGES.POINTS, cfg.TEST.EDGES.THRESHOLDS = 3, 5
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    return cfg


def test_a_system_is_judged_by_its_edges(photos, cfg):
    model = tiny_sam(1)
    results = Trainer.test(cfg, model)
    wrapped, counts = edge_model(cfg, model, model), []
    with torch.no_grad():
        for (x,) in build_test_loader(cfg, "bsds_packed"):
            (output,) = wrapped([x])
            assert output["edges"].shape == (48, SIDE)
            assert 0 < output["edges"].max() <= 1
            counts.append(count_edges(output["edges"], read_boundaries(x), thresholds_of(5)))
    expected = {name: 100 * value for name, value in edge_scores(counts).items()}
    assert results == {"edges": pytest.approx(expected)}
    assert "| edges | " in results_table(results)
    assert wanted_tasks(cfg, "bsds_packed") == []
    (evaluator,) = build_evaluators(cfg, "bsds_packed")
    assert len(evaluator.thresholds) == 5


def test_other_photos_go_to_the_other_model(photos, cfg):
    other = nn.Identity()
    assert edge_model(cfg, tiny_sam(), other)([{"image": 1}]) == [{"image": 1}]
    cfg.DATASETS.TEST = ("shapes_val_panoptic",)
    assert edge_model(cfg, nn.Linear(1, 1), other) is other


def test_what_does_not_look_for_everything_is_refused(photos, cfg):
    with pytest.raises(ValueError, match="Linear is no system that looks for edges"):
        edge_model(cfg, nn.Linear(1, 1), nn.Identity())


def test_the_command_judges_edges(photos, cfg, tmp_path, monkeypatch):
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))
    model, weights = tiny_sam(1), tmp_path / "model.pth"
    torch.save(model.state_dict(), weights)
    cfg.MODEL.SAM.IMAGE_SIZE, cfg.MODEL.SAM.EMBEDDING_DIM, cfg.MODEL.SAM.QUALITY_DIM = 128, 32, 16
    cfg.MODEL.SAM.NHEADS, cfg.MODEL.SAM.DIM_FEEDFORWARD = 2, 48
    vit = cfg.MODEL.SAM.VIT
    vit.EMBED_DIM, vit.DEPTH, vit.NHEADS, vit.WINDOW, vit.GLOBAL_BLOCKS = 24, 2, 2, 3, [1]
    file = tmp_path / "tiny.yaml"
    file.write_text(cfg.dump())
    assert main(["evaluate", "--config-file", str(file), "MODEL.WEIGHTS", str(weights)]) == 0
    found = json.loads((Path(cfg.OUTPUT_DIR) / "results.json").read_text())
    assert json.dumps(Trainer.test(cfg, model)["edges"]["ODS"]) in json.dumps(found)
