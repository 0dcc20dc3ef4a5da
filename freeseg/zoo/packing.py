"""Models as folders that need nothing else, and weights of releases under this package's names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freeseg.checkpoints import (
    KEY_MAPS,
    convert_file,
    detect_system,
    read_checkpoint,
    weights_file,
    write_checkpoint,
)
from freeseg.classes import class_list_of, model_vocabulary, read_class_list, write_class_list
from freeseg.data import register_custom
from freeseg.files import write_text
from freeseg.resources import local_path
from freeseg.structures import class_rows
from freeseg.zoo.fit import check_fit
from freeseg.zoo.resolution import find_model

_SUFFIXES = (".pth", ".safetensors")


def convert_model(
    source: str | os.PathLike[str],
    output: Path,
    system: str | None = None,
    *,
    half: bool = False,
    keep: Sequence[str] = (),
) -> dict[str, Any]:
    """Writes a model's weights as a file, or the model as a folder; returns what was done.

    Args:
        source: A file of weights, or, for a folder, what `find_model` takes.
        output: A .pth or .safetensors file; anything else is a folder.
        system: A key of `KEY_MAPS`; seen from the weights' names when None.
        half: Write half-precision values, in half the room.
        keep: What our names of the weights to keep begin with; all when empty.

    Raises:
        ValueError: The weights are of no known release or not of their configuration, or a folder
            is to have only some.
    """
    if output.suffix not in _SUFFIXES:
        if keep:
            raise ValueError("a folder has all weights: --keep needs a .pth or .safetensors file")
        return pack_model(source, output, half=half)
    path = Path(local_path(source))
    file = str(path)
    if not path.is_file():
        found = find_model(source)
        file = weights_file(found.weights or "")
        check_fit(found.read_config(), file)
    system = system or detect_system(read_checkpoint(file))
    if system is None:
        raise ValueError(f"{file} has the names of no known release: {', '.join(KEY_MAPS)}")
    listed = class_list_of(file)
    rows = class_rows(read_class_list(listed)) if listed else None
    conversion = convert_file(system, file, output, half=half, keep=keep or ("",), classes=rows)
    return {
        "output": str(output),
        "from": system,
        "tensors": len(conversion.state),
        "renamed": conversion.renamed,
        "left_out": list(conversion.dropped),
    }


def pack_model(
    source: str | os.PathLike[str], folder: Path, *, half: bool = False
) -> dict[str, Any]:
    """Writes config.yaml, model.safetensors and classes.json into a folder.

    What a training's checkpoint has beside the weights is left out, and the dataset is no longer
    needed: the folder names the classes itself.

    Raises:
        ValueError: The weights are not of their configuration.
    """
    found = find_model(source)
    cfg = found.read_config()
    if not cfg.MODEL.CLASSES:
        register_custom(cfg.DATASETS.CUSTOM)
    weights = weights_file(found.weights or cfg.MODEL.WEIGHTS)
    classes = model_vocabulary(check_fit(cfg, weights), cfg)
    state = read_checkpoint(weights)
    system = detect_system(state)
    if system is not None:
        state = KEY_MAPS[system].convert(state).state
    write_class_list(class_rows(classes), folder)
    write_checkpoint(state, folder / "model.safetensors", half=half)
    cfg.merge_from_list(found.known_of_weights())
    cfg.MODEL.WEIGHTS = cfg.MODEL.CLASSES = ""
    cfg.DATASETS.CUSTOM, cfg.OUTPUT_DIR = [], "./output"  # Detectron2's default, no maker's folder
    write_text(folder / "config.yaml", cfg.dump())
    return {"output": str(folder), "tensors": len(state), "from": system or ""}
