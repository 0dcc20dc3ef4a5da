"""The catalogue as rows for JSON and as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from freeseg_command.cache import cache_root
from freeseg_command.catalog import ModelCard, WeightsSource

_HEADINGS = ("name", "system", "backbone", "data", "tasks", "text", "weights", "figures")
_LETTERS = {"panoptic": "P", "instance": "I", "semantic": "S", "object": "O"}


def model_rows(cards: Iterable[ModelCard]) -> list[dict[str, Any]]:
    """Returns everything that is known of the models, as JSON can hold it."""
    return [{**asdict(card), "state": state_of(card.weights)} for card in cards]


def models_table(cards: Iterable[ModelCard]) -> str:
    """Returns a Markdown table, one line per model."""
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|" + "---|" * len(_HEADINGS)]
    for card in cards:
        cells = (
            card.name,
            card.system,
            card.backbone,
            card.data,
            "".join(_LETTERS[task] for task in card.tasks),
            "any" if card.takes_text else "",
            state_of(card.weights),
            figures(card.metrics),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def state_of(source: WeightsSource) -> str:
    """Whether weights are here, will be fetched, or have to be fetched by a person."""
    if source.kind == "file":
        return "bundled"
    if source.kind == "hub":
        return "hub"
    if (cache_root() / "models" / source.file_name).is_file():
        return "downloaded"
    return "download" if source.kind == "url" else "by hand"


def figures(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Returns figures on one line, the dataset only where there are several."""
    parts = []
    for dataset, values in metrics.items():
        line = ", ".join(f"{name} {value:g}" for name, value in values.items())
        parts.append(f"{dataset}: {line}" if len(metrics) > 1 else line)
    return "; ".join(parts)


def systems_table(
    systems: Mapping[str, Mapping[str, str]], cards: Iterable[ModelCard], ratios: Mapping[str, str]
) -> str:
    """Returns README's table: what each system does, how many models, measured parity and speed.

    Args:
        systems: By name, with ``what``, ``parity``, ``speed`` and ``docs``.
        cards: The models.
        ratios: Of the benchmark, by row; ``speed`` names rows in braces.
    """
    known = list(cards)
    lines = ["| " + " | ".join(_SYSTEM_HEADINGS) + " |", "|" + "---|" * len(_SYSTEM_HEADINGS)]
    for name, about in systems.items():
        mine = [card for card in known if card.system == name]
        counts = (
            ("bundled", sum(card.is_bundled for card in mine)),
            ("published", sum(not card.is_bundled for card in mine)),
        )
        models = ", ".join(f"{count} {kind}" for kind, count in counts if count)
        speed = re.sub(r"{(.+?)}", lambda match: ratios[match[1]], about["speed"])
        cells = (f"`{name}`", about["what"], models, about["parity"], speed, about["docs"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


_SYSTEM_HEADINGS = (
    "system",
    "what it does",
    "models (`freeseg models`)",
    "against the original's stored outputs, same (random) weights",
    "[speed](docs/ops.md#speed) on a CPU",
    "more",
)
