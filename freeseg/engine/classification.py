"""Pretrains a timm backbone to name the objects of Shapes: what ImageNet is to a full-size model.

Shapes: B crops per step, S side of a crop, K classes.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.checkpoints import write_checkpoint
from freeseg.data.shapes.crops import CropSet
from freeseg.engine.optimizer import warmup_cosine

PIXEL_MEAN = (123.675, 116.280, 103.530)  # of the configurations that use the weights
PIXEL_STD = (58.395, 57.120, 57.375)
SCALE = (0.5, 1.1)  # size of the object in a sample, relative to its crop
SHIFT = 0.25  # of the object at most, relative to half of the sample
LIGHT = 0.15  # how much brighter or darker at most
KEY = "backbone.body."  # where `TimmBackbone` stands in a model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassificationSettings:
    """How long and how fast.

    Attributes:
        steps: Of the optimizer.
        crops: B.
        learning_rate: At its highest; it rises linearly and falls with a cosine.
        warmup: Steps of the rise.
        seed: The result follows from it, the settings and the version of PyTorch.
    """

    steps: int = 2000
    crops: int = 64
    learning_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.05
    seed: int = 0


def pretrain_classifier(name: str, train: CropSet, settings: ClassificationSettings) -> nn.Module:
    """A timm model that knows which class of `train` a crop shows."""
    torch.manual_seed(settings.seed)
    model: nn.Module = timm.create_model(name, num_classes=int(train.classes.max()) + 1)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    rate = partial(warmup_cosine, warmup=settings.warmup, steps=settings.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    start, right = time.perf_counter(), 0.0
    for step in range(settings.steps):
        places = torch.randint(len(train.classes), (settings.crops,))
        logits = model(_normalised(_varied(_masked_or_plain(train, places))))  # [B, K]
        loss = F.cross_entropy(logits, train.classes[places], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        hits = float((logits.argmax(1) == train.classes[places]).float().mean())
        right += 0.02 * (hits - right)
        if step % 100 == 99:
            logger.info(
                "step %d of %d: loss %.3f, %.0f %% right, %.0f s",
                *(step + 1, settings.steps, float(loss.detach()), 100 * right),
                time.perf_counter() - start,
            )
    return model


def classification_accuracy(model: nn.Module, crops: CropSet) -> float:
    """Percent of the plain crops that the model names right."""
    model.eval()
    with torch.no_grad():
        found = [model(_normalised(part.float())).argmax(1) for part in crops.plain.split(256)]
    return 100 * float((torch.cat(found) == crops.classes).float().mean())


def save_backbone(name: str, model: nn.Module, path: str | Path, about: str) -> None:
    """Writes what a feature pyramid of the model has, at half precision, for ``MODEL.WEIGHTS``."""
    wanted = set(timm.create_model(name, features_only=True).state_dict())
    state = {KEY + key: value for key, value in _features_keys(model, wanted).items()}
    write_checkpoint(state, path, half=True, metadata={"about": about})


def _features_keys(model: nn.Module, wanted: set[str]) -> dict[str, Tensor]:
    state = model.state_dict()
    missing = sorted(wanted - set(state))
    if missing:
        raise ValueError(f"the classifier has other names than its pyramid: no {missing[:3]}")
    return {key: state[key].detach() for key in sorted(wanted)}


def _masked_or_plain(train: CropSet, places: Tensor) -> Tensor:
    is_masked = torch.rand(len(places), 1, 1, 1) < 0.25
    return torch.where(is_masked, train.masked[places], train.plain[places]).float()


def _varied(pictures: Tensor) -> Tensor:
    """Pictures [B, 3, S, S] with the object at other sizes and places, mirrored, in other light."""
    count = len(pictures)
    scale = torch.empty(count).uniform_(math.log(SCALE[0]), math.log(SCALE[1])).exp()
    mirror = torch.randint(2, (count,)) * 2.0 - 1
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = mirror / scale, 1 / scale
    theta[:, :, 2] = torch.empty(count, 2).uniform_(-SHIFT, SHIFT)
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    return moved * torch.empty(count, 1, 1, 1).uniform_(1 - LIGHT, 1 + LIGHT)


def _normalised(pictures: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return (pictures.float() - mean) / std
