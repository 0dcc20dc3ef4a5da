"""From what a user calls a model to its configuration and its weights on this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from freeseg.model_loading import load_config
from freeseg.resources import resource
from freeseg.text.cache import cache_root
from freeseg.zoo.catalog import ModelCard, WeightsSource, card_of, load_catalog
from freeseg.zoo.download import DownloadError, check_file, download
from freeseg.zoo.hub import download_from_hub

CLASSES_FILE = "classes.json"  # names of a folder's classes, where the dataset need not be there
_TRAINED = ("model_final.pth", "model.safetensors", "model_best.pth")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelFiles:
    """A model that is here.

    Attributes:
        config: A yaml file, a folder of Hugging Face's, or a configuration.
        weights: A file or a folder; None where the configuration names it.
        card: What the catalogue says, for models that are in it.
    """

    config: CfgNode | str
    weights: str | None = None
    card: ModelCard | None = None


def find_model(name_or_path: str | os.PathLike[str], *, needs_weights: bool = True) -> ModelFiles:
    """Finds a model, and fetches its weights where they are not here yet.

    Args:
        name_or_path: A name of the catalogue, "owner/name" on the hub, a folder, a checkpoint with
            its config.yaml beside it, or a yaml file with MODEL.WEIGHTS.
        needs_weights: False where others take their place: then a configuration is enough.

    Raises:
        FileNotFoundError: There is no such model; the message says what was looked for.
        DownloadError: Its weights cannot be fetched.
    """
    name = os.fspath(name_or_path)
    if name in load_catalog():
        card = card_of(name)
        if card.config and not needs_weights:
            return ModelFiles(str(resource(card.config)), None, card)
        weights = local_weights(card.weights)
        config = str(resource(card.config)) if card.config else str(weights)
        return ModelFiles(config, str(weights), card)
    path = Path(name)
    if path.is_dir():
        return _in_folder(path, needs_weights)
    if path.is_file():
        return _beside(path)
    if _HUB_NAME.fullmatch(name) and path.suffix not in (".pth", ".yaml", ".safetensors", ".pkl"):
        folder = str(download_from_hub(name))
        return ModelFiles(folder, folder)
    card_of(name)  # says which names look alike
    raise AssertionError(name)


def find_configured(
    name_or_path: str | os.PathLike[str], opts: Sequence[str]
) -> tuple[ModelFiles, list[str]]:
    """Finds a model as `find_model`, and the overrides KEY VALUE ... that give it its weights.

    These are `opts` behind the model's own MODEL.WEIGHTS, which are not fetched where `opts` have
    others.
    """
    found = find_model(name_or_path, needs_weights="MODEL.WEIGHTS" not in opts[::2])
    own = [] if found.weights is None else ["MODEL.WEIGHTS", found.weights]
    return found, [*own, *opts]


def weights_path(name_or_path: str) -> str:
    """Returns where the weights of a model of the catalogue lie; any other path as it is.

    What lies at a path is taken even where a model has the same name.

    Raises:
        DownloadError: The weights are not here and cannot be fetched.
    """
    if name_or_path not in load_catalog() or Path(name_or_path).exists():
        return name_or_path
    return str(local_weights(card_of(name_or_path).weights))


def local_weights(source: WeightsSource) -> Path:
    """Returns where weights lie on this machine, after fetching them if need be.

    Raises:
        DownloadError: They cannot be fetched, or are not the published ones.
    """
    if source.kind == "file":
        path = resource(source.file)
        check_file(path, source.checksum, "install freeseg again, or fetch its large files")
        return path
    if source.kind == "hub":
        return download_from_hub(source.hub, source.revision, source.checksum)
    target = cache_root() / "models" / source.file_name
    if source.kind == "url":
        return download(source.url, target, source.checksum)
    if not target.is_file():
        raise DownloadError(
            f"{source.file_name} can only be downloaded by hand: open {source.page} and save the "
            f"file as {target}"
        )
    check_file(target, source.checksum, f"open {source.page} and save the file there again")
    return target


def _in_folder(folder: Path, needs_weights: bool) -> ModelFiles:
    if (folder / "config.json").is_file():  # Hugging Face's layout
        return ModelFiles(str(folder), str(folder))
    config = folder / "config.yaml"
    if not config.is_file():
        raise FileNotFoundError(
            f"folder {folder} has no model: wanted config.yaml and weights, as a training leaves "
            "them, or config.json of Hugging Face"
        )
    return _with_classes(config, str(_weights_in(folder)) if needs_weights else None)


def _weights_in(folder: Path) -> Path:
    for name in _TRAINED:
        if (folder / name).is_file():
            return folder / name
    last = folder / "last_checkpoint"  # of a training that goes on or was stopped
    if last.is_file() and (folder / last.read_text().strip()).is_file():
        return folder / last.read_text().strip()
    raise FileNotFoundError(f"folder {folder} has no weights: wanted {' or '.join(_TRAINED)}")


def _beside(path: Path) -> ModelFiles:
    if path.suffix in (".yaml", ".yml"):
        return ModelFiles(str(path))
    config = path.with_name("config.yaml")
    if not config.is_file():
        raise FileNotFoundError(
            f"{path} has no config.yaml beside it; name its configuration with --config-file (or "
            "Segmenter.from_config)"
        )
    return _with_classes(config, str(path))


def _with_classes(config: Path, weights: str | None) -> ModelFiles:
    """Names the classes by the folder's own list where it has one, else by the dataset."""
    classes = config.with_name(CLASSES_FILE)
    if not classes.is_file():
        return ModelFiles(str(config), weights)
    rows = json.loads(classes.read_text(encoding="utf-8"))
    dataset = f"classes of {config.parent.resolve()}"
    MetadataCatalog.pop(dataset, None)
    things = {row["id"]: label for label, row in enumerate(rows) if row["isthing"]}
    MetadataCatalog.get(dataset).set(
        stuff_classes=[row["name"] for row in rows],
        thing_classes=[row["name"] for row in rows if row["isthing"]],
        thing_dataset_id_to_contiguous_id=things,
        stuff_dataset_id_to_contiguous_id={row["id"]: label for label, row in enumerate(rows)},
        trainable_flag=[int(row.get("seen", True)) for row in rows],
    )
    cfg = load_config(config)
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (dataset,)
    cfg.DATASETS.CUSTOM = []
    return ModelFiles(cfg, weights)
