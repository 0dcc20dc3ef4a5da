"""TorchScript archives: the weights that PyTorch finds in them, and no code of theirs is run."""

from __future__ import annotations

import zipfile

import pytest
import torch
from torch import Tensor, nn

from freeseg.checkpoints import read_checkpoint
from freeseg.text.weights import read_state_dict


class Block(nn.Module):
    """Has every kind of tensor that a module can have, and lists beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3).half())
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("empty", torch.ones(0))
        self.mask = torch.ones(3)  # neither a parameter nor a buffer, as CLIP's causal mask
        self.sizes = [1, 2]

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels @ self.weight.float() * self.sizes[1] + self.mask


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), nn.BatchNorm1d(3))
        self.tied = self.blocks[0]
        self.transposed = nn.Parameter(torch.randn(3, 4).t())
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.blocks(pixels) + self.tied(pixels)


class Stateful(nn.Module):
    """Writes its tensor to a file when it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.path = path

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str, bool]:
        return (self.weight, self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]) -> None:
        self.weight = state[0]
        self.path = state[1]
        self.training = state[2]
        torch.save(state[0], state[1])


@pytest.mark.parametrize("form", ["scripted", "traced"])
def test_an_archive_has_the_weights_that_pytorch_finds_in_it(tmp_path, form):
    model, path = Model().eval(), tmp_path / "clip.pt"
    archive = (
        torch.jit.script(model) if form == "scripted" else torch.jit.trace(model, torch.randn(2, 2))
    )
    archive.save(str(path))
    expected = torch.jit.load(str(path), map_location="cpu").state_dict()
    found = read_checkpoint(path)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)
    floats = read_state_dict(path)
    assert floats["input_resolution"].dtype == torch.int64
    assert floats["tied.weight"].dtype == torch.float32


def test_the_code_in_an_archive_is_not_run(tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "written"
    torch.jit.script(nn.Sequential(Stateful(str(trace)))).save(str(path))
    for read in (read_checkpoint, read_state_dict):
        with pytest.raises(ValueError, match=r"evil\.pt .*Stateful asks for code of its own"):
            read(path)
    assert not trace.exists()
    torch.jit.load(str(path))
    assert trace.exists()  # what PyTorch's own reader lets it do


def test_a_tensor_cannot_reach_beyond_its_values(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "whole.pt"))
    path = tmp_path / "short.pt"
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(path, "w") as short:
        for name in whole.namelist():
            short.writestr(name, whole.read(name)[:4] if "/data/0" in name else whole.read(name))
    with pytest.raises(ValueError, match=r"short\.pt is damaged or cut off"):
        read_checkpoint(path)
