"""What became of all photos, counted from the parts themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from freeseg.bulk.parts import read_part
from freeseg.files import write_atomically, write_text


@dataclass(frozen=True)
class BulkReport:
    """Figures of a job.

    Attributes:
        photos: All records of all parts.
        failed: Those of photos that could not be segmented.
        pieces: Of the input.
        missing_pieces: Those without a part.
        errors: Why pieces are missing.
        photos_of_this_run: Segmented since the last start.
        seconds: Since the last start.
        photos_per_second: Of this run.
    """

    photos: int
    failed: int
    pieces: int
    missing_pieces: int
    errors: tuple[str, ...]
    photos_of_this_run: int
    seconds: float
    photos_per_second: float

    @property
    def is_complete(self) -> bool:
        return not self.failed and not self.missing_pieces


def write_report(
    out: Path, parts: Sequence[Path], errors: Sequence[str], num_new: int, seconds: float
) -> BulkReport:
    """Counts the records of parts, and writes ``report.json`` and ``failures.jsonl``.

    Args:
        out: Where both go.
        parts: Of every piece, whether it is there or not.
        errors: Of pieces.
        num_new: Photos of this run.
        seconds: That it took.
    """
    counts = {"photos": 0, "failed": 0, "missing": 0}

    def failures(file: object) -> None:
        for part in parts:
            if not part.is_file():
                counts["missing"] += 1
                continue
            for record in read_part(part):
                counts["photos"] += 1
                if "error" in record:
                    counts["failed"] += 1
                    file.write(json.dumps(record).encode() + b"\n")  # type: ignore[attr-defined]

    write_atomically(out / "failures.jsonl", failures)
    report = BulkReport(
        photos=counts["photos"],
        failed=counts["failed"],
        pieces=len(parts),
        missing_pieces=counts["missing"],
        errors=tuple(errors),
        photos_of_this_run=num_new,
        seconds=round(seconds, 3),
        photos_per_second=round(num_new / seconds, 3) if seconds else 0.0,
    )
    text = json.dumps(asdict(report), indent=2) + "\n"
    write_text(out / "report.json", text)
    return report
