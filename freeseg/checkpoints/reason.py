"""Why something failed, in one line for people."""

from __future__ import annotations

import re

# how the lines begin in which PyTorch advises to execute what a file holds, or to complain
_ADVICE = ("Weights only load failed", "Please file an issue")


def reason_of(error: Exception) -> str:
    """The first line of a message that says what is wrong, with names of classes only for want."""
    is_quoted = isinstance(error, KeyError) and error.args  # by str()
    lines = [line.strip() for line in str(error.args[0] if is_quoted else error).splitlines()]
    reasons = [line for line in lines if line and not line.startswith(_ADVICE)]
    if not reasons:
        return type(error).__name__
    reason = re.sub(r"<class '([\w.]+)'>", r"\1", reasons[0])
    return reason if " " in reason else f"{type(error).__name__}: {reason}"
