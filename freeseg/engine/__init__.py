"""Training and evaluation jobs."""

from freeseg.engine.beginning import JobError
from freeseg.engine.checkpointing import AtomicCheckpointer
from freeseg.engine.job import evaluate, load_config, run_job, start_job
from freeseg.engine.launch import launch
from freeseg.engine.optimizer import build_lr_scheduler, build_optimizer, parameter_groups
from freeseg.engine.trainer import Trainer

__all__ = [
    "AtomicCheckpointer",
    "JobError",
    "Trainer",
    "build_lr_scheduler",
    "build_optimizer",
    "evaluate",
    "launch",
    "load_config",
    "parameter_groups",
    "run_job",
    "start_job",
]
