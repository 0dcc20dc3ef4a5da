"""`freeseg check`: looks at datasets before they are trained or evaluated on."""

from __future__ import annotations

import argparse

_EPILOG = """
examples:
  freeseg check --config-file mine.yaml            # all that a training with it would use
  freeseg check my_val --config-file mine.yaml     # one set of its DATASETS.CUSTOM
  freeseg check ade20k_panoptic_train              # a registered set

Every problem is one line: file, entry, what was found, what is wanted. Exit code 1 if there is one
that training would stop at. `freeseg train` looks at the same things before its first step.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Looks at all photos, PNGs and annotation of datasets, and lists what is wrong. Files that "
        "have not changed since are not read again."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.check:run")
    add = parser.add_argument
    add("datasets", nargs="*", metavar="NAME", help="default: what the configuration uses")
    add("--config-file", metavar="FILE", help="has DATASETS.CUSTOM and how sets are used")
    add("--opts", nargs="*", default=[], metavar="KEY VALUE", help="overrides of the configuration")
