"""Lets torchscript see `Instances` as a class with a fixed list of typed fields.

The dynamic fields of `Instances` cannot be scripted. For a given list of fields this writes the
source of an equivalent class with static ones, and tells torchscript to take it for `Instances`.
"""

from __future__ import annotations

import itertools
import linecache
import sys
from contextlib import contextmanager
from copy import deepcopy
from types import ModuleType
from typing import Any

import torch
from torch import nn

import detectron2  # noqa: F401  (torchscript looks up the stand-in's types in this file)
from detectron2.structures import Boxes, Instances

_numbers = itertools.count(1)


@contextmanager
def patch_instances(fields: dict[str, type]):
    """Within this context torchscript compiles `Instances` with these fields; yields that class."""
    _forget_compiled_code()  # it may refer to an earlier stand-in
    name = f"ScriptedInstances{next(_numbers)}"
    module = _module_from_source(f"{__name__}.{name}", _class_source(name, fields))
    stand_in = getattr(module, name)
    try:
        torch.jit.script(stand_in)
        Instances.__torch_script_class__ = True  # "compiled already", and under this name:
        Instances._jit_override_qualname = torch._jit_internal._qualified_name(stand_in)
        stand_in.from_instances = _converter(stand_in)
        yield stand_in
    finally:
        for mark in ("__torch_script_class__", "_jit_override_qualname"):
            if mark in vars(Instances):
                delattr(Instances, mark)
        del sys.modules[module.__name__]


@contextmanager
def freeze_training_mode(model: nn.Module):
    """Within this context torchscript takes `training` of all submodules for a constant."""
    saved = {}
    for kind in {type(module) for module in model.modules()}:
        if hasattr(kind, "__constants__"):  # the older way, which excludes annotations
            continue
        saved[kind] = vars(kind).get("__annotations__")
        kind.__annotations__ = {**(saved[kind] or {}), "training": torch.jit.Final[bool]}
    try:
        yield
    finally:
        for kind, annotations in saved.items():
            kind.__annotations__ = {} if annotations is None else annotations


def _forget_compiled_code() -> None:
    from torch.jit._recursive import concrete_type_store
    from torch.jit._state import _jit_caching_layer

    concrete_type_store.type_store.clear()
    _jit_caching_layer.clear()


def _converter(stand_in: type) -> Any:
    @torch.jit.unused
    def from_instances(instances: Instances) -> Any:
        converted = stand_in(instances.image_size)
        for name, value in instances.get_fields().items():
            assert hasattr(converted, f"_{name}"), f"No attribute named {name} in {stand_in}"
            setattr(converted, name, deepcopy(value))
        return converted

    return from_instances


def _module_from_source(name: str, source: str) -> ModuleType:
    """Make an importable module; torchscript reads its source back through linecache."""
    module = ModuleType(name)
    module.__file__ = f"<{name}>"
    linecache.cache[module.__file__] = (len(source), None, source.splitlines(True), module.__file__)
    sys.modules[name] = module
    exec(compile(source, module.__file__, "exec"), vars(module))
    return module


_HEAD = """
class {cls}:
    def __init__(self, image_size: Tuple[int, int], {parameters}):
        self.image_size = image_size
        self._field_names = {names}
"""
_FIELD = """
    @property
    def {name}(self) -> {kind}:
        value = self._{name}
        assert value is not None, "{name} is None and cannot be accessed!"
        return value

    @{name}.setter
    def {name}(self, value: {kind}) -> None:
        self._{name} = value
"""
# method -> (what comes before, what is done with each field that is set, what comes after);
# a plain `value` is needed because torchscript only narrows the type of local names
_METHODS = {
    "__len__(self) -> int": (
        "",
        "return len(value)",
        'raise NotImplementedError("Empty Instances does not support __len__!")',
    ),
    "to(self, device: torch.device) -> {cls}": (
        "result = {cls}({blank})",
        "result._{name} = value.to(device)",
        "return result",
    ),
    "__getitem__(self, item) -> {cls}": (
        "result = {cls}({blank})",
        "result._{name} = value[item]",
        "return result",
    ),
    "cat(self, instances: List[{cls}]) -> {cls}": (
        "result = {cls}({blank})",
        "result._{name} = {join}([one.{name} for one in instances])",
        "return result",
    ),
    "get_fields(self) -> Dict[str, torch.Tensor]": (
        "result = torch.jit.annotate(Dict[str, torch.Tensor], {{}})",
        "{assign_tensor}",
        "return result",
    ),
    "has(self, name: str) -> bool": (
        "is_set = False",
        'is_set = is_set or name == "{name}"',
        "return is_set",
    ),
}


def _class_source(cls: str, fields: dict[str, type]) -> str:
    """Return the source of a module with the stand-in class."""
    described = [_describe(name, kind) for name, kind in fields.items()]
    parameters = ", ".join("{name}: Optional[{kind}] = None".format(**field) for field in described)
    imports = sorted({f"import {kind.__module__}" for kind in fields.values()})
    lines = ["import torch", "from typing import Dict, List, Optional, Tuple", *imports]
    lines.append(_HEAD.format(cls=cls, parameters=parameters, names=tuple(fields)))
    lines.extend(
        "        self._{name} = torch.jit.annotate(Optional[{kind}], {name})".format(**field)
        for field in described
    )
    lines.extend(_FIELD.format(**field) for field in described)
    blank = ", ".join(["self.image_size", *["None"] * len(fields)])  # no defaults inside the class
    for signature, (before, each, after) in _METHODS.items():
        lines.append(f"    def {signature.format(cls=repr(cls))}:")
        lines.append(f"        {before.format(cls=cls, blank=blank)}")
        for field in described:
            if each.startswith("result._{name} = value.to") and not field["can_move"]:
                continue
            lines.append("        value = self._{name}".format(**field))
            lines.append("        if value is not None:")
            lines.append("            " + each.format(**field))
        lines.append(f"        {after}")
    return "\n".join(lines) + "\n"


def _describe(name: str, kind: type) -> dict[str, Any]:
    assert isinstance(name, str), f"Field name must be str, got {name}"
    is_tensor = kind is torch.Tensor
    tensor = {torch.Tensor: "value", Boxes: "value.tensor"}.get(kind)
    return {
        "name": name,
        "kind": f"{kind.__module__}.{kind.__name__}",
        "can_move": hasattr(kind, "to"),
        "join": "torch.cat" if is_tensor else "value.cat",
        "assign_tensor": f'result["{name}"] = {tensor}'
        if tensor
        else f'assert False, "unsupported type {kind.__name__}"',
    }
