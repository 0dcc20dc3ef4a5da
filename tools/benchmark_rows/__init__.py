"""The contests of tools/benchmark.py: one file per part of the project.

A row names what is measured, against what, and the ratio it must reach. Its `prepare` builds a
`Contest`: two callables that compute the same, and how to tell that they did.
"""

from benchmark_rows.contest import Contest, Result, Row, assert_close, run

__all__ = ["Contest", "Result", "Row", "assert_close", "run"]
