"""Where in a file a changed node is."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Place:
    """Where a node is.

    Attributes:
        lines: of its statement; of a block's head, where it is in one.
        function: qualified name and first line of the outermost function whose body it is in; None
            for what runs on import.
    """

    lines: range
    function: tuple[str, int] | None


def place_of(source: str, number: int) -> Place:
    """The place of the node of this number in `ast.walk` of the file."""
    tree = ast.parse(source)
    chain = _chain(tree, list(ast.walk(tree))[number])
    statement = next(node for node in reversed(chain) if isinstance(node, ast.stmt))
    body = getattr(statement, "body", None)
    end = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    return Place(range(statement.lineno, max(end, statement.lineno) + 1), _function(chain))


def _function(chain: list[ast.AST]) -> tuple[str, int] | None:
    names: list[str] = []
    for node, inside in pairwise(chain):
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        if isinstance(node, ast.FunctionDef):
            if inside not in node.body:  # a default, a decorator
                return None
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return ".".join([*names, node.name]), first
    return None


def _chain(tree: ast.AST, target: ast.AST) -> list[ast.AST]:
    """From the file down to the node, both included."""
    if tree is target:
        return [tree]
    below = (_chain(child, target) for child in ast.iter_child_nodes(tree))
    found = next(filter(None, below), None)
    return [tree, *found] if found else []
