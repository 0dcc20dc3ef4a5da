from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from detectron2.engine import default_argument_parser
from freeseg.engine import Trainer, load_config


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
def tiny_config(tiny, tmp_path):
    """Makes a frozen configuration of the tiny job from further KEY VALUE options."""

    def make(*options):
        options = [str(option) for option in options]
        arguments = [*tiny.OPTIONS, "OUTPUT_DIR", str(tmp_path), "SOLVER.LOG_PERIOD", "1", *options]
        return load_config(default_argument_parser().parse_args(arguments))

    return make


@pytest.fixture
def trained(tiny_config):
    """Trains the tiny job to its end in this process, on one thread as the test's processes do."""

    def train(*options):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            Trainer(tiny_config(*options)).train()
        finally:
            torch.set_num_threads(threads)

    return train
