"""The changes: one operator, limit, argument or statement of a file is another one.

What is only said (docstrings, annotations, messages of errors, logs) is left alone, for no test
should read it; so is `device=`, which nothing notices where there is one device.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Edit = Callable[[], ast.AST]

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
NAMES = {
    "min": "max", "any": "all", "floor": "ceil", "argmax": "argmin", "amax": "amin",
    "maximum": "minimum", "zeros": "ones", "zeros_like": "ones_like", "add": "discard",
}  # fmt: skip
OTHER_NAME = NAMES | {second: first for first, second in NAMES.items()}
# x.clamp(...) becomes x.
WITHOUT = {
    "clamp", "abs", "sigmoid", "softmax", "log", "exp", "round", "sqrt", "lower", "strip",
    "resolve",
}  # fmt: skip
# Calls whose arguments people read.
SAID = {
    "debug", "info", "warning", "error", "warn", "print", "exception", "log_first_n", "log_every_n",
}  # fmt: skip
ALIKE = {"isinstance", "issubclass"}


@dataclass(frozen=True)
class Mutant:
    """One change of a file.

    Attributes:
        line: where, from 1.
        change: what stands there, and what stands there instead.
        place: the node's number in `ast.walk` of the file.
        edit: which of the node's changes.
    """

    line: int
    change: str
    place: int
    edit: int

    def tree(self, source: str) -> ast.Module:
        """The file with the change; `line` numbers stay those of the file."""
        tree = ast.parse(source)
        target = list(ast.walk(tree))[self.place]
        replacement = edits(target)[self.edit]()
        changed = _Replace(target, ast.copy_location(replacement, target)).visit(tree)
        return ast.fix_missing_locations(changed)


def mutants(source: str) -> list[Mutant]:
    """All changes of a file's text, in the order of its lines."""
    tree = ast.parse(source)
    silent = {id(node) for said in _said(tree) for node in ast.walk(said)}
    found = []
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in silent:
            continue
        for number, edit in enumerate(edits(node)):
            before, after = _short(node), _short(edit())
            found.append(
                Mutant(getattr(node, "lineno", 1), f"{before}  ->  {after}", place, number)
            )
    return sorted(found, key=lambda mutant: (mutant.line, mutant.place, mutant.edit))


def edits(node: ast.AST) -> list[Edit]:
    """What the node may be instead; each gives a new node and leaves this one."""
    return list(_edits(node))


def _edits(node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.stmt):
        yield from _statement_edits(node)
    elif isinstance(node, ast.Constant):
        yield from _constant_edits(node)
    elif isinstance(node, ast.Call):
        yield from _call_edits(node)
    elif isinstance(node, (ast.Name, ast.Attribute)):
        yield from _name_edits(node)
    else:
        yield from _operator_edits(node)


def _operator_edits(node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield lambda: ast.Compare(node.left, [COMPARISONS[type(op)]()], node.comparators)
        case ast.BinOp(op=op) if type(op) in ARITHMETIC and not _joins_text(node):
            yield lambda: ast.BinOp(node.left, ARITHMETIC[type(op)](), node.right)
        case ast.BoolOp(op=op):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield lambda: ast.BoolOp(other, node.values)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield lambda: node.operand
        case ast.IfExp():
            yield lambda: ast.IfExp(node.test, node.orelse, node.body)
        case ast.Dict(values=[first, second, *rest]) if _differ(first, second):
            yield lambda: ast.Dict(node.keys, [second, first, *rest])
        case ast.Tuple(elts=[first, second, *rest]) if _differ(first, second):
            yield lambda: ast.Tuple([second, first, *rest], node.ctx)


def _statement_edits(node: ast.stmt) -> Iterator[Edit]:
    match node:
        case ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            yield lambda: ast.AugAssign(node.target, ARITHMETIC[type(op)](), node.value)
        case ast.If(test=ast.Name() | ast.Call() | ast.Attribute()):
            yield lambda: ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.Expr(value=ast.Call()) | ast.Raise():
            yield ast.Pass
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield lambda: ast.Return(ast.Constant(None))
        case ast.Continue():
            yield ast.Break
        case ast.Break():
            yield ast.Continue


def _constant_edits(node: ast.Constant) -> Iterator[Edit]:
    if isinstance(node.value, bool):
        yield lambda: ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield lambda: ast.Constant(node.value + 1)
    elif isinstance(node.value, float):
        yield lambda: ast.Constant(node.value * 2 or 1.0)


def _name_edits(node: ast.Name | ast.Attribute) -> Iterator[Edit]:
    if isinstance(node.ctx, ast.Load):
        if isinstance(node, ast.Name) and node.id in OTHER_NAME:
            yield lambda: ast.Name(OTHER_NAME[node.id], node.ctx)
        if isinstance(node, ast.Attribute) and node.attr in OTHER_NAME:
            yield lambda: ast.Attribute(node.value, OTHER_NAME[node.attr], node.ctx)


def _call_edits(node: ast.Call) -> Iterator[Edit]:
    if (
        isinstance(node.func, ast.Attribute)
        and node.func.attr in WITHOUT
        and not _is_module(node.func.value)
    ):
        yield lambda: node.func.value  # type: ignore[attr-defined]
    if len(node.args) > 1 and not any(
        isinstance(argument, ast.Starred) for argument in node.args[:2]
    ):
        first, second, *rest = node.args
        if _differ(first, second) and getattr(node.func, "id", "") not in ALIKE:
            yield lambda: ast.Call(node.func, [second, first, *rest], node.keywords)
    for number, keyword in enumerate(node.keywords):
        if keyword.arg not in (None, "device"):
            others = node.keywords[:number] + node.keywords[number + 1 :]
            yield lambda others=others: ast.Call(node.func, node.args, others)  # type: ignore[misc]


def _said(tree: ast.Module) -> Iterator[ast.AST]:
    """What is text for people, or types, or is only looked up."""
    for node in ast.walk(tree):
        yield from _types(node)
        yield from _messages(node)
        match node:
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Tuple() as row]):
                yield row  # its order says nothing
            case ast.Call(func=ast.Name(id=name)) if name in ALIKE:
                yield from node.args[1:]


def _types(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            yield node
        case ast.FunctionDef():
            yield from [*node.decorator_list, *filter(None, [node.returns])]
        case ast.ClassDef():
            yield from node.decorator_list
        case ast.arg(annotation=ast.expr() as annotation):
            yield annotation
        case ast.AnnAssign():
            yield node.annotation
        case ast.Assign(targets=[ast.Name(id="__all__" | "logger")]):
            yield node
        case ast.Call(func=ast.Name(id="cast")):
            yield node.args[0]


def _messages(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr() | ast.Assert():
            yield node
        case ast.Raise():
            yield from filter(None, [node.exc, node.cause])
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name))):
            yield from [node] if name in SAID else []


def _differ(first: ast.AST, second: ast.AST) -> bool:
    return ast.dump(first) != ast.dump(second)


def _joins_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in {"torch", "np", "math", "F", "functional"}


def _short(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(node)).splitlines()[0]
    return text if len(text) <= 90 else text[:87] + "..."


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self.replacement if node is self.target else self.generic_visit(node)
