"""A folder of stored outputs: the original's configuration, weights, input and results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from detectron2.config import CfgNode, get_cfg
from freeseg.checkpoints import StrictCheckpointer, convert_state, read_checkpoint
from freeseg.config import add_freeseg_config

META = "meta.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Golden:
    """What a folder holds.

    Attributes:
        folder: With model.safetensors, io.safetensors and what the system's run reads.
        tensors: Of io.safetensors: the input and every result.
        weights: The model's, under our names.
        meta: Of meta.json; empty without one.
    """

    folder: Path
    tensors: dict[str, Tensor]
    weights: dict[str, Tensor]
    meta: dict[str, Any]

    @classmethod
    def read(cls, folder: str | Path, system: str) -> Golden:
        """Reads a folder of a system.

        Raises:
            ValueError: When the weights are those of another one.
            FileNotFoundError: Where the folder or a file in it does not exist.
        """
        folder = Path(folder)
        meta, weights = folder / META, folder / WEIGHTS
        return cls(
            folder,
            read_checkpoint(folder / "io.safetensors"),
            convert_state(system, read_checkpoint(weights), weights).state,
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

    def about(self, key: str) -> Any:
        """What meta.json says of a model that its configuration does not.

        Raises:
            ValueError: When it says nothing of it.
        """
        if key not in self.meta:
            raise ValueError(f"{self.folder / META} is not there or has no {key!r}")
        return self.meta[key]

    def fill(self, model: nn.Module) -> None:
        """Loads the weights into a model.

        Raises:
            ValueError: When they do not fit.
        """
        path = str(self.folder / WEIGHTS)
        checkpointer = StrictCheckpointer(model)
        checkpointer.load(path)
        checkpointer.check_fit(path)
