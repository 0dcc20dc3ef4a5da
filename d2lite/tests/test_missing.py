"""What this distribution leaves out; on the real package the same names simply work."""

import pytest

import detectron2
from detectron2.layers import DeformConv, ModulatedDeformConv, ROIAlignRotated

is_lite = pytest.mark.skipif(
    not detectron2.__version__.endswith("+lite"), reason="the real package leaves nothing out"
)


@is_lite
@pytest.mark.parametrize("placeholder", [DeformConv, ModulatedDeformConv, ROIAlignRotated])
def test_use_names_the_real_package(placeholder):
    with pytest.raises(NotImplementedError, match="install the real Detectron2"):
        placeholder(3, 3, 3)
    with pytest.raises(NotImplementedError, match=placeholder.__name__):
        _ = placeholder.some_attribute
    assert not hasattr(placeholder, "some_attribute")


@is_lite
def test_a_placeholder_may_be_subclassed_but_not_instantiated():
    class Own(DeformConv):
        pass

    assert not isinstance(3, Own)
    with pytest.raises(NotImplementedError):
        Own()


@is_lite
def test_known_but_unshipped_config_names_the_real_package():
    from detectron2 import model_zoo

    with pytest.raises(NotImplementedError, match="install the real Detectron2"):
        model_zoo.get_config("COCO-Detection/retinanet_R_50_FPN_1x.yaml")


@is_lite
def test_import_is_cheap():
    import os
    import subprocess
    import sys

    folder = os.path.dirname(os.path.dirname(detectron2.__file__))
    code = "import detectron2, sys; print('torch' in sys.modules, 'cv2' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": folder}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize("name", ["DeformConv", "ROIAlign", "nms_rotated", "get_norm", "ASPP"])
def test_names_are_importable_from_layers(name):
    import detectron2.layers

    assert name in detectron2.layers.__all__
