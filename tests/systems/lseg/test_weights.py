"""Lightning checkpoints of LSeg's release: converted, loaded as they are, never executed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from freeseg.checkpoints import (
    KEY_MAPS,
    ReleaseCheckpointer,
    convert_file,
    detect_system,
    read_checkpoint,
)
from freeseg.names import with_own_names

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from lseg_parts import tiny_lseg

PARTS = (
    ("backbone.", "net.pretrained."),
    ("sem_seg_head.", "net.scratch."),
    ("text_adapter.clip_model.", "net.clip_pretrained."),
)


def lightning(model):
    """What Lightning would have saved of the release's network with a model's weights."""
    state = {}
    for key, value in model.state_dict().items():
        ours, theirs = next(part for part in PARTS if key.startswith(part[0]))
        state[theirs + key[len(ours) :]] = value
    state["net.clip_pretrained.context_length"] = torch.tensor(40)
    state["net.pretrained.model.head.weight"] = torch.zeros(1000, 24)
    return {
        "epoch": 200,
        "pytorch-lightning_version": "1.4.9",
        "hyper_parameters": {"backbone": "clip_vitl16_384", "arch_option": 0},
        "state_dict": state,
        "optimizer_states": [{"param_groups": [{"lr": 0.004, "params": [0]}], "state": {}}],
    }


@pytest.fixture(scope="module")
def model():
    return tiny_lseg(MODEL__LSEG__REGULARISATION="bottleneck").eval()


@pytest.fixture
def checkpoint(model, tmp_path):
    path = tmp_path / "demo_e200.ckpt"
    torch.save(lightning(model), path)
    return path


def changed():
    other = tiny_lseg(MODEL__LSEG__REGULARISATION="bottleneck").eval()
    with torch.no_grad():
        for each in other.parameters():
            each.add_(0.1)
    return other


def test_a_lightning_checkpoint_loads_as_it_is(model, checkpoint):
    other, image = changed(), torch.randint(0, 256, (3, 40, 40))
    ReleaseCheckpointer(other).load(str(checkpoint))
    torch.testing.assert_close(other([{"image": image}]), model([{"image": image}]))


def test_a_converted_checkpoint_gives_the_same(model, checkpoint, tmp_path):
    conversion = convert_file("lseg", checkpoint, tmp_path / "converted.safetensors")
    halves = ("visual", "context_length", "logit_scale")  # all of CLIP but its text half
    assert {key.split(".")[2] for key in conversion.dropped} == set(halves)
    assert "text_adapter.clip_model.ln_final.bias" in conversion.state
    other, image = changed(), torch.randint(0, 256, (3, 40, 40))
    ReleaseCheckpointer(other).load(str(tmp_path / "converted.safetensors"))
    torch.testing.assert_close(other([{"image": image}]), model([{"image": image}]))


class _Attack:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_checkpoint_is_executed(model, tmp_path, capsys):
    path = tmp_path / "attack.ckpt"
    torch.save({**lightning(model), "callbacks": _Attack()}, path)
    with pytest.raises(ValueError, match="holds more than data"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match="holds more than data"):
        ReleaseCheckpointer(changed()).load(str(path))
    assert "executed" not in capsys.readouterr().out


def test_the_release_is_known_by_its_names(model):
    assert detect_system(lightning(model)["state_dict"]) == "lseg"
    assert detect_system(["net.pretrained.layer1.0.weight", "net.scratch.head1.bias"]) == "lseg"
    assert detect_system(model.state_dict()) == "lseg"  # as what is trained here
    assert detect_system(["clip_adapter.clip_model.ln_final.bias"]) == "freeseg"


def test_a_resnet_of_torchvision_becomes_detectron2s():
    from torchvision.models import resnet50  # after freeseg, which lets torchvision load

    torch.manual_seed(0)
    theirs = resnet50(weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    stem = torch.nn.Sequential(theirs.conv1, theirs.bn1, theirs.relu, theirs.maxpool, theirs.layer1)
    release = torch.nn.ModuleDict(
        {"layer1": stem, "layer2": theirs.layer2, "layer3": theirs.layer3, "layer4": theirs.layer4}
    )
    state = {f"net.pretrained.{key}": value for key, value in release.state_dict().items()}
    converted = KEY_MAPS["lseg"].convert(state).state
    cfg = get_cfg()
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.STRIDE_IN_1X1 = 50, False
    cfg.MODEL.RESNETS.NORM, cfg.MODEL.BACKBONE.FREEZE_AT = "BN", 0
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.BACKBONE.NAME = "build_resnet_backbone"
    ours = build_backbone(with_own_names(cfg), ShapeSpec(channels=3)).eval()
    ours.load_state_dict({key[len("backbone.") :]: value for key, value in converted.items()})
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = ours(image)
        for name, layer in zip(maps, release.values()):
            image = layer(image)
            torch.testing.assert_close(maps[name], image, rtol=1e-4, atol=1e-4)
