"""Whether the weights of a model are those that its configuration describes."""

from __future__ import annotations

from torch import nn

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.checkpoints import StrictCheckpointer
from freeseg.classes import config_takes_classes, fill_num_classes
from freeseg.names import build_model, registered, with_own_names


def check_fit(cfg: CfgNode, weights: str) -> nn.Module | None:
    """Builds a model and loads its weights as those who use it do; returns it.

    None stands for what is left out: systems of packages that are not imported, and those that take
    words, as they are built with a text encoder, which need not be on this machine.

    Raises:
        ValueError: The weights do not fit, or some are no numbers; one line says which.
    """
    system = registered(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE)
    if system is None or config_takes_classes(cfg):
        return None
    cfg = with_own_names(cfg)
    cfg.defrost()
    cfg.MODEL.DEVICE, cfg.MODEL.IS_TRAIN = "cpu", False
    fill_num_classes(cfg)
    model: nn.Module = build_model(cfg)
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(weights)
    checkpointer.check_fit(weights, allow_misfit=cfg.MODEL.ALLOW_MISFIT)
    return model
