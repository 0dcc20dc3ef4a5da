"""A folder of stored outputs: the original's configuration, weights, input and results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detectron2.config import CfgNode, get_cfg
from freeseg.checkpoints import KEY_MAPS, read_checkpoint
from freeseg.config import add_freeseg_config


@dataclass(frozen=True)
class Golden:
    """What a folder holds.

    Attributes:
        folder: With model.safetensors, io.safetensors and what the system's run reads.
        tensors: Of io.safetensors: the input and every result.
        meta: Of meta.json; empty without one.
    """

    folder: Path
    tensors: dict[str, Tensor]
    meta: dict[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> Golden:
        """Reads all but the weights."""
        folder = Path(folder)
        meta = folder / "meta.json"
        return cls(
            folder,
            read_checkpoint(folder / "io.safetensors"),
            json.loads(meta.read_text()) if meta.is_file() else {},
        )

    def config(self) -> CfgNode:
        """config.yaml over our defaults, for the CPU; its keys that are unknown here are kept."""
        cfg = get_cfg()
        add_freeseg_config(cfg)
        cfg.set_new_allowed(True)
        cfg.merge_from_file(str(self.folder / "config.yaml"))
        cfg.MODEL.DEVICE = "cpu"
        return cfg

    def weights(self, system: str) -> dict[str, Tensor]:
        """The model's weights under our names, through the key map of a system."""
        state = read_checkpoint(self.folder / "model.safetensors")
        return KEY_MAPS[system].convert(state).state
