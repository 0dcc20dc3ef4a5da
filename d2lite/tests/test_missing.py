"""How what is left out behaves; on the real package the same names simply work."""

import copy
import importlib.util
import inspect
import os
import pickle
import pkgutil
import pydoc
import subprocess
import sys

import cloudpickle
import pytest

import detectron2
import detectron2.layers
import detectron2.modeling
import detectron2.tracking
from detectron2.layers import DeformConv

pytestmark = pytest.mark.skipif(
    not detectron2.__version__.endswith("+lite"), reason="the real package leaves nothing out"
)


def test_use_says_what_to_install():
    with pytest.raises(NotImplementedError, match=r"DeformConv .* install the real Detectron2"):
        DeformConv(3, 3, 3)


def test_a_placeholder_may_be_subclassed_but_not_instantiated():
    class Own(DeformConv):
        def __init__(self):
            self.is_built = True

    assert not isinstance(3, Own)
    with pytest.raises(NotImplementedError, match="DeformConv"):
        Own()


def test_a_name_that_upstream_has_not_is_an_import_error():
    with pytest.raises(ImportError, match="DeformConvv"):
        from detectron2.layers import DeformConvv  # noqa: F401
    with pytest.raises(ImportError, match="BBoxTracker"):
        from detectron2.tracking import BBoxTracker  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"detectron2\.trackings"):
        importlib.import_module("detectron2.trackings")
    with pytest.raises(AttributeError, match="DeformConvv"):
        _ = detectron2.layers.DeformConvv


def test_star_imports_have_what_upstream_exports():
    names = {}
    exec("from detectron2.modeling import *; from detectron2.tracking import *", names)
    assert {"GeneralizedRCNN", "RetinaNet", "BaseTracker"} <= {*names}


def test_a_module_that_is_left_out_is_an_attribute_of_its_package():
    assert detectron2.modeling.meta_arch.fcos.FCOS is detectron2.modeling.FCOS


def test_placeholders_are_pickled_and_copied_by_name():
    assert pickle.loads(pickle.dumps(DeformConv)) is DeformConv
    assert copy.deepcopy(DeformConv) is DeformConv
    module = detectron2.tracking
    assert cloudpickle.loads(cloudpickle.dumps(lambda: module))() is module


@pytest.mark.parametrize("module", [detectron2.layers, detectron2.tracking])
def test_modules_can_be_looked_at(module):
    assert importlib.util.find_spec(module.__name__) is module.__spec__
    assert dict(inspect.getmembers(module))["__name__"] == module.__name__
    assert module.__name__ in pydoc.render_doc(module)


def test_the_package_can_be_walked():
    walked = {found.name for found in pkgutil.walk_packages(detectron2.__path__, "detectron2.")}
    assert "detectron2.layers.aspp" in walked
    assert "class ASPP" in inspect.getsource(importlib.import_module("detectron2.layers.aspp"))
    assert importlib.util.find_spec("detectron2.utils.nothing") is None


def test_import_is_cheap():
    folder = os.path.dirname(os.path.dirname(detectron2.__file__))
    code = "import detectron2, sys; print('torch' in sys.modules, 'cv2' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": folder}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "False False\n"
