"""Loads the weights of any known release into a model, whatever file they come in."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.layers import FrozenBatchNorm2d
from freeseg.checkpoints.reading import (
    INDEX_SUFFIX,
    read_checkpoint,
    read_content,
    refuse_nan,
    unwrapped,
    without_prefix,
)
from freeseg.checkpoints.systems import KEY_MAPS, detect_system

logger = logging.getLogger(__name__)

# Of a folder of Hugging Face's; the first weights that are there are taken.
FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
MAX_LISTED = 3  # names of weights in a message, which may have thousands
CLASS_LAYER = "sem_seg_head.predictor.class_embed"  # one output per class, and one for none
# Buffers that follow from the configuration; releases have them, leave them out, or name them so.
COMPUTED = re.compile(
    r".*\.(num_batches_tracked|relative_position_index)|criterion\.empty_weight|pixel_(mean|std)"
)


def weights_file(path: str) -> str:
    """The file that holds the weights in a folder of Hugging Face's; any other path as it is.

    A "~" is the user's home.

    Raises:
        FileNotFoundError: The folder has none.
    """
    path = os.path.expanduser(path)
    if not Path(path).is_dir():
        return path
    found = [Path(path) / name for name in FOLDER_FILES if (Path(path) / name).is_file()]
    if not found:
        raise FileNotFoundError(
            f"{path} has no model.safetensors or pytorch_model.bin: name a file of weights, or "
            "copy one into this folder"
        )
    return str(found[0])


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
        self._shapes: dict[str, tuple[list[int], list[int]]] = {}  # file's and model's, that differ
        self._system: str | None = None  # whose names the loaded weights have

    def load(self, path: str, *args: Any, **kwargs: Any) -> Any:
        return super().load(weights_file(path) if path else path, *args, **kwargs)

    def get_checkpoint_file(self) -> str:
        """The checkpoint that ``last_checkpoint`` names, "" without that file.

        Raises:
            ValueError: It names one that is not there.
        """
        path: str = super().get_checkpoint_file()
        if path and not self.path_manager.isfile(path):
            raise ValueError(
                f"cannot resume: {Path(self.save_dir) / 'last_checkpoint'} names {path}, which "
                "does not exist; write the name of a checkpoint that does into it"
            )
        return path

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            content = self._read_pkl(filename)
        else:
            content = super()._load_file(filename)
        _require_weights(content["model"], filename)
        content["model"] = without_prefix(unwrapped(content["model"]))
        refuse_nan(content["model"], filename)
        system = None if content.get("matching_heuristics") else detect_system(content["model"])
        if system is not None:
            content["model"] = KEY_MAPS[system].convert(content["model"]).state
        return content

    def _torch_load(self, f: str) -> Any:
        if f.endswith((".safetensors", INDEX_SUFFIX)):
            return {"model": read_checkpoint(f)}
        content = read_content(f)
        _require_weights(content, f)
        if "model" not in content and "state_dict" in content:
            return {"model": content["state_dict"]}  # Lightning's, beside the state of its trainer
        return content

    def _read_pkl(self, filename: str) -> dict[str, Any]:
        data: dict[str, Any] = read_content(filename)
        _require_weights(data, filename)
        if "model" in data and "__author__" in data:
            return data
        weights = data.get("blobs", data)  # Caffe2's, whose names are matched by their endings
        _require_weights(weights, filename)
        weights = {key: value for key, value in weights.items() if not key.endswith("_momentum")}
        return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}

    def misfit(self) -> str:
        """What the loaded file left out of the model's weights and has beyond them, in one line.

        Weights are parameters and buffers that are no `COMPUTED` ones. Empty where the file fits.
        """
        own = detect_system(self.model.state_dict())
        if self.missing and self._system and own and self._system != own:
            return f"these are weights of {self._system}, the model is {own}"
        problems, missing = [], self.missing
        known, wanted = (
            shape[0] - 1 for shape in self._shapes.get(f"{CLASS_LAYER}.weight", ([1], [1]))
        )
        if known != wanted:
            problems.append(f"they are of {known} classes, the model has {wanted}")
            missing = [name for name in missing if not name.startswith(CLASS_LAYER)]
        if missing:
            count = len(_trained(self.model.state_dict()))
            problems.append(
                f"{len(missing)} of its {count} weights are missing or of another shape: "
                f"{self._with_shapes(missing)}"
            )
        if self.unused:
            problems.append(
                f"{len(self.unused)} weights are unknown to it: {_listed(sorted(self.unused))}"
            )
        return "; ".join(problems)

    def _with_shapes(self, names: Collection[str]) -> str:
        """The first names; before others go those of which the file has another shape."""
        reshaped = [
            f"{name} {found}, wanted {wanted}"
            for name, (found, wanted) in self._shapes.items()
            if name in names
        ]
        return _listed([*sorted(reshaped), *sorted(set(names) - self._shapes.keys())])

    def check_fit(self, path: str, *, allow_misfit: bool = False) -> None:
        """Complains about a `misfit` of the file that was loaded, or just logs it where allowed.

        Raises:
            ValueError: With the first names of what is missing and of what is unknown.
        """
        misfit = self.misfit()
        if not misfit:
            return
        message = f"weights {path} do not fit the model: {misfit}"
        if not allow_misfit:
            raise ValueError(message)
        logger.warning(message)

    def _load_model(self, checkpoint: Any) -> Any:
        weights, is_matched = checkpoint["model"], checkpoint.get("matching_heuristics", False)
        self._system = None if is_matched else detect_system(weights)
        incompatible = super()._load_model(checkpoint)
        self._shapes = {
            name: (list(found), list(wanted))
            for name, found, wanted in incompatible.incorrect_shapes
        }
        missing = {*incompatible.missing_keys, *self._shapes}
        if not is_matched:  # Caffe2's norms have their statistics inside their weights
            missing.update(name for name in self._frozen_statistics() if name not in weights)
        self.missing = _trained(sorted(missing))
        self.unused = list(incompatible.unexpected_keys)
        return incompatible

    def _frozen_statistics(self) -> list[str]:
        """Buffers that their own module fills in, unasked, where a file does not have them."""
        return [
            f"{name}.{statistic}"
            for name, module in self.model.named_modules()
            if isinstance(module, FrozenBatchNorm2d)
            for statistic in ("running_mean", "running_var")
        ]


class StrictCheckpointer(ReleaseCheckpointer):
    """Leaves it to its user to tell what a file and the model do not have in common."""

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        pass


def _require_weights(content: Any, path: str) -> None:
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds no weights but {type(content).__name__}")
    if not content:
        raise ValueError(f"{path} holds no weights")
    odd = next((key for key in content if not isinstance(key, str)), None)
    if odd is not None:
        raise ValueError(f"{path} holds no weights: wanted names, got {odd!r}")


def _trained(names: Collection[str]) -> list[str]:
    """Those of weights that only a file can bring."""
    return [name for name in names if not COMPUTED.fullmatch(name)]


def _listed(names: Sequence[str]) -> str:
    further = len(names) - MAX_LISTED
    shown = ", ".join(names[:MAX_LISTED])
    return f"{shown} and {further} more" if further > 0 else shown
