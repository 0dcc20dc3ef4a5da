"""The example project: real Detectron2 style code outside the package, trained and evaluated."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detectron2.engine import default_argument_parser
from freeseg.structures import Vocabulary
from freeseg.systems.lseg.head import LSegHead
from freeseg.systems.oneformer.decoder import OneFormerDecoder

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plugging_in"


@pytest.fixture(scope="module")
def train():
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield importlib.import_module("train")
    finally:
        sys.path.remove(str(EXAMPLE))


def options(folder, *more):
    return ["OUTPUT_DIR", str(folder), "TEST.EVAL_PERIOD", "0", *map(str, more)]


def accuracies(folder):
    """mIoU after each training."""
    lines = map(json.loads, (folder / "metrics.json").read_text().splitlines())
    return [line["sem_seg/mIoU"] for line in lines if "sem_seg/mIoU" in line]


def share_of_loss_left(model, batch, steps=15) -> float:
    """The last loss over the first."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    totals = []
    for _ in range(steps):
        total = sum(model(batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    return totals[-1] / totals[0]


def test_the_example_trains_saves_evaluates_and_goes_on(train, tmp_path):
    parse = default_argument_parser().parse_args
    train.main(parse(options(tmp_path, "SOLVER.MAX_ITER", 3)))
    assert 0 <= accuracies(tmp_path)[-1] <= 100
    weights = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert "decoder.class_transformer.decoder.layers.0.self_attn.in_proj_weight" in weights
    train.main(parse(["--resume", *options(tmp_path, "SOLVER.MAX_ITER", 4)]))
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert len(accuracies(tmp_path)) == 2


def test_it_learns_and_its_token_reaches_the_decoder(train, tmp_path):
    cfg = train.load_config(options(tmp_path))
    torch.manual_seed(0)
    model = train.Trainer.build_model(cfg)
    assert isinstance(model.decoder, OneFormerDecoder)
    batch = next(iter(train.Trainer.build_train_loader(cfg)))
    assert share_of_loss_left(model, batch) < 0.8
    with torch.no_grad():
        day, night = (
            model.eval()([{**batch[0], "domain": domain}])[0]["sem_seg"]
            for domain in ("day", "night")
        )
    assert day.shape == (2, 64, 64)
    assert (day - night).abs().max() > 1e-6


def test_words_choose_the_classes_of_the_second_one(train, tmp_path):
    words = str(EXAMPLE / "words.yaml")
    arguments = ["--config-file", words, *options(tmp_path, "SOLVER.MAX_ITER", 2)]
    train.main(default_argument_parser().parse_args(arguments))
    assert 0 <= accuracies(tmp_path)[-1] <= 100

    cfg = train.load_config(options(tmp_path), words)
    torch.manual_seed(0)
    model = train.Trainer.build_model(cfg)
    assert isinstance(model.head, LSegHead)
    batch = next(iter(train.Trainer.build_train_loader(cfg)))
    assert share_of_loss_left(model, batch) < 0.8
    names = model.vocabulary.names
    asked = [names, names[::-1], (names[0], "car", names[1])]
    with torch.no_grad():
        found = [
            model.eval()([{**batch[0], "vocabulary": Vocabulary.from_classes(list(one))}])[0]
            for one in asked
        ]
    known, turned, more = (one["sem_seg"] for one in found)
    torch.testing.assert_close(turned, known.flip(0))
    assert more.shape[0] == 3
    torch.testing.assert_close(more[[0, 2]], known, rtol=1e-4, atol=1e-4)


def test_a_project_with_the_releases_names_keeps_them(tmp_path):
    """In a process of its own: here the command line may have taken them."""
    script = str(EXAMPLE / "own_names.py")
    # CPU builds of PyTorch beside PyPI's torchvision need freeseg before Detectron2
    program = f"import freeseg, runpy; runpy.run_path({script!r}, run_name='__main__')"
    command = [sys.executable, "-c", program, *options(tmp_path)]
    path = os.pathsep.join([str(EXAMPLE), *(path for path in sys.path if path)])
    done = subprocess.run(
        [*command, "SOLVER.MAX_ITER", "3"],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert {"MaskFormer is __main__'s", "MaskFormerHead is __main__'s"} <= set(printed)
    own, ours = (line.split() for line in printed[-2:])
    assert own[0] == "__main__"
    assert ours[0] == "freeseg.systems.mask2former.system"
    assert int(own[1]) < int(ours[1])
    assert 0 <= accuracies(tmp_path)[-1] <= 100
