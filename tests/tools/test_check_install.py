"""What `make newest` and `make oldest` install; CI runs them as a whole."""

from __future__ import annotations

import runpy
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / "tools/check_install.py"))


def test_the_oldest_releases_are_the_lower_bounds_of_both_wheels():
    one = ["torch>=2.5.0", "fvcore>=0.1.5.post2", "uvicorn>=0.9; extra == 'web'"]
    other = ["torch>=2.10.0,<3", "fvcore>=0.1.5.post10", "ray>=2; extra == 'ray'"]
    wanted = ["fvcore==0.1.5.post10", "torch==2.10.0", "uvicorn==0.9"]
    assert TOOL["lower_bounds"]([*one, *other]) == wanted


@pytest.mark.parametrize("requirement", ["torch", "torch<3", "torch==2.5", "torch!=2.6,>=2.5"])
def test_a_requirement_says_what_was_tried(requirement):
    with pytest.raises(ValueError, match="wanted NAME>=VERSION, got torch"):
        TOOL["lower_bounds"](["numpy>=1.26", requirement])


def test_requirements_are_read_from_a_wheel(tmp_path):
    wheel = tmp_path / "freeseg-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        text = (
            "Metadata-Version: 2.1\nName: freeseg\nRequires-Dist: torch>=2.5\n\nRequires-Dist: no"
        )
        archive.writestr("freeseg-0.1.0.dist-info/METADATA", text)
    assert TOOL["find_wheel"](tmp_path, "freeseg") == wheel
    assert TOOL["requirements"](wheel) == ["torch>=2.5"]


def test_what_a_command_says_when_it_fails_ends_the_tool(tmp_path):
    place = TOOL["Place"](tmp_path)
    place.programs = Path(sys.executable).parent
    name = Path(sys.executable).name
    assert place.run(name, "-c", "import os; print(os.getcwd())") == f"{tmp_path}\n"
    with pytest.raises(SystemExit, match=r"ended with 1:\nold\nNameError: new"):
        place.run(name, "-c", "import sys; print('old'); sys.exit('NameError: new')")


def test_the_copy_has_what_git_has_and_nothing_built(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    TOOL["copy_checkout"](tmp_path)
    for name in ("setup.py", "freeseg_command/start.py", "d2lite/setup.py", "docs/weights.md"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    assert not list(tmp_path.rglob("*.so")) + list(tmp_path.rglob("*.pyc"))
