"""`tools/mutate.py` names the changes that tests do not notice, and no others."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
if sys.version_info < (3, 11):
    pytest.skip("functions know their whole names from Python 3.11 on", allow_module_level=True)
sys.path.insert(0, str(TOOLS))
from mutation.changes import mutants  # noqa: E402
from mutation.place import place_of  # noqa: E402

SOURCE = '''"""A box."""

LIMIT = 5


class Box:
    def area(self, width: int, height: int = 2) -> int:
        """No message 3 is changed."""
        if width < 0:
            raise ValueError(f"got {width - 1}")
        return width * height


def never():
    return LIMIT
'''
TESTS = """
import pytest
from freeseg import small

def test_area():
    assert small.Box().area(3, 4) == 12
    assert small.Box().area(0) == 0

def test_negative():
    with pytest.raises(ValueError):
        small.Box().area(-1)
"""


def changed(source: str) -> set[str]:
    """Every changed file without what is the same in all of them."""
    before = ast.unparse(ast.parse(source)).splitlines()
    after = (ast.unparse(mutant.tree(source)).splitlines() for mutant in mutants(source))
    return {line for lines in after for line in lines if line not in before}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a <= b", {"a < b"}),
        ("a is not b", {"a is b"}),
        ("a % b", {"a // b"}),
        ("a and b or c", {"(a or b) or c", "(a and b) and c"}),
        ("x = not a", {"x = a"}),
        ("f(a, b, key=c)", {"pass", "f(b, a, key=c)", "f(a, b)"}),
        ("f(a, device=c)", {"pass"}),
        ("x = {'h': a, 'w': b}", {"x = {'h': b, 'w': a}"}),
        ("a, b = c", {"b, a = c"}),
        ("x = 0.5", {"x = 1.0"}),
        ("x = True", {"x = False"}),
        ("x = -1", {"x = 1", "x = -2"}),
        ("x = a if b else c", {"x = c if b else a"}),
        ("x = y.clamp(a)", {"x = y"}),
        ("x = torch.exp(a)", set()),
        ("x = y.argmax()", {"x = y.argmin()"}),
        ("x: tuple[int, str] = a", set()),
        ("isinstance(a, (int, str))", {"pass"}),
        ("a in (1, 2)", {"a not in (1, 2)"}),
        ("x += a", {"x -= a"}),
        ("log.warning(f(a, b))", set()),
        ("assert a < b", set()),
        ("raise ValueError(a - 1)", {"pass"}),
        ("'text %d' % 3", {"'text %d' % 4"}),
    ],
)
def test_changes_of_a_line(source: str, expected: set[str]) -> None:
    assert changed(source) == expected


def test_a_change_knows_its_lines_and_its_function() -> None:
    places = {mutant.change: place_of(SOURCE, mutant.place) for mutant in mutants(SOURCE)}
    assert places["width * height  ->  width / height"].lines == range(11, 12)
    assert places["width * height  ->  width / height"].function == ("Box.area", 7)
    assert places["width < 0  ->  width <= 0"].lines == range(9, 10)
    assert places["5  ->  6"].function is None
    assert places["2  ->  3"].function is None  # a default is made on import


def test_what_no_test_notices_is_named(tmp_path: Path) -> None:
    root = tmp_path / "main"
    for folder in ("freeseg", "tests"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(TOOLS / "mutation", root / "tools/mutation")
    shutil.copy(TOOLS / "mutate.py", root / "tools")
    (root / "freeseg/__init__.py").write_text("")
    (root / "freeseg/small.py").write_text(SOURCE)
    (root / "tests/test_small.py").write_text(TESTS)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    command = [sys.executable, str(root / "tools/mutate.py"), "freeseg/small.py"]
    command += ["--record", str(tmp_path / "record.jsonl"), "--reach", str(tmp_path / "reach.json")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert ended.returncode == 1, ended.stderr
    records = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()]
    fates = {record["mutant"]["change"]: record["fate"] for record in records}
    assert fates.pop("2  ->  3") == "survived"
    assert fates.pop("5  ->  6") == "survived"
    assert fates.pop("return LIMIT  ->  return None") == "unreached"
    assert set(fates.values()) == {"killed"}
    assert len(fates) == 5
    assert "freeseg/small.py:3: survived: 5  ->  6" in ended.stdout
    assert "| freeseg/small.py | 8 | 5 | 2 | 1 | 62.5 |" in ended.stdout
    assert (root / "freeseg/small.py").read_text() == SOURCE
