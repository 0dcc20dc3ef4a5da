"""Makes a system known: its keys, names of weights, comparison with the original, program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from freeseg.checkpoints import KeyMap, register_key_map
from freeseg.config import register_keys
from freeseg.graphs import register_graph
from freeseg.names import plain_name
from freeseg.parity import COMPARISONS, Comparison

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
    """
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
