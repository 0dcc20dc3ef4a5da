"""The Triton kernels in Triton's interpreter, on the CPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from freeseg.ops import ms_deform_attn_reference
from freeseg.ops.reference import ms_deform_attn_reference_backward
from freeseg.ops.samples import Samples

CASES = (
    ("odd channels, two blocks", {"channels": 65, "queries": 10, "batch": 1}),
    ("as published", {"channels": 32, "batch": 1, "points": 4}),
    ("float32", {"channels": 8, "dtype": torch.float32, "spread": 6.0}),
    ("float16", {"channels": 1, "dtype": torch.float16}),
    ("bfloat16", {"channels": 8, "dtype": torch.bfloat16}),
)
INTERPRET = """
import sys, torch
from freeseg.ops import triton_library
from freeseg.ops.samples import Samples
results = []
for samples, grad_output in torch.load(sys.argv[1], weights_only=False):
    samples = Samples(*samples)
    gradients = triton_library.backward(samples, grad_output)
    results.append((triton_library.forward(samples), *gradients))
torch.save(results, sys.argv[2])
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")
def test_kernels_equal_the_reference(random_case, tmp_path):
    """All in one process of its own: Triton must know when it is imported that it interprets."""
    cases = []
    for name, case in CASES:
        samples = Samples.prepare(*random_case([(4, 3), (2, 1)], **case))
        shape, dtype = samples.output_shape, samples.value.dtype
        generator = torch.Generator().manual_seed(0)
        cases.append((name, samples, torch.randn(shape, generator=generator).to(dtype)))
    fields = [((s.value, s.sizes, s.starts, s.locations, s.weights), grad) for _, s, grad in cases]
    torch.save(fields, tmp_path / "in.pt")
    done = subprocess.run(
        [sys.executable, "-c", INTERPRET, str(tmp_path / "in.pt"), str(tmp_path / "out.pt")],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = torch.load(tmp_path / "out.pt", weights_only=True)
    for (name, samples, grad_output), found in zip(cases, results):
        dtype = samples.locations.dtype
        inputs = (samples.value.to(dtype), samples.sizes, samples.locations, samples.weights)
        expected = [
            ms_deform_attn_reference(*inputs),
            *ms_deform_attn_reference_backward(*inputs, grad_output.to(dtype)),
        ]
        # The interpreter truncates to bfloat16 where a GPU rounds.
        rounding = 2 * torch.finfo(samples.value.dtype).eps
        for one, other in zip(found, expected):
            torch.testing.assert_close(
                one.to(dtype),
                other,
                rtol=max(rounding, 1e-5),
                atol=max(rounding, 1e-5),
                msg=lambda message, name=name: f"{name}: {message}",
            )
