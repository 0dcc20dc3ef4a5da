"""Makes a system known: its keys, names of weights, comparison with the original, program."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from freeseg.checkpoints import KeyMap, register_key_map
from freeseg.config import register_keys
from freeseg.graphs import register_graph
from freeseg.names import plain_name
from freeseg.parity import COMPARISONS, Comparison
from freeseg.structures import Task

_architectures: dict[str, type[nn.Module]] = {}
_names: dict[str, str] = {}


def register_system(
    name: str,
    architecture: type[nn.Module],
    *,
    keys: Callable[[Any], None] | None = None,
    key_maps: Mapping[str, KeyMap] | None = None,
    parity: Comparison | None = None,
    graph: Callable[..., Any] | None = None,
    other_names: tuple[str, ...] = (),
) -> None:
    """Registers a system; its class registers itself as a Detectron2 meta-architecture.

    Args:
        name: In lower case, as commands and folders of stored outputs call it.
        architecture: Its class, called as its paper calls it.
        keys: Adds the configuration keys that it alone has.
        key_maps: Releases whose weights it loads, by their names.
        parity: How it is compared with its original.
        graph: What of it becomes a program, see `freeseg.graphs.register_graph`.
        other_names: What releases call its class in MODEL.META_ARCHITECTURE beside that.

    Raises:
        ValueError: The name is taken or not in lower case, or the system answers what is no task.
    """
    holder = _architectures.get(name, architecture)
    if holder is not architecture or not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"a system is called in lower case and by its own name, got {name!r}")
    unknown = set(getattr(architecture, "answers", {})) - set(Task)
    if unknown:
        raise ValueError(f"{name} answers {', '.join(sorted(unknown))}, which are no tasks")
    _architectures[name] = architecture
    for known in (architecture.__name__, *other_names):
        _names[known] = architecture.__name__
    if keys is not None:
        register_keys(keys)
    for release, key_map in (key_maps or {}).items():
        register_key_map(release, key_map)
    if parity is not None:
        COMPARISONS[name] = parity
    if graph is not None:
        register_graph(architecture, graph)


def systems() -> dict[str, type[nn.Module]]:
    """The registered systems by name."""
    return dict(_architectures)


def paper_name(architecture: str) -> str:
    """What the paper of a MODEL.META_ARCHITECTURE calls its system, which else keeps its name."""
    name = plain_name(architecture)
    return _names.get(name, name)
