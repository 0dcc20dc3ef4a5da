"""Models by name: what is published or comes with this package, and where its weights are."""

from freeseg.zoo.description import describe_model
from freeseg.zoo.download import ChecksumError, DownloadError
from freeseg.zoo.packing import convert_model
from freeseg.zoo.resolution import (
    ModelFiles,
    find_configured,
    find_model,
    holds_model,
    local_weights,
    weights_path,
)
from freeseg_command.catalog import CLOSED_MODEL, DEFAULT_MODEL, ModelCard, card_of, load_catalog
from freeseg_command.table import model_rows, models_table

__all__ = [
    "CLOSED_MODEL",
    "DEFAULT_MODEL",
    "ChecksumError",
    "DownloadError",
    "ModelCard",
    "ModelFiles",
    "card_of",
    "convert_model",
    "describe_model",
    "find_configured",
    "find_model",
    "holds_model",
    "load_catalog",
    "local_weights",
    "model_rows",
    "models_table",
    "weights_path",
]
