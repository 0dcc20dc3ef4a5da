"""Painters by name and from folders: what is loaded, from where, and what is said otherwise."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import torch

from freeseg.editing import check_painter, load_painter
from freeseg.editing import painter as painters
from freeseg.zoo import DownloadError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_painter import write_painter


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_painter(tmp_path_factory.mktemp("painter"))


@pytest.fixture
def no_net(monkeypatch) -> None:
    def refuse(*_, **__):
        raise AssertionError("the net was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_folder_is_an_inpainting_pipeline_and_never_touches_the_net(folder, no_net) -> None:
    painter = load_painter(folder)
    assert type(painter).__name__ == "StableDiffusionInpaintPipeline"
    assert painter.unet.dtype == painter.text_encoder.dtype == torch.float32


def test_a_folder_without_a_pipeline_is_refused(tmp_path) -> None:
    pytest.importorskip("diffusers")
    with pytest.raises(ValueError, match=r"has no pipeline of diffusers: wanted model_index.json"):
        check_painter(tmp_path)


def test_a_broken_folder_costs_one_line(folder, tmp_path) -> None:
    broken = tmp_path / "broken"
    write_painter(broken)
    (broken / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="broken cannot be used as a painter: ") as caught:
        load_painter(broken)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["painter", "no/such/folder", ""])
def test_what_is_neither_a_folder_nor_a_name_is_refused(name) -> None:
    pytest.importorskip("diffusers")
    with pytest.raises(FileNotFoundError, match="wanted a folder of diffusers, or owner/name"):
        load_painter(name)


def test_without_the_net_a_repository_says_what_to_do(monkeypatch, no_net, tmp_path) -> None:
    pytest.importorskip("diffusers")

    def complain(_):
        raise OSError("no connection to huggingface.co")

    monkeypatch.setattr(painters, "check_reachable", complain)
    with pytest.raises(DownloadError, match=r"cannot fetch nobody/nothing .*no connection to hug"):
        load_painter("nobody/nothing")


def test_without_diffusers_the_command_that_installs_it_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"pip install 'freeseg\[diffusers\]'"):
        check_painter("owner/name")
