"""Which classes a model predicts, and in which order.

The one place for this question; `freeseg.class_matching` says which of them a dataset's are. A
model's classes are those it was trained on: the list beside its checkpoint, else that of the
training set. Once it is built, its `vocabulary` says them.

Shapes: K classes of a model.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.catalog import dataset_metadata, dataset_vocabulary
from freeseg.checkpoints import read_content
from freeseg.config import default_tasks
from freeseg.files import write_text
from freeseg.names import registered
from freeseg.structures import (
    CLASSES_FILE,
    CLASSES_KEY,
    JUDGED_TASKS,
    Vocabulary,
    answered_tasks,
    read_class_rows,
    takes_classes,
    vocabulary_of_rows,
)
from freeseg.structures.class_list import clean_name

UNNAMED = Vocabulary(("object",), (True,))  # what is found by systems without classes
AUTO = 0  # MODEL.SEM_SEG_HEAD.NUM_CLASSES: as many as the training set lists

logger = logging.getLogger(__name__)


def knows_classes(cfg: CfgNode) -> bool:
    """Whether the configured system has classes; one that has none takes datasets of any."""
    system = registered(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE)
    return not set(JUDGED_TASKS).isdisjoint(answered_tasks(system))


def evaluated_tasks(cfg: CfgNode) -> tuple[str, ...]:
    """Tasks that the configuration has on; the one of a system that has no other."""
    system = registered(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE)
    known = [task for task in answered_tasks(system) if task in JUDGED_TASKS]
    return (known[0],) if len(known) == 1 else default_tasks(cfg)


def has_masks(cfg: CfgNode) -> bool:
    """Whether the configured system finds masks; else its instances and objects are boxes."""
    system = registered(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE)
    return bool(getattr(system, "has_masks", True))


def trained_vocabulary(cfg: CfgNode) -> Vocabulary | None:
    """The classes of the configured model in the order of its outputs, None where nobody names any.

    They are those of MODEL.CLASSES, a list that a training has written, else of the first of
    DATASETS.TRAIN, or of DATASETS.TEST where a configuration has no training set.
    """
    return next(iter(training_vocabularies(cfg).values()), None)


def training_vocabularies(cfg: CfgNode) -> dict[str, Vocabulary]:
    """The classes of every such set that names some, by its name; none where they do not count."""
    if not knows_classes(cfg):
        return {}
    names = [name for name in cfg.DATASETS.TRAIN or cfg.DATASETS.TEST if name]
    path = cfg.MODEL.get("CLASSES", "")
    if path:
        return {names[0] if names else "": read_class_list(path)}
    lists = {name: dataset_vocabulary(name) for name in names}
    return {name: classes for name, classes in lists.items() if classes is not None}


def closed_vocabulary(cfg: CfgNode) -> Vocabulary:
    """The K = NUM_CLASSES classes of a model that knows no others; without names they are numbered.

    NUM_CLASSES 0 stands for as many as there are names, as any number does for a model that takes
    any classes: FreeSeg's published configurations give that of the seen ones.
    """
    known, number = trained_vocabulary(cfg), cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if known is not None and (number in (AUTO, len(known)) or config_takes_classes(cfg)):
        return known
    datasets = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    metadata = dataset_metadata(datasets[0]) if datasets else {}
    numbered = Vocabulary.from_metadata(metadata, number)  # what is known without names
    if not set(numbered.names) & set(metadata.get("thing_classes") or ()):
        source = datasets[0] if datasets else "DATASETS.TRAIN is empty"
        logger.warning("no names for %d classes (%s): they are numbered", number, source)
    return numbered


def model_vocabulary(model: nn.Module | None, cfg: CfgNode | None = None) -> Vocabulary:
    """The classes of a built model, in the order of its outputs.

    A system says them itself; what one without classes finds is an "object". Of another model, or
    of none, the configuration says them.

    Raises:
        ValueError: Nobody says them.
    """
    own = getattr(model, "vocabulary", None)
    if isinstance(own, Vocabulary):
        return own
    if own is None and getattr(model, "answers", None) is not None:
        return UNNAMED
    if cfg is None:
        raise ValueError(f"{type(model).__name__} has no vocabulary of its own: give the argument")
    return trained_vocabulary(cfg) or closed_vocabulary(cfg)


def fixed_vocabulary(cfg: CfgNode) -> Vocabulary | None:
    """The only classes that the configured model predicts.

    None where it may be asked for others, or where nobody names them.
    """
    return None if config_takes_classes(cfg) else trained_vocabulary(cfg)


def config_takes_classes(cfg: CfgNode) -> bool:
    """Whether the configured system may be asked for other classes than the trained ones."""
    return takes_classes(registered(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE))


def refuse_shared_texts(classes: Vocabulary, source: str) -> None:
    """Refuses a list of which two classes have one text, up to capitals, for a text encoder.

    Args:
        classes: The list.
        source: Whose it is, for the message.

    Raises:
        ValueError: Such classes read alike, so none of their regions can be told apart.
    """
    owners: dict[str, int] = {}
    for label, texts in enumerate(classes.synonyms):
        for text in texts:
            owner = owners.setdefault(clean_name(text).casefold(), label)
            if owner != label:
                raise ValueError(
                    f"{source}: the classes {classes.names[owner]!r} and {classes.names[label]!r} "
                    "have the same text up to capitals, and the model knows classes by their "
                    "texts; rename one of them"
                )


@contextlib.contextmanager
def accepts_auto(cfg: CfgNode) -> Iterator[None]:
    """Lets what is merged inside say "auto" as MODEL.SEM_SEG_HEAD.NUM_CLASSES; it becomes 0.

    Raises:
        ValueError: It says another text, or something that is no number.
    """
    head = cfg.MODEL.SEM_SEG_HEAD
    before, head.NUM_CLASSES = head.NUM_CLASSES, None  # which yacs lets anything replace
    try:
        yield
    finally:
        said = head.NUM_CLASSES
        head.NUM_CLASSES = before if said is None else AUTO if said == "auto" else said
    if type(head.NUM_CLASSES) is not int:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is a number or auto, got {head.NUM_CLASSES!r}"
        )


def fill_num_classes(cfg: CfgNode) -> None:
    """Writes the number of the trained classes where NUM_CLASSES is 0, and checks it elsewhere.

    Raises:
        ValueError: A closed model has another number of classes than its training set lists.
    """
    known, head = trained_vocabulary(cfg), cfg.MODEL.SEM_SEG_HEAD
    if known is None:
        if head.NUM_CLASSES == AUTO and knows_classes(cfg):
            raise ValueError(
                "MODEL.SEM_SEG_HEAD.NUM_CLASSES is 0, as many as the training set lists, but no "
                f"class names are known of {', '.join(cfg.DATASETS.TRAIN) or 'DATASETS.TRAIN'}"
            )
        return
    if head.NUM_CLASSES == AUTO:
        was_frozen = cfg.is_frozen()
        cfg.defrost()
        head.NUM_CLASSES = len(known)
        if was_frozen:
            cfg.freeze()
    elif len(known) != head.NUM_CLASSES and not config_takes_classes(cfg):
        source = cfg.MODEL.get("CLASSES", "") or next(iter(training_vocabularies(cfg)))
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {head.NUM_CLASSES}, but {source} lists "
            f"{len(known)} classes ({shown(known.names)}); set it to {len(known)}, or to "
            "auto: as many as the training set lists"
        )


def write_class_list(rows: list[dict[str, Any]], folder: Path) -> None:
    """Writes rows of `class_rows` as the class list of the checkpoints in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CLASSES_FILE, json.dumps(rows, indent=1) + "\n")


