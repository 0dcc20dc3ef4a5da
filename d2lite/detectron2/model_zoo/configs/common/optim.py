"""Optimizers; set `params.model` to the model before instantiating."""

import torch

from detectron2.config import LazyCall
from detectron2.solver.build import get_default_optimizer_params

SGD = LazyCall(torch.optim.SGD)(
    lr=0.02,
    momentum=0.9,
    weight_decay=1e-4,
    params=LazyCall(get_default_optimizer_params)(weight_decay_norm=0.0),
)
AdamW = LazyCall(torch.optim.AdamW)(
    lr=1e-4,
    betas=(0.9, 0.999),
    weight_decay=0.1,
    params=LazyCall(get_default_optimizer_params)(base_lr="${..lr}", weight_decay_norm=0.0),
)
