"""Import paths that were documented still lead to what they led to."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import freeseg
from freeseg.moved import MODULES, NAMES, forward_old_paths
from freeseg.structures import SegmentationResult, write_result
from freeseg_command.tasks import JUDGED_TASKS, SHOWN_TASKS

MOVED_NAMES = [
    (package, name, now.partition(":")[0], now.partition(":")[2] or name)
    for package, names in NAMES.items()
    for name, now in names.items()
]


def run(code: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("old", "new"), MODULES.items(), ids=MODULES)
def test_an_old_module_is_the_new_one(old, new):
    assert importlib.import_module(old) is importlib.import_module(new)
    assert importlib.import_module(new).__name__ == new


@pytest.mark.parametrize(
    ("package", "name", "home", "new"), MOVED_NAMES, ids=[".".join(one[:2]) for one in MOVED_NAMES]
)
def test_an_old_name_is_the_same_object(package, name, home, new):
    found = getattr(importlib.import_module(package), name)
    assert found is getattr(importlib.import_module(home), new)


def test_both_orders_of_tasks_are_the_old_ones():
    assert freeseg.structures.TASKS == JUDGED_TASKS == ("semantic", "instance", "panoptic")
    assert freeseg.visualization.TASKS == SHOWN_TASKS == ("panoptic", "instance", "semantic")


def test_results_still_write_themselves():
    assert SegmentationResult.to_detectron2 is write_result


def test_old_modules_take_no_place_of_new_ones():
    """Whatever was imported by an old path, every module is where its own name says."""
    for old in MODULES:
        importlib.import_module(old)
    for name, module in list(sys.modules.items()):
        parent, _, child = name.rpartition(".")
        if module is not None and module.__name__ == name and parent.startswith("freeseg."):
            found = getattr(sys.modules[parent], child, module)
            assert found is module or not isinstance(found, ModuleType), name


@pytest.mark.parametrize(
    "name", ["freeseg.meta_arch.nobody", "freeseg.predictor.nobody", "freeseg.nobody"]
)
def test_unknown_modules_are_not_found_by_their_own_name(name):
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'") as refusal:
        importlib.import_module(name)
    assert refusal.value.name == name
    assert name not in sys.modules


@pytest.mark.parametrize("package", sorted(NAMES))
def test_unknown_names_are_no_attributes(package):
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nobody'"):
        _ = module.nobody


@pytest.mark.parametrize("old", MODULES)
def test_new_modules_are_reached_once_however_the_old_one_is_imported(old):
    """The second time nothing is executed: classes would register themselves twice."""
    first = importlib.import_module(old)
    count = sum(module is first for module in sys.modules.values())
    assert importlib.import_module(old) is first
    assert sum(module is first for module in sys.modules.values()) == count


def test_old_paths_are_forwarded_once():
    before = list(sys.meta_path)
    forward_old_paths()
    assert sys.meta_path == before


def test_an_old_path_may_be_the_first_import_of_a_process():
    code = (
        "import freeseg.meta_arch.freeseg, freeseg.systems.freeseg as package, sys;"
        "from freeseg.meta_arch.freeseg import FreeSeg;"
        "import freeseg.meta_arch.freeseg_prompts as prompts;"
        "print(package.__name__, FreeSeg.__module__, prompts.__name__,"
        " freeseg.meta_arch.freeseg.FreeSeg is FreeSeg)"
    )
    assert run(code) == (
        "freeseg.systems.freeseg freeseg.systems.freeseg.system "
        "freeseg.systems.freeseg.prompt_stage True"
    )


@pytest.mark.parametrize("attribute", ["meta_arch.FreeSeg", "predictor.Segmenter"])
def test_old_packages_are_attributes_without_an_import_of_their_own(attribute):
    assert run(f"import freeseg; print(freeseg.{attribute}.__name__)") == attribute.split(".")[1]
