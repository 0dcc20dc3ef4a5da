"""Loads weights, by their path or the name of their model, into a built model."""

from __future__ import annotations

import logging

from torch import nn

from freeseg.checkpoints import StrictCheckpointer, reason_of, weights_file
from freeseg.model_loading import existing_file
from freeseg.zoo import weights_path

logger = logging.getLogger(__name__)


def find_weights(name_or_path: str) -> str:
    """Returns the path of weights, which is there, or their address.

    Args:
        name_or_path: As `load_weights` takes it, and not empty.

    Raises:
        FileNotFoundError: There is no such file.
        DownloadError: The weights of a name are not here and cannot be fetched.
    """
    path = weights_path(name_or_path)
    if "://" not in path:
        existing_file(weights_file(path), "weights file")
    return path


def load_weights(model: nn.Module, name_or_path: str, *, allow_misfit: bool = False) -> None:
    """Loads a checkpoint of any known format into a model.

    Refuses one that leaves a weight untrained or has weights the model does not; with
    `allow_misfit` these are logged.

    Args:
        model: As its configuration builds it.
        name_or_path: A file, an address, a folder of Hugging Face's, or a name of `freeseg models`;
            an empty one leaves the model untrained.
        allow_misfit: See above.

    Raises:
        FileNotFoundError: There is no such file.
        DownloadError: The weights of a name are not here and cannot be fetched.
        ValueError: They cannot be used; one line says why.
    """
    if not name_or_path:
        logger.warning("the model has no weights: it is untrained")
        return
    path = find_weights(name_or_path)
    checkpointer = StrictCheckpointer(model)
    try:
        checkpointer.load(path)
    except Exception as error:  # whatever unpickling a broken file comes up with
        raise ValueError(f"cannot load weights {path}: {reason_of(error)}") from error
    checkpointer.check_fit(path, allow_misfit=allow_misfit)
