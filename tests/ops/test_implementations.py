from __future__ import annotations

import logging

import pytest
import torch

from freeseg.ops import available, build, implementations, ms_deform_attn, native


def test_every_implementation_says_where_it_runs_or_why_not():
    states = available()
    assert list(states) == ["cuda", "cpp", "triton", "reference"]
    assert states["reference"].is_usable
    assert states["reference"].reason == "on every device"
    if not torch.cuda.is_available():
        assert not states["cuda"].is_usable
        assert states["cuda"].reason == "no CUDA device"


def test_cpp_is_what_runs_on_a_cpu(cpp, monkeypatch):
    monkeypatch.delenv("FREESEG_MSDA", raising=False)
    implementations._fastest.cache_clear()
    assert implementations.choose(torch.device("cpu")).name == "cpp"


def test_unknown_name_is_refused_with_the_known_ones(random_case, monkeypatch):
    monkeypatch.setenv("FREESEG_MSDA", "fastest")
    with pytest.raises(ValueError, match=r"FREESEG_MSDA must be one of \['cpp', 'cuda'"):
        ms_deform_attn(*random_case([(2, 2)]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_forced_implementation_that_cannot_run_says_why(random_case, monkeypatch):
    monkeypatch.setenv("FREESEG_MSDA", "cuda")
    with pytest.raises(RuntimeError, match="FREESEG_MSDA=cuda cannot run: no CUDA device"):
        ms_deform_attn(*random_case([(2, 2)]))


def test_without_a_library_the_reference_serves_and_says_so_once(
    random_case, monkeypatch, tmp_path, caplog
):
    arguments = random_case([(3, 3)])
    expected = ms_deform_attn(*arguments)
    monkeypatch.delenv("FREESEG_MSDA", raising=False)
    monkeypatch.setattr(build, "LIBRARIES", tmp_path)
    native.load.cache_clear()
    implementations._fastest.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                torch.testing.assert_close(ms_deform_attn(*arguments), expected)
        assert available()["cpp"].reason == "not built, see python -m freeseg.ops.build"
    finally:
        native.load.cache_clear()
        implementations._fastest.cache_clear()
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert "slow reference: cpp: not built" in warnings[0]


def test_library_that_does_not_load_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "LIBRARIES", tmp_path)
    build.library_path("cpp").write_bytes(b"no library")
    native.load.cache_clear()
    try:
        assert "does not load" in available()["cpp"].reason
    finally:
        native.load.cache_clear()
