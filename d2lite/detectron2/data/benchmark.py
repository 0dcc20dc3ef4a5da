"""Placeholders: loader benchmarks are in the real package only."""

from __future__ import annotations

from detectron2._missing import missing

__all__ = ["DataLoaderBenchmark", "iter_benchmark"]

DataLoaderBenchmark = missing("detectron2.data.benchmark.DataLoaderBenchmark")
iter_benchmark = missing("detectron2.data.benchmark.iter_benchmark")
