"""Measured rows as JSON, and as the lines of a Markdown table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark_rows.contest import Result, Row
from freeseg.files import write_text

MEBIBYTE = 2**20
HEAD = ("| what | against | ours | theirs | ratio | bar |", "|---|---|---|---|---|---|")


def record_of(row: Row, result: Result, **conditions: Any) -> dict[str, Any]:
    """What is kept of a measurement; `conditions` say how it was made."""
    record = {
        "what": row.what,
        "against": row.against,
        "ours_ms": round(1000 * result.ours, 1),
        "theirs_ms": round(1000 * result.theirs, 1),
        "ratio": round(result.ratio, 2),
        "bar": row.bar,
        **conditions,
    }
    if row.memory_bar:
        record["memory"] = {
            "ours_mib": round(result.our_memory / MEBIBYTE),
            "theirs_mib": round(result.their_memory / MEBIBYTE),
            "bar": row.memory_bar,
        }
    return record


def lines_of(record: Mapping[str, Any]) -> list[str]:
    """The lines of one record."""
    times = f"{record['ours_ms']:.1f} ms | {record['theirs_ms']:.1f} ms"
    ratio = f"{record['ratio']:.1f}x | {record['bar']:g}x"
    lines = [f"| {record['what']} | {record['against']} | {times} | {ratio} |"]
    if "memory" in record:
        memory = record["memory"]
        sizes = f"{memory['ours_mib']} MiB | {memory['theirs_mib']} MiB"
        ratio = f"{memory['theirs_mib'] / memory['ours_mib']:.1f}x | {memory['bar']:g}x"
        lines.append(f"| its peak memory | | {sizes} | {ratio} |")
    return lines


def recorded_table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table of all records."""
    return "\n".join([*HEAD, *(line for record in records.values() for line in lines_of(record))])


def recorded_ratios(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Ratios as text, "2.5x", by the row's name."""
    return {name: f"{record['ratio']:.1f}x" for name, record in records.items()}


def add_to(path: Path, records: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> None:
    """Puts records into a JSON file beside those of other rows, in the order of the rows' names."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known.update(records)
    kept = {name: known[name] for name in order if name in known}
    write_text(path, json.dumps(kept, indent=1) + "\n")
