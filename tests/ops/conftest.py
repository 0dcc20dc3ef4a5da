from __future__ import annotations

import pytest
import torch

from freeseg.ops import available, build, native


@pytest.fixture(scope="session")
def cpp():
    """Builds the C++ library where it is missing; skips where it cannot be built."""
    if not available()["cpp"].is_usable:
        try:
            build.build_cpp()
        except build.BuildError as error:
            pytest.skip(str(error))
        native.load.cache_clear()
    return "cpp"


@pytest.fixture(params=["reference", "cpp"])
def implementation(request, monkeypatch):
    """Forces an implementation that runs on any CPU."""
    if request.param == "cpp":
        request.getfixturevalue("cpp")
    monkeypatch.setenv("FREESEG_MSDA", request.param)
    return request.param


@pytest.fixture(scope="session")
def random_case():
    return make_case


def make_case(
    sizes,
    *,
    batch=2,
    heads=2,
    channels=3,
    queries=4,
    points=2,
    spread=1.5,
    seed=0,
    dtype=torch.float64,
    index=torch.int64,
):
    """Arguments of the operator; locations are in a range of `spread` around the centre."""
    generator = torch.Generator().manual_seed(seed)
    pixels = sum(height * width for height, width in sizes)
    levels = len(sizes)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    value = rand(batch, pixels, heads, channels) - 0.5
    locations = (rand(batch, queries, heads, levels, points, 2) - 0.5) * spread + 0.5
    weights = rand(batch, queries, heads, levels * points).softmax(-1)
    starts = [sum(height * width for height, width in sizes[:level]) for level in range(levels)]
    real = torch.promote_types(dtype, torch.float32)
    return (
        value.to(dtype),
        torch.tensor(sizes, dtype=index),
        torch.tensor(starts, dtype=index),
        locations.to(real),
        weights.unflatten(-1, (levels, points)).to(real),
    )
