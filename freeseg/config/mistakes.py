"""What is wrong with a configuration, in words: yacs speaks of Python's classes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from detectron2.config import CfgNode

_NO_KEY = re.compile(r"['\"]?Non-existent (?:config )?key: (\S+?)['\"]?$")
_OTHER_TYPE = re.compile(
    r"Type mismatch \(<class '(?:\w+\.)*(\w+)'> vs\. <class '(?:\w+\.)*(\w+)'>\) "
    r"with values \((.*) vs\. (.*)\) for config key: (\S+)"
)
_WORDS = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "tuple": "a list",
    "list": "a list",
    "CfgNode": "a section of keys",
}


def mistake_in(error: Exception, known: CfgNode) -> str:
    """Returns what an error of a merge into a configuration means; "" where that is not known.

    Args:
        error: Of yacs.
        known: Has all keys that there are.
    """
    text = " ".join(str(error).split())
    missing, other = _NO_KEY.match(text), _OTHER_TYPE.match(text)
    if missing:
        near = difflib.get_close_matches(missing[1], list(_keys(known)), n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"there is no key {missing[1]}{hint}"
    if other:
        wanted, given, before, value, key = other.groups()
        example = "" if wanted == "CfgNode" else f", such as {before or repr(before)}"
        return (
            f"{key} is {_WORDS.get(wanted, wanted)}{example}, but {value} is "
            f"{_WORDS.get(given, given)}"
        )
    return ""


def _keys(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        yield prefix + name
        if isinstance(value, CfgNode):
            yield from _keys(value, f"{prefix}{name}.")
