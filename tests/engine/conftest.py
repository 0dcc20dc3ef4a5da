from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from detectron2.engine import default_argument_parser
from freeseg.engine import Trainer, launch, load_config, start_job

# Detectron2's own default is one port for all jobs of a user
TWO_PROCESSES = ("--num-gpus", "2", "--dist-url", "auto")


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def tiny(tiny_root):
    """The module tiny_job, its model and its sets registered in this process."""
    if "tiny_job" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "tiny_job", Path(__file__).with_name("tiny_job.py")
        )
        sys.modules["tiny_job"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["tiny_job"])
    module = sys.modules["tiny_job"]
    module.register(tiny_root)
    return module


@pytest.fixture
def tiny_arguments(tiny, tmp_path):
    """Command-line arguments of the tiny job from further ones."""

    def make(*further, flags=()):
        options = [*tiny.OPTIONS, "OUTPUT_DIR", str(tmp_path), "SOLVER.LOG_PERIOD", "1"]
        words = [*flags, *options, *map(str, further)]
        return default_argument_parser().parse_args(words)

    return make


@pytest.fixture
def tiny_config(tiny_arguments):
    """Makes a frozen configuration of the tiny job from further KEY VALUE options."""
    return lambda *options: load_config(tiny_arguments(*options))


@pytest.fixture
def one_thread():
    """This process computes on one thread, as processes that share a machine do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def trained(tiny_config, one_thread):
    """Trains the tiny job to its end in this process."""
    return lambda *options: Trainer(tiny_config(*options)).train()


@pytest.fixture
def forking(monkeypatch, one_thread):
    """Processes of jobs begin as copies of this one: no minute is spent on imports."""
    module = sys.modules[launch.__module__]
    monkeypatch.setattr(
        module, "start_processes", functools.partial(start_processes, start_method="fork")
    )


@pytest.fixture
def in_two_processes(tiny_arguments, forking):
    """Runs the tiny job to its end in two processes that this one starts."""

    def run(*options, flags=()):
        start_job(tiny_arguments(*options, flags=[*TWO_PROCESSES, *flags]))

    return run