def check_same_classes(rows: list[dict[str, Any]], checkpoint: str) -> None:
    """Refuses to go on with a checkpoint whose classes are others than these rows.

    Raises:
        ValueError: Names, order or thing flags differ, as after another export of the training set.
    """
    source = class_list_of(checkpoint)
    if not source:
        return  # of a training before there were class lists
    known = read_class_list(source)
    before = [_as_trained(*pair) for pair in zip(known.names, known.is_thing)]
    now = [_as_trained(row["name"], bool(row["isthing"])) for row in rows]
    if before != now:
        raise ValueError(
            f"cannot resume: the training set lists {_difference(now, before)}, but {source}, of "
            f"the run that is resumed, {_difference(before, now)}; train anew in another "
            "OUTPUT_DIR, or restore the list"
        )


def order_warning(rows: list[dict[str, Any]], weights: str) -> str:
    """A line where weights begin with the class layer of the same classes in another order."""
    source = class_list_of(weights)
    before = read_class_list(source).names if source else ()
    now = tuple(row["name"] for row in rows)
    if before == now or sorted(before) != sorted(now):
        return ""
    return (
        f"{weights} has the classes of the training set in another order ({shown(before)}; now "
        f"{shown(now)}): its class layer is learned anew from other classes' weights"
    )


