import importlib.util
import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from detectron2.utils.collect_env import collect_env_info, detect_compute_compatibility
from detectron2.utils.develop import create_dummy_class, create_dummy_func
from detectron2.utils.env import TORCH_VERSION, seed_all_rng
from detectron2.utils.file_io import PathManager
from detectron2.utils.memory import retry_if_cuda_oom
from detectron2.utils.registry import Registry, locate
from detectron2.utils.serialize import PicklableWrapper
from detectron2.utils.torch_version_utils import min_torch_version


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_seed_all_rng_repeats():
    seed_all_rng(5)
    first = draw()
    seed_all_rng(5)
    assert draw() == first
    seed_all_rng(6)
    assert all(a != b for a, b in zip(draw(), first))
    seed_all_rng()
    second = draw()
    seed_all_rng()
    assert draw() != second


def test_versions():
    assert tuple(int(v) for v in torch.__version__.split(".")[:2]) == TORCH_VERSION
    assert min_torch_version("1.0")
    assert not min_torch_version("99.0")


def test_custom_environment_module_runs_at_import(tmp_path):
    script = tmp_path / "own_env.py"
    script.write_text("def setup_environment():\n    print('own set-up ran')\n")
    folder = os.path.dirname(os.path.dirname(importlib.util.find_spec("detectron2").origin))
    paths = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "DETECTRON2_ENV_MODULE": str(script), "PYTHONPATH": paths}
    command = [sys.executable, "-c", "import detectron2"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "own set-up ran\n"


def test_path_manager_resolves_local_files_and_the_bucket(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with PathManager.open(str(tmp_path / "a.txt")) as f:
        assert f.read() == "hello"
    assert PathManager.isfile(str(tmp_path / "a.txt"))
    assert "detectron2://" in PathManager._path_handlers
    assert "https://" in PathManager._path_handlers


def test_registry():
    registry = Registry("LAYER")

    @registry.register()
    class Some:
        pass

    assert registry.get("Some") is Some
    assert "Some" in registry
    with pytest.raises(KeyError, match="Other"):
        registry.get("Other")
    with pytest.raises(AssertionError):
        registry.register(Some)


def test_locate():
    assert locate("torch.nn.Linear") is torch.nn.Linear
    assert locate("torch.optim.sgd.SGD") is torch.optim.SGD
    with pytest.raises(Exception, match="no_such"):
        locate("torch.no_such")


def test_retry_moves_to_cpu_last():
    calls = []

    def fails(times, error="CUDA out of memory. Tried"):
        calls.append(times)
        if len(calls) <= times:
            raise RuntimeError(error)
        return len(calls)

    for times, expected in [(0, 1), (1, 2), (2, 3)]:
        calls.clear()
        assert retry_if_cuda_oom(fails)(times) == expected
    calls.clear()
    with pytest.raises(RuntimeError, match="out of memory"):
        retry_if_cuda_oom(fails)(3)
    calls.clear()
    with pytest.raises(RuntimeError, match="else"):
        retry_if_cuda_oom(lambda: fails(1, "something else"))()
    assert len(calls) == 1


def test_picklable_wrapper_pickles_closures():
    offset = 3
    wrapper = PicklableWrapper(lambda x: x + offset)
    assert pickle.loads(pickle.dumps(wrapper))(4) == 7
    twice = PicklableWrapper(wrapper)
    assert twice._obj is wrapper._obj
    assert PicklableWrapper([1, 2]).count(1) == 1


def test_dummies_raise_import_error():
    dummy = create_dummy_class("Model", "somelib", "Do this.")
    for use in (dummy, lambda: dummy.attribute, create_dummy_func("run", ["a", "b"])):
        with pytest.raises(ImportError, match="not available"):
            use()


def test_collect_env_info_names_versions():
    text = collect_env_info()
    assert torch.__version__ in text
    assert np.__version__ in text
    assert "detectron2" in text


def test_gpu_architectures_of_a_library(tmp_path):
    assert detect_compute_compatibility(None, "lib.so") == "lib.so"
    assert detect_compute_compatibility(str(tmp_path), "lib.so").startswith("lib.so; cannot find")
    program = tmp_path / "bin/cuobjdump"
    program.parent.mkdir()
    lines = [f"ELF file {i}: $2.{i}.sm_{arch}.cubin" for i, arch in enumerate((90, 70, 90))]
    program.write_text("#!/bin/sh\n" + "".join(f'echo "{line}"\n' for line in lines))
    program.chmod(0o755)
    assert detect_compute_compatibility(str(tmp_path), "lib.so") == "7.0, 9.0"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert detect_compute_compatibility(str(tmp_path), "lib.so") == "lib.so"
