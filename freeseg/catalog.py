"""Datasets by name: a catalogue of this package's own beside Detectron2's.

Detectron2's catalogues are shared by all that is imported, and other projects register the same
names with metadata of their own. So ours are kept here; `publish` puts them there where a name is
free. Whoever has registered a name keeps it, here too, but for the few that come with Detectron2:
those mean ours here, whose records and class lists have one form for all datasets, and stay what
they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Callable

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog

Loader = Callable[[], list[dict[str, Any]]]

# of Detectron2's own, those that are here too
BUILTIN = (
    *("coco_2017_train", "coco_2017_val", "coco_2017_train_panoptic", "coco_2017_val_panoptic"),
    *("ade20k_sem_seg_train", "ade20k_sem_seg_val"),
    *(
        f"cityscapes_fine_{kind}_{split}"
        for kind in ("panoptic", "sem_seg", "instance_seg")
        for split in ("train", "val")
    ),
)


RELEASE_PREFIXES = ("ade20k_", "cityscapes_", "coco_2017_", "mapillary_vistas_", "voc_")


@dataclass(frozen=True)
class Entry:
    """A dataset of ours: what makes its records, and what is known of it."""

    load: Loader
    metadata: Metadata


_own: dict[str, Entry] = {}


def keep(name: str, load: Loader, values: Mapping[str, Any]) -> None:
    """Takes a dataset, in the place of an earlier one of ours of that name, wherever that is.

    A name that no release can have, as those of users, is published at once.

    Args:
        name: Of the dataset.
        load: Makes its records.
        values: Metadata, as Detectron2 has it.
    """
    if _is_published(name):
        DatasetCatalog.remove(name)
        is_wanted = True
    else:
        is_wanted = not name.startswith(RELEASE_PREFIXES)
    _own[name] = Entry(load, Metadata(name=name).set(**values))
    if is_wanted and name not in DatasetCatalog.list():
        _register(name)


def amend(name: str, values: Mapping[str, Any]) -> None:
    """Adds metadata to a dataset of ours."""
    entry = _own[name]
    keep(name, entry.load, {**_values_of(entry.metadata), **values})


def kept(name: str) -> Entry:
    """The dataset of ours of a name, whoever else has one.

    Raises:
        KeyError: There is none.
    """
    return _own[name]


def publish(names: Iterable[str] | None = None) -> dict[str, str]:
    """Puts datasets of ours into Detectron2's catalogues, where their names are free.

    Args:
        names: Those that releases use when None.

    Returns:
        The names that are taken, each with the module that has it.
    """
    taken = {}
    for name in _names_of_releases() if names is None else names:
        if _is_published(name):
            continue
        if name in DatasetCatalog.list():
            taken[name] = _holder_of(name)
        elif name in MetadataCatalog.list() and _values_of(MetadataCatalog.get(name)):
            taken[name] = _UNKNOWN
        else:
            _register(name)
    return taken


_UNKNOWN = "another project"


def own_entry(name: str) -> Entry | None:
    """The dataset of ours that a name means, None where it is another's or nobody's."""
    entry = _own.get(name)
    if entry is None or _is_published(name):
        return entry
    if name in DatasetCatalog.list():
        is_detectron2s = name in BUILTIN and _holder_of(name).startswith("detectron2.")
        return entry if is_detectron2s else None
    return entry if name.startswith(RELEASE_PREFIXES) else None  # others were removed there


def dataset_metadata(name: str) -> Metadata:
    """What is known of a dataset: ours while it is only here, else what Detectron2's catalogue has.

    Once a dataset is published, whoever changes its metadata there is heard.
    """
    entry = own_entry(name)
    if entry is None or _is_published(name):
        return MetadataCatalog.get(name)
    return entry.metadata


def dataset_names() -> list[str]:
    """All names that a dataset is registered under, here or there."""
    return sorted({*DatasetCatalog.list(), *_names_of_releases()})


def _names_of_releases() -> list[str]:
    return [name for name in _own if name.startswith(RELEASE_PREFIXES)]


def _holder_of(name: str) -> str:
    """The module of what loads a dataset in Detectron2's catalogue."""
    load = DatasetCatalog[name]
    return str(getattr(getattr(load, "func", load), "__module__", _UNKNOWN))  # of a partial, too


def _is_published(name: str) -> bool:
    if name not in _own or name not in DatasetCatalog.list():
        return False
    return DatasetCatalog[name] is _own[name].load


def _register(name: str) -> None:
    entry = _own[name]
    DatasetCatalog.register(name, entry.load)
    replace_metadata(name, _values_of(entry.metadata))


def replace_metadata(name: str, values: Mapping[str, Any]) -> None:
    """Gives a name of ours these values in Detectron2's catalogue, and none that it had before."""
    if name in MetadataCatalog.list():
        MetadataCatalog.remove(name)
    MetadataCatalog.get(name).set(**values)


def _values_of(metadata: Metadata) -> dict[str, Any]:
    return {key: value for key, value in metadata.as_dict().items() if key != "name"}