def _as_trained(name: str, is_thing: bool) -> str:
    return name if is_thing else f"{name} (stuff)"


def _difference(names: list[str], others: list[str]) -> str:
    """The first names, and then those that differ from the others."""
    if len(names) != len(others):
        return shown(names)
    return shown([name for name, other in zip(names, others) if name != other])


def read_class_list(path: str | os.PathLike[str]) -> Vocabulary:
    """The classes in a classes.json, or in a checkpoint that a training here has written.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no class list.
    """
    source = Path(path)
    if source.suffix == ".json":
        return read_class_rows(source)
    if source.suffix == ".safetensors":
        rows = json.loads(_metadata(source).get(CLASSES_KEY, "null"))
    else:
        content = read_content(source)
        rows = content.get(CLASSES_KEY) if isinstance(content, Mapping) else None
    return vocabulary_of_rows(rows, str(source))


def with_own_classes(cfg: CfgNode) -> CfgNode:
    """A configuration whose MODEL.CLASSES is the list that belongs to MODEL.WEIGHTS, if any does.

    Without it the names would be those of a training set that may have changed since.
    """
    weights = cfg.MODEL.WEIGHTS
    found = "" if cfg.MODEL.CLASSES or not weights else class_list_of(weights)
    if not found:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.CLASSES = found
    cfg.freeze()
    return cfg


def class_list_of(weights: str | os.PathLike[str]) -> str:
    """Where the class list of a checkpoint lies: in it, else beside it; "" if nowhere."""
    path = Path(weights).expanduser()
    if not path.exists():  # an address, or the name of a model
        return ""
    if _holds_classes(path):  # the folder may have those of a later training
        return str(path)
    beside = (path if path.is_dir() else path.parent) / CLASSES_FILE
    return str(beside) if beside.is_file() and _is_list(beside) else ""


def _is_list(path: Path) -> bool:
    """Whether a JSON file holds a list; the categories of a dataset's label PNGs are an object."""
    return path.read_bytes().lstrip().startswith(b"[")


def _holds_classes(path: Path) -> bool:
    """Whether a checkpoint has a class list; its tensors are read only if it mentions one."""
    if path.suffix == ".safetensors":
        return CLASSES_KEY in _metadata(path)
    if path.suffix != ".pth" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        trees = [name for name in archive.namelist() if name.endswith("data.pkl")]
        is_mentioned = any(CLASSES_KEY.encode() in archive.read(name) for name in trees)
    content = read_content(path) if is_mentioned else None
    return isinstance(content, Mapping) and isinstance(content.get(CLASSES_KEY), list)


def _metadata(path: Path) -> Mapping[str, str]:
    """The texts beside the weights in a .safetensors file; none of a damaged one."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def shown(names: Sequence[str], limit: int = 6) -> str:
    """Names for a message: the first of many, and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
