"""What a model or a checkpoint file is, read from the file itself and from the catalogue."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from freeseg.checkpoints import (
    KEY_MAPS,
    detect_system,
    read_checkpoint,
    refuse_nan,
    weights_file,
)
from freeseg.resources import local_path, resource
from freeseg.zoo.download import DownloadError, digest_of
from freeseg.zoo.fit import check_fit
from freeseg.zoo.resolution import ModelFiles, find_model, local_weights
from freeseg.zoo.settings import describe_settings
from freeseg_command.catalog import ModelCard, load_catalog
from freeseg_command.table import state_of


def describe_model(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what is known of a model, as JSON can hold it; "weights" is None if not here.

    Args:
        name_or_path: As `find_model` takes it; a checkpoint may also stand alone.

    Raises:
        FileNotFoundError: There is no such model.
        ValueError: The file holds no weights.
    """
    card = load_catalog().get(os.fspath(name_or_path))
    if card is not None and not _are_here(card):
        config = str(resource(card.config or card.settings))
        return _about(card.name, None, card, ModelFiles(config, None, card))
    path = Path(local_path(name_or_path))
    beside = (path.with_name(name).is_file() for name in ("config.yaml", "config.json"))
    is_alone = path.is_file() and not any(beside)
    is_weights = is_alone and path.suffix not in (".yaml", ".yml")
    found = ModelFiles("", str(path)) if is_weights else find_model(name_or_path)
    if found.weights is None:
        raise ValueError(
            f"{name_or_path} is a configuration and holds no weights; name a model or its weights"
        )
    weights = describe_weights(Path(weights_file(found.weights)))
    card = found.card or _card_by_content(weights["sha256"])
    return _about(os.fspath(name_or_path), weights, card, found)


def _are_here(card: ModelCard) -> bool:
    """Whether the weights lie on this machine; what is on the hub is asked of its cache."""
    if card.weights.kind != "hub":
        return state_of(card.weights) in ("bundled", "downloaded")
    try:
        local_weights(card.weights)
    except DownloadError:
        return False
    return True


def _about(
    name: str, weights: dict[str, Any] | None, card: ModelCard | None, found: ModelFiles
) -> dict[str, Any]:
    about: dict[str, Any] = {"model": name, "weights": weights}
    if card is not None:
        about.update({key: value for key, value in asdict(card).items() if key != "weights"})
    if found.config == "":  # weights alone
        return about
    cfg = found.read_config()
    settings = describe_settings(found, cfg)
    if "classes" in settings:
        about["classes"] = settings["classes"]["value"]
    if weights is not None:
        weights["problem"] = weights["problem"] or _complaint(check_fit, cfg, weights["file"])
    return {**about, "settings": settings}


def _complaint(check: Callable[..., object], *arguments: Any) -> str:
    try:
        check(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def describe_weights(file: Path) -> dict[str, Any]:
    """Returns size, checksum, origin and parts of a file of weights, and what is wrong with it."""
    state = read_checkpoint(file)
    system = detect_system(state)
    parts: Counter[str] = Counter()
    for key, value in state.items():
        parts[_part_of(key)] += value.numel()
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": digest_of(file, "sha256"),
        "release": f"{system} ({KEY_MAPS[system].source})" if system else "",
        "tensors": len(state),
        "parameters": sum(value.numel() for value in state.values()),
        "dtypes": sorted({str(value.dtype).removeprefix("torch.") for value in state.values()}),
        "parts": dict(parts.most_common()),
        "problem": _complaint(refuse_nan, state, file),
        "keys": {key: _shape(value) for key, value in state.items()},
    }


def _part_of(key: str) -> str:
    """The first two names of a weight inside the head, the first of any other."""
    names = key.split(".")
    return ".".join(names[:2] if names[0] == "sem_seg_head" else names[:1])


def _shape(value: Tensor) -> list[int]:
    return list(value.shape)


def _card_by_content(sha256: str) -> ModelCard | None:
    """The model of the catalogue that a file is."""
    known = {card.weights.sha256: card for card in load_catalog().values() if card.weights.sha256}
    return known.get(sha256)
