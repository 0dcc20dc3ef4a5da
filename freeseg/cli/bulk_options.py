"""The options of commands that go through any number of photos, and what they make of them."""

from __future__ import annotations

import argparse
import os
from typing import Any

from freeseg.bulk import BulkSettings
from freeseg.bulk.worker import ModelSettings


def add_bulk_options(parser: argparse.ArgumentParser) -> None:
    """Adds how a job runs and how its model is built; which one says `add_required_model`."""
    add = parser.add_argument
    add("--engine", default="processes", choices=("processes", "ray"))
    add("--workers", type=int, default=os.cpu_count() or 1, help="default: one for each core")
    add("--chunk", type=int, default=32, metavar="N", help="photos in a part (default: 32)")
    add("--device", help="cpu, cuda (default: the configuration's)")
    add("--import", dest="modules", action="append", default=[], metavar="MODULE",
        help="import it first: it registers what the configuration names")  # fmt: skip
    add("--opts", nargs="+", default=[], metavar="KEY VALUE", help="configuration overrides")


def model_settings(args: argparse.Namespace, **asked: Any) -> ModelSettings:
    """The model of the options, and what it is `asked`: "task" and "classes"."""
    return ModelSettings(
        model=args.model, config=args.config_file or "", weights=args.weights, device=args.device,
        opts=tuple(args.opts), modules=tuple(args.modules), **asked,
    )  # fmt: skip


def bulk_settings(args: argparse.Namespace) -> BulkSettings:
    """How the options say that the job runs."""
    return BulkSettings(args.engine, args.workers, args.chunk)
