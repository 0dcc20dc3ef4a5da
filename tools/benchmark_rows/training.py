"""A training step of the Shapes configuration, with this operator and with the reference."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from benchmark_rows.contest import Contest, Row
from detectron2.config import get_cfg
from freeseg import add_freeseg_config
from freeseg.engine.trainer import Trainer, seed_generators
from freeseg.ops.implementations import VARIABLE

CONFIG = Path(__file__).resolve().parents[2] / "configs/shapes/mask2former_tiny.yaml"
TOLERANCE = 1e-4  # relative, of the loss


class Side:
    """A trainer of its own that repeats one batch."""

    def __init__(self, implementation: str, folder: str) -> None:
        cfg = get_cfg()
        add_freeseg_config(cfg)
        cfg.merge_from_file(str(CONFIG))
        cfg.OUTPUT_DIR, cfg.DATALOADER.NUM_WORKERS = folder, 0
        self.implementation = implementation
        self.trainer = Trainer(cfg)
        self.trainer.iter = 0
        self.trainer.model.train()
        self.batch = next(iter(self.trainer.data_loader))

    def step(self) -> float:
        """The loss before the step."""
        optimizer = self.trainer._trainer.optimizer
        with _forced(self.implementation):
            loss = sum(self.trainer.model(self.batch).values())
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        return float(loss.detach())


@contextlib.contextmanager
def _forced(implementation: str):
    os.environ[VARIABLE] = implementation
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def _step() -> Contest:
    folder = tempfile.TemporaryDirectory()
    sides = []
    for implementation in ("cpp", "reference"):
        seed_generators(0)
        sides.append(Side(implementation, folder.name))

    def check(ours: float, theirs: float) -> None:
        assert abs(ours - theirs) <= TOLERANCE * abs(theirs), (ours, theirs)
        folder.cleanup()

    return Contest(sides[0].step, sides[1].step, check)


ROWS = (
    Row(
        "training-step",
        "training step of `configs/shapes/mask2former_tiny.yaml`",
        "the same with the reference operator",
        2,
        _step,
    ),
)
