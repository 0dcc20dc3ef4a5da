"""What the `freeseg` command knows before it imports PyTorch: arguments, names, the catalogue.

`import freeseg` registers everything in Detectron2's registries, which imports PyTorch, timm and
Matplotlib and takes seconds. Nothing in this package imports it, except to run a command.
"""

from __future__ import annotations

__version__ = "0.1.0"

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line (sys.argv when None) and returns its exit code."""
    try:
        from freeseg_command.program import run_command

        return run_command(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        from freeseg_command.messages import INTERRUPTED, complain

        complain("interrupted")
        return INTERRUPTED
