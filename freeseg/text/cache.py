"""Keeps text features in memory and on the disk, so that a class list is encoded once, ever.

Shapes: T texts, D feature size.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from freeseg.files import write_bytes
from freeseg_command.cache import cache_root

FORMAT = "2"  # raise it when files of an earlier form must not be read
MAX_FILES = 256  # about 2 MB each for a thousand classes; the least recently used go first

logger = logging.getLogger(__name__)
Computed = TypeVar("Computed")


@dataclass(frozen=True)
class TextKey:
    """Everything that text features depend on.

    Attributes:
        encoder: `TextEncoder.identity`, which names the kind and the weights.
        prompts: The kind and the weights of what writes prompts around the texts.
        task: The task's name; empty where prompts are the same for all tasks.
        texts: The texts in the order of the features' rows.
    """

    encoder: str
    prompts: str
    task: str
    texts: tuple[str, ...]

    def digest(self) -> str:
        """A name for files, the same in every process."""
        content = json.dumps([FORMAT, *asdict(self).values()])
        return hashlib.blake2b(content.encode(), digest_size=20).hexdigest()


def default_folder() -> Path:
    """Where text features are kept."""
    return cache_root() / "text_features"


class TextFeatureCache:
    """The features of recent keys in memory, and of all recent processes' keys on the disk.

    What is computed with other weights has another key, so nothing here can be out of date. Of
    several threads that ask at once, one computes and the others wait.
    """

    def __init__(self, folder: Path | None = None, max_entries: int = 64) -> None:
        """Starts empty.

        Args:
            folder: For files; None keeps features in memory only.
            max_entries: How many keys are kept in memory, the least recently used go first.
        """
        self.folder = folder
        self.max_entries = max_entries
        self._entries: OrderedDict[tuple[TextKey, str], Tensor] = OrderedDict()
        self._lock = threading.RLock()

    def get(
        self, key: TextKey, compute: Callable[[], Tensor], device: torch.device | str = "cpu"
    ) -> Tensor:
        """Features [T, D] of a key on a device, computed only where they are known nowhere.

        They carry no gradients: who trains prompts has to encode, not to ask here. They have the
        weights' precision, whatever autocast says around the call.
        """
        with self._lock:
            place = (key, str(device))
            features = self._entries.get(place)
            if features is None:
                features = self._from_disk(key)
                if features is None:
                    features = without_gradients(compute, torch.device(device).type).detach()
                    self._to_disk(key, features)
                features = self._entries[place] = features.to(device)
            self._entries.move_to_end(place)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
            return features

    def clear(self) -> None:
        """Forgets what is in memory; files stay."""
        with self._lock:
            self._entries.clear()

    def _from_disk(self, key: TextKey) -> Tensor | None:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            features = _read(path)
            os.utime(path)  # recently used
        except (OSError, ValueError, SafetensorError) as error:
            logger.warning("%s is damaged (%s): its text features are computed again", path, error)
            return None
        return features if len(features) == len(key.texts) else None

    def _to_disk(self, key: TextKey, features: Tensor) -> None:
        path = self._path(key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, features, key)
            _remove_oldest(path.parent, MAX_FILES)
        except OSError as error:
            logger.warning("text features are kept in memory only: %s", error)
            self.folder = None

    def _path(self, key: TextKey) -> Path | None:
        return self.folder / f"{key.digest()}.safetensors" if self.folder else None


def without_gradients(compute: Callable[[], Computed], device_type: str) -> Computed:
    """What `compute` gives for keeping, in the weights' precision, whatever is around the call.

    Neither in inference mode nor in low precision: what is kept may be used elsewhere later.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
        return compute()


def _read(path: Path) -> Tensor:
    with safe_open(path, framework="pt") as file:
        # a copy, for the file's own pages change with whatever is written over it
        features: Tensor = file.get_tensor("features").clone()
        checksum = (file.metadata() or {}).get("checksum")
    if checksum != _checksum(features):
        raise ValueError("its checksum is wrong")
    return features


def _write(path: Path, features: Tensor, key: TextKey) -> None:
    """Writes a file, of which another process reads all or none."""
    features = features.cpu().contiguous()
    about = {
        "checksum": _checksum(features),
        "encoder": key.encoder,
        "prompts": key.prompts,
        "task": key.task,
    }
    write_bytes(path, save({"features": features}, about))


def _checksum(features: Tensor) -> str:
    values = features.reshape(-1).view(torch.uint8).numpy().data
    return hashlib.blake2b(values, digest_size=16).hexdigest()


def _remove_oldest(folder: Path, max_files: int) -> None:
    files = sorted(folder.glob("[!.]*.safetensors"), key=_time_of_use, reverse=True)
    for path in files[max_files:]:
        path.unlink(missing_ok=True)


def _time_of_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just removed it
        return 0.0
