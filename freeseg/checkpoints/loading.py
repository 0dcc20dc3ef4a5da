"""Loads the weights of any known release into a model, whatever file they come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detectron2.checkpoint import DetectionCheckpointer
from freeseg.checkpoints.reading import read_checkpoint, read_content, refuse_nan
from freeseg.checkpoints.systems import KEY_MAPS, detect_system

FOLDER_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
INDEX_SUFFIX = ".index.json"  # a file that names the files of a model in several parts


def weights_file(path: str) -> str:
    """The file that holds the weights in a folder of Hugging Face's; any other path as it is."""
    if not Path(path).is_dir():
        return path
    found = [Path(path) / name for name in FOLDER_FILES if (Path(path) / name).is_file()]
    return str(found[0]) if found else path


class ReleaseCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer that reads weights of `KEY_MAPS` too and runs no file's code.

    A file is a .pth, a .safetensors, Detectron2's .pkl, or a folder as Hugging Face publishes
    them. Which release its names belong to is seen from them. What a file and the model do not
    have in common is logged and remembered.
    """

    def __init__(self, model: nn.Module, save_dir: str = "", **arguments: Any) -> None:
        super().__init__(model, save_dir, **arguments)
        self.missing: list[str] = []
        self.unused: list[str] = []

    def load(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return super().load(weights_file(path) if path else path, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            content = self._read_pkl(filename)
        elif filename.endswith(INDEX_SUFFIX):
            content = {"model": read_weights(filename)}
        elif filename.endswith(".safetensors"):
            content = {"model": read_checkpoint(filename)}
        else:
            content = super()._load_file(filename)
        refuse_nan(content["model"], filename)
        system = None if content.get("matching_heuristics") else detect_system(content["model"])
        if system is not None:
            content["model"] = KEY_MAPS[system].convert(content["model"]).state
        return content

    def _torch_load(self, f: str) -> Any:
        content = read_content(f)
        if not isinstance(content, dict):
            raise ValueError(f"{f} holds no weights but {type(content).__name__}")
        if "model" not in content and "state_dict" in content:
            return {"model": content["state_dict"]}  # Lightning's, beside the state of its trainer
        return content

    def _read_pkl(self, filename: str) -> dict[str, Any]:
        data: dict[str, Any] = read_content(filename)
        if "model" in data and "__author__" in data:
            return data
        weights = data.get("blobs", data)  # Caffe2's, whose names are matched by their endings
        weights = {key: value for key, value in weights.items() if not key.endswith("_momentum")}
        return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}

    def refuse_misfit(self, path: str) -> None:
        """Complains about parameters that a loaded file left out, and weights it has beyond them.

        Raises:
            ValueError: With the first names of each.
        """
        parameters = {name for name, _ in self.model.named_parameters()}
        missing = sorted(parameters & set(self.missing))
        problems = []
        if missing:
            problems.append(
                f"{len(missing)} of its {len(parameters)} parameters are missing or of another "
                f"shape, the first is {missing[0]}"
            )
        if self.unused:
            problems.append(
                f"{len(self.unused)} weights are unknown to it, the first is {min(self.unused)}"
            )
        if problems:
            raise ValueError(f"weights {path} do not fit the model: {'; '.join(problems)}")

    def _load_model(self, checkpoint: Any) -> Any:
        incompatible = super()._load_model(checkpoint)
        self.missing = [
            *incompatible.missing_keys,
            *(entry[0] for entry in incompatible.incorrect_shapes),
        ]
        self.unused = list(incompatible.unexpected_keys)
        return incompatible


class StrictCheckpointer(ReleaseCheckpointer):
    """Leaves it to `refuse_misfit` to tell what a file and the model do not have in common."""

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        pass


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The weights of a file, or of all files that an index of Hugging Face's names."""
    path = Path(path)
    if not path.name.endswith(INDEX_SUFFIX):
        return read_checkpoint(path)
    state: dict[str, torch.Tensor] = {}
    for name in sorted(set(json.loads(path.read_text())["weight_map"].values())):
        state.update(read_checkpoint(path.parent / name))
    return state
