"""Checkpointer that reads published weights of several formats and never runs their code."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, urlparse

import torch
from fvcore.common.checkpoint import Checkpointer

import detectron2.utils.comm as comm
from detectron2.utils.file_io import PathManager

from ._safe_pickle import load_pickle, load_torch
from .c2_model_loading import align_and_update_state_dicts

__all__ = ["DetectionCheckpointer"]


class DetectionCheckpointer(Checkpointer):
    """Loads ``.pth``, ``.pkl`` and ``.pyth`` files.

    ``path?matching_heuristics=True`` matches names by their longest common ending. Files written
    by this class are complete or absent: they get their name after the last byte.
    """

    def __init__(self, model, save_dir="", *, save_to_disk=None, **checkpointables):
        """Set up the checkpointer.

        Args:
            model: whose weights are saved and loaded.
            save_dir: directory to save in, and to find the last checkpoint in.
            save_to_disk: by default only the main process saves.
            **checkpointables: other objects with ``state_dict`` and ``load_state_dict``.
        """
        if save_to_disk is None:
            save_to_disk = comm.is_main_process()
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.path_manager = PathManager
        self._queries = None  # of the address that is being loaded

    def load(self, path, *args, **kwargs):
        """Load a checkpoint.

        Args:
            path: file or address; nothing is loaded when it is empty.
            *args: further arguments of fvcore's ``Checkpointer.load``.
            **kwargs: likewise.

        Returns:
            What the file holds beyond the loaded objects.
        """
        assert self._queries is None, "load() is already running"
        self.logger.info(f"[DetectionCheckpointer] Loading from {path} ...")
        try:
            if path:
                address = urlparse(path)
                self._queries = parse_qs(address.query)
                path = self.path_manager.get_local_path(address._replace(query="").geturl())
            return super().load(path, *args, **kwargs)
        finally:
            self._queries = None

    def save(self, name, **kwargs):
        """Save everything as ``<name>.pth`` and remember it as the last checkpoint."""
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict()}
        data.update((key, obj.state_dict()) for key, obj in self.checkpointables.items())
        data.update(kwargs)
        file = f"{name}.pth"
        assert os.path.basename(file) == file, f"{name} must be a name without directories"
        self.logger.info(f"Saving checkpoint to {os.path.join(self.save_dir, file)}")
        self._write(file, "wb", lambda stream: torch.save(data, stream))
        self.tag_last_checkpoint(file)

    def tag_last_checkpoint(self, last_filename_basename):
        """Remember the name of the last checkpoint file."""
        self._write("last_checkpoint", "w", lambda stream: stream.write(last_filename_basename))

    def _write(self, file, mode, write):
        path = os.path.join(self.save_dir, file)
        is_local = "://" not in self.save_dir
        target = f"{path}.partial" if is_local else path
        with self.path_manager.open(target, mode) as stream:
            write(stream)
            if is_local:
                stream.flush()
                os.fsync(stream.fileno())
        if is_local:
            os.replace(target, path)

    def _load_file(self, filename):
        if filename.endswith(".pkl"):
            return self._load_pkl(filename)
        if filename.endswith(".pyth"):
            return self._load_pycls(filename)
        loaded = self._torch_load(filename)
        if "model" not in loaded:
            loaded = {"model": loaded}
        queries = dict(self._queries or {})
        if queries.pop("matching_heuristics", ["False"]) == ["True"]:
            loaded["matching_heuristics"] = True
        if queries:
            raise ValueError(f"Unsupported query remaining: {queries}, file name: {filename}")
        return loaded

    def _load_pkl(self, filename):
        with PathManager.open(filename, "rb") as file:
            data = load_pickle(file)
        if "model" in data and "__author__" in data:
            self.logger.info(f"Reading a file from '{data['__author__']}'")
            return data
        # Otherwise it is from Caffe2; detection models hold their weights in "blobs".
        weights = data.get("blobs", data)
        weights = {k: v for k, v in weights.items() if not k.endswith("_momentum")}
        return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}

    def _load_pycls(self, filename):
        data = self._torch_load(filename)
        assert "model_state" in data, f"{filename} is not from pycls: it has no 'model_state'"
        weights = {
            k: v for k, v in data["model_state"].items() if not k.endswith("num_batches_tracked")
        }
        return {"model": weights, "__author__": "pycls", "matching_heuristics": True}

    def _torch_load(self, f):
        return load_torch(f)

    def _load_model(self, checkpoint):
        if checkpoint.get("matching_heuristics", False):
            self._convert_ndarray_to_tensor(checkpoint["model"])
            checkpoint["model"] = align_and_update_state_dicts(
                self.model.state_dict(),
                checkpoint["model"],
                c2_conversion=checkpoint.get("__author__") == "Caffe2",
            )
        incompatible = super()._load_model(checkpoint)
        # These come from the config and from the anchor sizes when an older file lacks or has them.
        buffers = dict(self.model.named_buffers(recurse=False))
        expected = {name for name in ("pixel_mean", "pixel_std") if name in buffers}
        missing, unexpected = incompatible.missing_keys, incompatible.unexpected_keys
        missing[:] = [k for k in missing if k not in expected]
        unexpected[:] = [k for k in unexpected if "anchor_generator.cell_anchors" not in k]
        return incompatible
