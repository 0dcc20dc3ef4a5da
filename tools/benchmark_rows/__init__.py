"""The contests of tools/benchmark.py: one file per part of the project.

A row names what is measured, against what, and the ratio it must reach. Its `prepare` builds a
`Contest`: two callables that compute the same, and how to tell that they did.
"""

from benchmark_rows.contest import Contest, Result, Row, assert_close, run
from benchmark_rows.record import (
    HEAD,
    add_to,
    lines_of,
    record_of,
    recorded_ratios,
    recorded_table,
)

__all__ = [
    "HEAD",
    "Contest",
    "Result",
    "Row",
    "add_to",
    "assert_close",
    "lines_of",
    "record_of",
    "recorded_ratios",
    "recorded_table",
    "run",
]
