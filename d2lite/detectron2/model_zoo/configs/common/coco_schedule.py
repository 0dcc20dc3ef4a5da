"""Step schedules named after their length: 1x is 90000 iterations of 16 images."""

from fvcore.common.param_scheduler import MultiStepParamScheduler

from detectron2.config import LazyCall
from detectron2.solver import WarmupParamScheduler


def default_X_scheduler(num_X):  # noqa: N802, N803  (upstream's names)
    """Return the config of a schedule that falls to a tenth twice near its end."""
    length = 90000 * num_X
    # up to 2x the steps are at fixed fractions, later at fixed distances from the end
    steps = [60000, 80000, 90000] if num_X <= 2 else [length - 60000, length - 20000, length]
    return LazyCall(WarmupParamScheduler)(
        scheduler=LazyCall(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=steps),
        warmup_method="linear",
        warmup_factor=0.001,
        warmup_length=1000 / length,
    )


lr_multiplier_1x, lr_multiplier_2x, lr_multiplier_3x, lr_multiplier_6x, lr_multiplier_9x = map(
    default_X_scheduler, (1, 2, 3, 6, 9)
)
