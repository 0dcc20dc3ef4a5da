"""Learning rate schedules with warmup; "epoch" in torch's names means iteration here."""

from __future__ import annotations

import logging
import math
from bisect import bisect_right

from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)
from torch.optim.lr_scheduler import LRScheduler

__all__ = [
    "LRMultiplier",
    "LRScheduler",
    "WarmupCosineLR",
    "WarmupMultiStepLR",
    "WarmupParamScheduler",
]

logger = logging.getLogger(__name__)


class WarmupParamScheduler(CompositeParamScheduler):
    """Puts a warmup before another scheduler."""

    def __init__(
        self,
        scheduler,
        warmup_factor,
        warmup_length,
        warmup_method="linear",
        rescale_interval=False,
    ):
        """Combine the two.

        Args:
            scheduler: what follows the warmup.
            warmup_factor: first value relative to the first one of ``scheduler``.
            warmup_length: length of the warmup relative to the whole, in [0, 1].
            warmup_method: "linear", or "constant" at the first value.
            rescale_interval: start ``scheduler`` from its beginning after the warmup, instead of
                from where it would be by then.
        """
        first = scheduler(0.0)
        if warmup_method == "constant":
            warmup = ConstantParamScheduler(warmup_factor * first)
        elif warmup_method == "linear":
            reached = first if rescale_interval else scheduler(warmup_length)
            warmup = LinearParamScheduler(warmup_factor * first, reached)
        else:
            raise ValueError(f"unknown warmup method {warmup_method!r}; use linear or constant")
        super().__init__(
            [warmup, scheduler],
            lengths=[warmup_length, 1 - warmup_length],
            interval_scaling=["rescaled", "rescaled" if rescale_interval else "fixed"],
        )


class LRMultiplier(LRScheduler):
    """Sets every rate to its initial value times an fvcore ParamScheduler."""

    def __init__(self, optimizer, multiplier, max_iter, last_iter=-1):
        """Set the schedule.

        Args:
            optimizer: whose rates are set.
            multiplier: ParamScheduler over the progress of the training, in [0, 1].
            max_iter: iterations of the whole training.
            last_iter: iteration to continue after.
        """
        if not isinstance(multiplier, ParamScheduler):
            raise ValueError(f"multiplier must be an fvcore ParamScheduler, not {multiplier!r}")
        self._multiplier = multiplier
        self._max_iter = max_iter
        super().__init__(optimizer, last_epoch=last_iter)

    def state_dict(self):
        """Return torch's state alone; fvcore's schedulers have none."""
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}

    def get_lr(self):
        factor = self._multiplier(self.last_epoch / self._max_iter)
        return [base * factor for base in self.base_lrs]


class _WarmupLR(LRScheduler):
    """Multiplies a decay, defined by subclasses, with a warmup."""

    def __init__(self, optimizer, warmup_factor, warmup_iters, warmup_method, last_epoch):
        name = type(self).__name__
        logger.warning(f"{name} is deprecated; use LRMultiplier with an fvcore ParamScheduler")
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        self.warmup_method = warmup_method
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        warmup = _get_warmup_factor_at_iter(
            self.warmup_method, self.last_epoch, self.warmup_iters, self.warmup_factor
        )
        return [base * warmup * self._decay() for base in self.base_lrs]


class WarmupMultiStepLR(_WarmupLR):
    """Multiplies the rate by ``gamma`` at every milestone."""

    def __init__(
        self,
        optimizer,
        milestones,
        gamma=0.1,
        warmup_factor=0.001,
        warmup_iters=1000,
        warmup_method="linear",
        last_epoch=-1,
    ):
        """``milestones`` are iterations in ascending order."""
        if list(milestones) != sorted(milestones):
            raise ValueError(f"milestones must ascend, got {milestones}")
        self.milestones = milestones
        self.gamma = gamma
        super().__init__(optimizer, warmup_factor, warmup_iters, warmup_method, last_epoch)

    def _decay(self):
        return self.gamma ** bisect_right(self.milestones, self.last_epoch)


class WarmupCosineLR(_WarmupLR):
    """Decays the rate along half a cosine over ``max_iters``."""

    def __init__(
        self,
        optimizer,
        max_iters,
        warmup_factor=0.001,
        warmup_iters=1000,
        warmup_method="linear",
        last_epoch=-1,
    ):
        """The warmup multiplies the cosine rather than coming before it."""
        self.max_iters = max_iters
        super().__init__(optimizer, warmup_factor, warmup_iters, warmup_method, last_epoch)

    def _decay(self):
        return (1.0 + math.cos(math.pi * self.last_epoch / self.max_iters)) / 2


def _get_warmup_factor_at_iter(method, iter, warmup_iters, warmup_factor):
    """Return the factor on the rate at iteration ``iter``; 1 from ``warmup_iters`` on."""
    if iter >= warmup_iters:
        return 1.0
    if method == "constant":
        return warmup_factor
    if method == "linear":
        progress = iter / warmup_iters
        return warmup_factor * (1 - progress) + progress
    raise ValueError(f"unknown warmup method {method!r}; use linear or constant")
