"""The house rules that a machine can check: import direction, cycles, sizes, documentation."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "freeseg"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
# A part may import itself and what stands before it.
ORDER = (
    "_torchvision",
    "files",
    "resources",
    "image_headers",
    "images",
    "names",
    "structures",
    "catalog",
    "ops",
    "layers",
    "config",
    "checkpoints",
    "class_matching",
    "classes",
    "text",
    "modeling",
    "inference",
    "training",
    "parity",
    "graphs",
    "systems",
    "moved",
    "videos",
    "data",
    "tracking",
    "release_names",
    "evaluation",
    "visualization",
    "zoo",
    "engine",
    "photo_model",
    "session",
    "track_session",
    "segmenter",
    "composition",
    "editing",
    "export",
    "bulk",
    "labelling",
    "web",
    "cli",
    "__main__",
)
LIBRARY = sorted(PACKAGE.rglob("*.py"))
COMMAND = sorted((ROOT / "freeseg_command").rglob("*.py"))
CHECKED = [
    *LIBRARY,
    *COMMAND,
    *sorted((ROOT / "tools").glob("*.py")),
    *sorted((ROOT / "datasets").glob("*.py")),
    *sorted((ROOT / "d2lite/detectron2").rglob("*.py")),
]
TREES = {path: ast.parse(path.read_text()) for path in CHECKED}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(module: str) -> str:
    """freeseg.<part>...: the part, or an empty string for the package itself."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else ""


def module_of(path: Path) -> str:
    pieces = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)


def imports_of(path: Path) -> set[str]:
    """Names of the freeseg modules that a file imports, at top level or inside functions."""
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "freeseg"}


def test_every_part_has_a_place_in_the_order():
    parts = {part_of(module_of(path)) for path in LIBRARY} - {""}
    assert parts == set(ORDER)


def test_the_documented_order_is_this_one():
    text = (ROOT / "docs/architecture.md").read_text()
    block = text.partition("## Imports go one way")[2].split("\n\n")[1]
    assert tuple(block.replace("\n", " ").replace("->", " ").split()) == ORDER


def test_no_system_imports_another():
    systems = PACKAGE / "systems"
    for path in sorted(systems.glob("*/*.py")):
        others = {f"freeseg.systems.{other.name}" for other in systems.iterdir() if other.is_dir()}
        others -= {f"freeseg.systems.{path.parent.name}"}
        found = {".".join(name.split(".")[:3]) for name in imports_of(path)}
        assert not found & others, name_of(path)


def test_only_the_border_knows_detectron2s_keys():
    """What results are called in dicts is written in one file; evaluators and wrappers read it."""
    keys = {'"sem_seg"', '"panoptic_seg"', '"pred_masks"', '"pred_classes"'}
    for folder in ("systems", "structures"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            if path.name in ("detectron2_dicts.py", "parity.py"):
                continue
            text = path.read_text()
            assert not [key for key in keys if key in text], name_of(path)


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_imports_go_one_way(path):
    own = part_of(module_of(path))
    if own == "":
        return  # the package itself gathers everything
    allowed = set(ORDER[: ORDER.index(own) + 1])
    modules = {module_of(other) for other in LIBRARY}
    parts = {part_of(name) for name in imports_of(path) if name in modules}
    assert parts - {""} <= allowed


@pytest.mark.parametrize("path", COMMAND, ids=name_of)
def test_the_command_imports_the_package_to_run_something_only(path):
    at_once = [node for node in TREES[path].body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in at_once
        for alias in node.names
    }
    first = {name.split(".")[0] for name in names}
    assert first <= {"freeseg_command", *sys.stdlib_module_names}


def test_there_are_no_import_cycles():
    modules = {module_of(path): path for path in LIBRARY}
    edges = {
        module: {name for name in imports_of(path) if name in modules} - {module, "freeseg"}
        for module, path in modules.items()
    }
    # A package's __init__ re-exports its files; a file that imports its own package is a cycle.
    state: dict[str, str] = {}

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert state.get(module) != "open", f"cycle: {' -> '.join((*trail, module))}"
        if module in state:
            return
        state[module] = "open"
        for target in sorted(edges[module]):
            visit(target, (*trail, module))
        state[module] = "done"

    for module in edges:
        visit(module, ())


@pytest.mark.parametrize("path", CHECKED, ids=name_of)
def test_files_and_functions_keep_their_size(path):
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES
    sizes = {
        node.name: node.end_lineno - node.lineno + 1 - docstring_lines(node)
        for node in ast.walk(TREES[path])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}


def docstring_lines(function):
    if ast.get_docstring(function) is None:
        return 0
    return function.body[0].end_lineno - function.body[0].lineno + 1


@pytest.mark.parametrize("path", CHECKED, ids=name_of)
def test_no_star_imports(path):
    stars = [
        node.module
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert stars == []


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_public_names_are_documented_and_files_say_what_they_are_for(path):
    tree = TREES[path]
    assert ast.get_docstring(tree)
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_names_of_files_are_nouns_of_the_field(path):
    assert path.stem not in {"utils", "util", "misc", "common", "helpers"}


def test_tools_are_thin():
    for path in sorted((ROOT / "tools").glob("*.py")):
        functions = [node for node in TREES[path].body if isinstance(node, ast.FunctionDef)]
        main = [node for node in functions if node.name == "main"]
        assert len(main) == 1, path.name
        assert main[0].end_lineno - main[0].lineno + 1 <= 40, path.name


def test_the_package_never_asks_which_detectron2_is_there_but_to_say_it():
    for path in LIBRARY:
        if path.name == "doctor.py":
            continue
        assert "+lite" not in path.read_text(), name_of(path)
        assert "d2lite" not in path.read_text() or path.name == "__init__.py", name_of(path)
