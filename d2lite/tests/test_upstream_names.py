"""Everything public of the real Detectron2 is here, or says by name that it is not.

On the real package the same tests say whether `upstream_names.json` is right.
"""

import importlib
import inspect
import json
import pkgutil
import re
from contextlib import suppress
from pathlib import Path

import pytest

import detectron2
from detectron2.data import DatasetCatalog, MetadataCatalog

UPSTREAM = json.loads(
    (Path(__file__).parents[1] / "detectron2/upstream_names.json").read_text(encoding="utf-8")
)
MODULES = UPSTREAM["modules"]
DATASETS = UPSTREAM["datasets"]
USES = [
    lambda thing: thing(),
    lambda thing: thing.anything,
    lambda thing: thing[0],
    lambda thing: 0 in thing,
    lambda thing: 2 * thing,
    lambda thing: thing > 2,
    list,
    len,
    bool,
]
IS_LITE = detectron2.__version__.endswith("+lite")
on_lite = pytest.mark.skipif(not IS_LITE, reason="the real package leaves nothing out")
on_real = pytest.mark.skipif(IS_LITE, reason="says whether the list is right, from the real one")


def refuses(name):
    return pytest.raises(NotImplementedError, match=rf"\b{re.escape(name)} .*is not part of")


def registries():
    """Return the registries of the modules in the list, by their own names."""
    found = {}
    for module, names in MODULES.items():
        with suppress(ModuleNotFoundError):  # the real package's Caffe2 export without Caffe2
            for name in (name for name in names if name.endswith("_REGISTRY")):
                registry = getattr(importlib.import_module(module), name)
                if not isinstance(registry, type):  # a placeholder
                    found[registry._name] = registry
    return found


@on_lite
@pytest.mark.parametrize("module", MODULES)
def test_names_are_here_or_refuse_every_use(module):
    here = importlib.import_module(module)
    for name in MODULES[module]:
        thing = getattr(here, name)
        if hasattr(type(thing), "_refuse"):
            for use in USES:
                with refuses(f"{thing.__module__}.{name}"):
                    use(thing)
            assert not hasattr(thing, "anything")
            # a package and the module which it takes the name from have the same
            assert getattr(importlib.import_module(thing.__module__), name) is thing


@on_lite
def test_registries_refuse_what_only_upstream_registers():
    here = registries()
    refused = []
    for kind, names in UPSTREAM["registries"].items():
        for name in names if kind in here else ():
            if name not in here[kind]:
                refused.append(name)
                with refuses(name):
                    here[kind].get(name)
        if kind in here:
            with pytest.raises(KeyError, match="nobody"):
                here[kind].get("nobody")
    assert {"GeneralizedRCNN", "PanopticFPN", "PanopticDeepLab", "DeepLabV3Head"} <= {*refused}


@on_lite
def test_a_project_may_register_what_is_left_out():
    from detectron2.utils.registry import Registry

    own = Registry("META_ARCH")

    @own.register()
    class PanopticDeepLab:
        pass

    assert own.get("PanopticDeepLab") is PanopticDeepLab


@on_lite
@pytest.mark.parametrize("name", DATASETS)
def test_datasets_that_only_upstream_has_are_refused_until_registered(name, monkeypatch):
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", {})
    with refuses(name):
        DatasetCatalog.get(name)
    metadata = MetadataCatalog.get(name)
    assert not hasattr(metadata, "thing_classes")
    with refuses(name):
        _ = metadata.thing_classes
    with refuses(name):
        metadata.get("thing_classes")

    metadata.thing_classes = ["own"]
    DatasetCatalog.register(name, lambda: [{"file_name": "own.jpg"}])
    assert DatasetCatalog.get(name) == [{"file_name": "own.jpg"}]
    assert MetadataCatalog.get(name).get("thing_classes") == ["own"]
    assert metadata.get("stuff_classes") is None


def test_all_other_datasets_are_registered():
    importlib.import_module("detectron2.data.datasets")
    others = {"ade20k", "cityscapes", "coco", "keypoints", "voc"}
    assert {name.split("_")[0] for name in {*DatasetCatalog} - {*DATASETS}} >= others
    assert {name.split("_")[0] for name in DATASETS} == {"lvis"}


@on_real
def test_the_real_modules_have_these_public_names_and_define_no_others():
    for module, names in MODULES.items():
        with suppress(ModuleNotFoundError):  # without Caffe2, which its export is for
            here = vars(importlib.import_module(module))
            assert [n for n in names if n not in here and not n.startswith("Caffe2")] == [], module
            defined = {
                name
                for name, thing in here.items()
                if (inspect.isclass(thing) or inspect.isfunction(thing))
                and thing.__module__ == module
                and not name.startswith("_")
            }
            assert defined - {*names} == set(), module


@on_real
def test_the_real_package_has_no_other_modules():
    walked = pkgutil.walk_packages(detectron2.__path__, "detectron2.", onerror=lambda name: None)
    public = {module.name for module in walked if "._" not in module.name}
    public = {name for name in public if not name.startswith("detectron2.model_zoo.configs")}
    assert public - {*MODULES} <= {"detectron2.projects"}


@on_real
def test_the_real_registries_hold_these():
    held = {
        kind: sorted(name for name, entry in has if entry.__module__.startswith("detectron2."))
        for kind, has in registries().items()
    }
    assert held == UPSTREAM["registries"]


@on_real
def test_the_real_package_registers_these_datasets():
    assert {*DATASETS} == {name for name in DatasetCatalog if name.startswith("lvis")}
