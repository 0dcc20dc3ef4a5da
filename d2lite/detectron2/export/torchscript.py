"""Scripting of models that use `Instances`."""

from __future__ import annotations

import torch
from torch import nn

from detectron2.export.torchscript_patch import freeze_training_mode, patch_instances

__all__ = ["patch_instances", "scripting_with_instances"]


def scripting_with_instances(model: nn.Module, fields: dict[str, type]) -> torch.jit.ScriptModule:
    """Script a model in evaluation mode; `fields` names all fields of its Instances and types."""
    assert not model.training, (
        "Currently we only support exporting models in evaluation mode to torchscript"
    )
    with freeze_training_mode(model), patch_instances(fields):
        return torch.jit.script(model)


export_torchscript_with_instances = scripting_with_instances
