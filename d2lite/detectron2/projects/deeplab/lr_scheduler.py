"""Polynomial learning rate decay."""

from __future__ import annotations

import math

from detectron2.solver.lr_scheduler import LRScheduler, _get_warmup_factor_at_iter


class WarmupPolyLR(LRScheduler):
    """Decays the rate as ``(1 - iter / max_iters) ** power`` after a warmup."""

    def __init__(
        self,
        optimizer,
        max_iters,
        warmup_factor=0.001,
        warmup_iters=1000,
        warmup_method="linear",
        last_epoch=-1,
        power=0.9,
        constant_ending=0.0,
    ):
        """Set the schedule.

        Args:
            optimizer: whose rates are set.
            max_iters: iteration where the rate reaches zero.
            warmup_factor: factor on the rate at the start.
            warmup_iters: iterations of the warmup.
            warmup_method: "linear", or "constant" at ``warmup_factor``.
            last_epoch: iteration to continue after.
            power: exponent.
            constant_ending: factor that the decay does not go below after the warmup.
        """
        self.max_iters = max_iters
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        self.warmup_method = warmup_method
        self.power = power
        self.constant_ending = constant_ending
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """Return the rate of each parameter group for the current iteration.

        Raises:
            ValueError: the iteration is past ``max_iters`` and ``power`` is not an integer.
        """
        warmup = _get_warmup_factor_at_iter(
            self.warmup_method, self.last_epoch, self.warmup_iters, self.warmup_factor
        )
        decay = math.pow(1.0 - self.last_epoch / self.max_iters, self.power)
        if warmup == 1.0 and self.constant_ending > 0:
            decay = max(decay, self.constant_ending)
        return [base * warmup * decay for base in self.base_lrs]
