"""Helpers for writing tests of models and structures."""

from __future__ import annotations

import functools
import io
import os
import tempfile
import unittest
from typing import Any, Callable

import numpy as np
import torch

from detectron2.structures import Boxes, Instances, ROIMasks
from detectron2.utils.torch_version_utils import min_torch_version

skipIfOnCPUCI = unittest.skipIf(  # noqa: N816
    os.environ.get("CI") and not torch.cuda.is_available(), "too slow on CPU for CI"
)


def skipIfUnsupportedMinTorchVersion(min_version: str) -> Callable:  # noqa: N802
    """Skip a test on an older torch."""
    reason = f"torch is {torch.__version__}, required is {min_version}"
    return unittest.skipIf(not min_torch_version(min_version), reason)


def skipIfUnsupportedMinOpsetVersion(  # noqa: N802
    min_opset_version: int, current_opset_version: int | None = None
) -> Callable:
    """Skip a test method whose case (its `opset_version`, or the argument) has an older opset."""

    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def wrapped(self: Any) -> Any:
            opset = getattr(self, "opset_version", current_opset_version)
            if opset < min_opset_version:
                raise unittest.SkipTest(f"opset is {opset}, required is {min_opset_version}")
            return test(self)

        return wrapped

    return decorate


def get_model_no_weights(config_path: str) -> torch.nn.Module:
    """Build a model of the zoo with random weights, on CPU if there is no GPU."""
    from detectron2 import model_zoo
    from detectron2.config import CfgNode, instantiate
    from detectron2.modeling import build_model

    cfg = model_zoo.get_config(config_path)
    if not isinstance(cfg, CfgNode):
        return instantiate(cfg.model)
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    return build_model(cfg)


def random_boxes(num_boxes: int, max_coord: float = 100, device: Any = "cpu") -> torch.Tensor:
    """Return boxes [N, 4] with coordinates below `max_coord` and sides of 1 or more."""
    start_and_size = (torch.rand(num_boxes, 4, device=device) * (max_coord / 2)).clamp_(min=1.0)
    start, size = start_and_size.split(2, dim=1)
    return torch.cat([start, start + size], dim=1)


def get_sample_coco_image(tensor: bool = True) -> Any:
    """Return one COCO photo in BGR, [3, H, W] or an array [H, W, 3]; downloads it if not there."""
    from detectron2.data import DatasetCatalog
    from detectron2.data.detection_utils import read_image
    from detectron2.utils.file_io import PathManager

    try:
        file_name = DatasetCatalog.get("coco_2017_val_100")[0]["file_name"]
        is_there = PathManager.exists(file_name)
    except OSError:
        is_there = False
    if not is_there:
        url = "http://images.cocodataset.org/train2017/000000000009.jpg"
        file_name = PathManager.get_local_path(url)
    image = read_image(file_name, format="BGR")
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) if tensor else image


def convert_scripted_instances(instances: Any) -> Instances:
    """Return ordinary Instances with the fields of a scripted one."""
    assert hasattr(instances, "image_size"), f"Expect Instances, but got {type(instances)}!"
    converted = Instances(instances.image_size)
    for name in instances._field_names:
        value = getattr(instances, f"_{name}", None)
        if value is not None:
            converted.set(name, value)
    return converted


def assert_instances_allclose(
    input: Any, other: Any, *, rtol: float = 1e-5, msg: str = "", size_as_tensor: bool = False
) -> None:
    """Assert equal size and fields: boxes within 100 rtol, floats relative to their largest."""
    prefix = (msg.rstrip() or "Two Instances are different!") + " "
    first, second = (
        value if isinstance(value, Instances) else convert_scripted_instances(value)
        for value in (input, other)
    )
    sizes = first.image_size, second.image_size
    is_same_size = sizes[0] == sizes[1]
    if size_as_tensor:
        is_same_size = torch.equal(torch.tensor(sizes[0]), torch.tensor(sizes[1]))
    assert is_same_size, f"{prefix}image_size is {sizes[0]} vs. {sizes[1]}!"
    names, other_names = sorted(first.get_fields()), sorted(second.get_fields())
    assert names == other_names, f"{prefix}Fields are {names} vs {other_names}!"
    for name in names:
        is_close = _is_close(first.get(name), second.get(name), rtol)
        assert is_close, f"{prefix}Field {name} differs too much!"


def _is_close(value: Any, other: Any, rtol: float) -> bool:
    if isinstance(value, (Boxes, ROIMasks)):
        return torch.allclose(value.tensor, other.tensor, atol=100 * rtol)
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"Don't know how to compare type {type(value)}")
    if not value.dtype.is_floating_point:
        return torch.equal(value, other)
    return torch.allclose(value, other, atol=value.abs().max().item() * rtol)


def reload_script_model(module: Any) -> Any:
    """Save a scripted module and load it back."""
    with io.BytesIO() as buffer:
        torch.jit.save(module, buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)


def reload_lazy_config(cfg: Any) -> Any:
    """Save a lazy config and load it back."""
    from detectron2.config import LazyConfig

    with tempfile.TemporaryDirectory() as folder:
        filename = os.path.join(folder, "reloaded.yaml")
        LazyConfig.save(cfg, filename)
        return LazyConfig.load(filename)
