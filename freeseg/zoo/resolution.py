"""From what a user calls a model to its configuration and its weights on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from freeseg.checkpoints import weights_file
from freeseg.classes import class_list_of
from freeseg.resources import local_path, resource
from freeseg.systems.building import load_config
from freeseg.zoo.download import DownloadError, check_file, download
from freeseg.zoo.hub import download_from_hub
from freeseg.zoo.published import with_test_settings
from freeseg_command.cache import cache_root
from freeseg_command.catalog import ModelCard, WeightsSource, card_of, load_catalog

_TRAINED = ("model_final.pth", "model.safetensors", "model_best.pth")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelFiles:
    """A model that is here.

    Attributes:
        config: A yaml file, a folder of Hugging Face's, or a configuration.
        weights: A file or a folder; None where the configuration names it.
        card: What the catalogue says, for models that are in it.
        classes: Where the list of its classes lies that its training has written; "" where there
            is none, and the training set of the configuration says.
    """

    config: CfgNode | str
    weights: str | None = None
    card: ModelCard | None = None
    classes: str = ""

    def read_config(self) -> CfgNode:
        """The configuration, not frozen, with the list of the classes."""
        cfg = load_config(self.config) if isinstance(self.config, str) else self.config.clone()
        cfg.defrost()
        cfg.MODEL.CLASSES = self.classes or cfg.MODEL.CLASSES
        return cfg

    def known_of_weights(self) -> list[str | float]:
        """KEY VALUE ... of a configuration that says of the weights what the catalogue does."""
        if self.card is None:
            return []
        known: list[str | float] = []
        known += ["MODEL.KNOWS", self.card.knows] if self.card.knows else []
        known += ["TEST.UNSURE_BELOW", self.card.unsure_below] if self.card.unsure_below else []
        return known


def find_model(name_or_path: str | os.PathLike[str], *, needs_weights: bool = True) -> ModelFiles:
    """Finds a model, and fetches its weights where they are not here yet.

    Args:
        name_or_path: A name of the catalogue, "owner/name" on the hub, a folder, a checkpoint with
            its config.yaml beside it, or a yaml file with MODEL.WEIGHTS, also ``freeseg://...``.
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
        return ModelFiles(_config_of(card, weights), str(weights), card)
    path = Path(local_path(name))
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
    others, behind what is known of these weights, and behind MODEL.CLASSES.
    """
    has_own_weights = "MODEL.WEIGHTS" not in opts[::2]
    found = find_model(name_or_path, needs_weights=has_own_weights)
    own = [] if found.weights is None else ["MODEL.WEIGHTS", found.weights]
    own += [str(item) for item in found.known_of_weights()] if has_own_weights else []
    own += ["MODEL.CLASSES", found.classes] if found.classes else []
    return found, [*own, *opts]


def holds_model(folder: Path) -> bool:
    """Whether a folder has a configuration and weights, as a training leaves them."""
    try:
        return bool(_in_folder(folder, needs_weights=True))
    except FileNotFoundError:
        return False


def weights_path(name_or_path: str) -> str:
    """Returns where the weights of a model of the catalogue lie; any other path is that itself.

    What lies at a path is taken even where a model has the same name.

    Raises:
        DownloadError: The weights are not here and cannot be fetched.
    """
    if name_or_path not in load_catalog() or Path(name_or_path).exists():
        return os.path.expanduser(name_or_path)
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


def _config_of(card: ModelCard, weights: Path) -> CfgNode | str:
    if card.config:
        return str(resource(card.config))
    if not card.settings:
        return str(weights)
    return with_test_settings(load_config(weights), load_config(resource(card.settings)))


def _in_folder(folder: Path, needs_weights: bool) -> ModelFiles:
    if (folder / "config.json").is_file():  # Hugging Face's layout
        if needs_weights:
            weights_file(str(folder))  # says what is not there
        return ModelFiles(str(folder), str(folder))
    config = folder / "config.yaml"
    if not config.is_file():
        raise FileNotFoundError(
            f"folder {folder} has no model: wanted config.yaml and weights, as a training leaves "
            "them, or config.json of Hugging Face"
        )
    weights = str(_weights_in(folder)) if needs_weights else None
    return ModelFiles(str(config), weights, classes=class_list_of(weights or folder))


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
    port = path.with_name("config.json")
    if port.is_file() and not config.is_file():  # a file of Hugging Face's folder
        folder = str(path.parent)
        return ModelFiles(folder, folder if path.samefile(port) else str(path))
    if not config.is_file():
        raise FileNotFoundError(
            f"{path} has no config.yaml beside it; name its configuration with --config-file (or "
            "Segmenter.from_config)"
        )
    return ModelFiles(str(config), str(path), classes=class_list_of(path))
