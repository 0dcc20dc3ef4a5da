"""Writes a config as Python-like text, laid out as the formatter `black` would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.utils.registry import _convert_target_to_string

_WIDTH = 88


def to_text(config: Any, prefix: str) -> str:
    """Return one `prefix.key = expression` per value: sections opened, calls written as calls."""
    return "\n".join(_assignments(config, prefix)) + "\n"


def _assignments(node: Any, path: str) -> list[str]:
    if not _is_section(node):
        return [f"{path} = {_layout(node, 0, len(path) + 3)}"]
    start = path if not path or path.endswith(".") else path + "."
    return [line for key in sorted(node) for line in _assignments(node[key], f"{start}{key}")]


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" not in value


def _layout(value: Any, indent: int, used: int) -> str:
    """Return an expression that starts at column `used`, broken over lines if it must be."""
    flat = _flat(value)
    opening, items, closing = _parts(value)
    if not items or used + len(flat) <= _WIDTH:
        return flat
    inner = indent + 4
    margin, end = "\n" + " " * inner, "\n" + " " * indent + closing
    one_line = ", ".join(label + _flat(item) for label, item in items)
    is_call = opening[-1] == "("
    if (is_call or len(items) == 1) and inner + len(one_line) <= _WIDTH:
        return opening + margin + one_line + end
    comma = "," if len(items) > 1 else ""
    lines = [
        margin + label + _layout(item, inner, inner + len(label) + len(comma)) + comma
        for label, item in items
    ]
    return opening + "".join(lines) + end


def _flat(value: Any) -> str:
    opening, items, closing = _parts(value)
    return opening + ", ".join(label + _flat(item) for label, item in items) + closing


def _parts(value: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Return how an expression opens, its (label, item) pairs, and how it closes."""
    if isinstance(value, list):
        return "[", [("", item) for item in value], "]"
    if not isinstance(value, Mapping):
        return _literal(value), [], ""
    if "_target_" not in value:
        return "{", [(f"{_literal(key)}: ", value[key]) for key in sorted(value)], "}"
    names = sorted(key for key in value if key != "_target_")
    target = value["_target_"]
    target = target if isinstance(target, str) else _convert_target_to_string(target)
    return f"{target}(", [(f"{name}=", value[name]) for name in names], ")"


def _literal(value: Any) -> str:
    text = repr(value)
    if isinstance(value, str) and text[0] == "'" and '"' not in value and "\\" not in text:
        return f'"{value}"'
    return text
