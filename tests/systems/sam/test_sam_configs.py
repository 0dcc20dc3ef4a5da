"""SAM's configurations are the published models."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from freeseg import add_freeseg_config, build_model
from freeseg.checkpoints import KEY_MAPS, StrictCheckpointer, detect_system
from freeseg.modeling.vit import SAM_SIZES
from freeseg.systems.sam.image_encoder import MobileEncoder

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import CONFIGS

# parameters and buffers of the releases' files; MobileSAM's without its classifier of 4 tensors
PUBLISHED = {
    "vit_b": (93_735_472, 314),
    "vit_l": (312_342_832, 482),
    "vit_h": (641_090_608, 594),
    "mobile": (10_130_092 - (320 * 2 + 320 * 1000 + 1000), 439 - 4),
}


def load(name: str):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "sam" / f"{name}.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    return cfg


@pytest.mark.parametrize(("name", "sizes"), PUBLISHED.items(), ids=PUBLISHED)
def test_published_models_have_the_published_sizes(name, sizes):
    cfg = load(name)
    with torch.device("cpu" if name == "mobile" else "meta"):  # timm's TinyViT counts its windows
        cfg.MODEL.DEVICE = torch.empty(0).device.type
        model = build_model(cfg)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert (count, len(model.state_dict())) == sizes


@pytest.mark.parametrize("name", SAM_SIZES)
def test_sizes_of_configurations_are_those_of_the_trunk(name):
    vit, sizes = load(name).MODEL.SAM.VIT, SAM_SIZES[name]
    assert (sizes.width, sizes.depth, sizes.num_heads) == (vit.EMBED_DIM, vit.DEPTH, vit.NHEADS)
    assert tuple(vit.GLOBAL_BLOCKS) == sizes.global_blocks
    assert (sizes.window, sizes.patch_size) == (vit.WINDOW, vit.PATCH_SIZE)


def mobile() -> MobileEncoder:
    return MobileEncoder(
        widths=(16, 24, 32, 40), depths=(1, 2, 1, 1), num_heads=(2, 3, 4, 5), windows=(7, 5, 4, 3)
    )


def test_weights_of_the_mobile_encoder_count_at_once():
    """timm keeps what it has computed of the weights before."""
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, second = mobile().eval(), mobile().eval()
    with torch.no_grad():
        for model in (first, second):
            for name, parameter in model.named_parameters():
                if name.endswith("attention_biases"):
                    parameter.normal_()
        before = second(images)
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(images), second(images))
        assert not torch.equal(before, second(images))
    assert not second.training


def test_a_published_mobile_file_loads_with_its_unused_head(tmp_path):
    """The release's names are made of ours by hand, row by row."""
    model = build_model(load("mobile"))
    theirs = {}
    for name, value in model.state_dict().items():
        key = name.replace("patch_embed.conv1.", "patch_embed.seq.0.")
        key = key.replace("patch_embed.conv2.", "patch_embed.seq.2.")
        key = re.sub(
            r"stages\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key
        )
        key = key.replace("stages.", "layers.")
        theirs[re.sub(r"(image_encoder\..*)\.conv\.weight", r"\1.c.weight", key)] = value
    head = {"head.weight": (1000, 320), "head.bias": (1000,), "norm_head.weight": (320,)}
    theirs.update({f"image_encoder.{key}": torch.zeros(size) for key, size in head.items()})
    assert detect_system(theirs) == "sam"
    assert set(KEY_MAPS["sam"].convert(theirs).state) == set(model.state_dict())
    torch.save(theirs, tmp_path / "mobile_sam.pt")
    fresh = build_model(load("mobile"))
    checkpointer = StrictCheckpointer(fresh)
    checkpointer.load(str(tmp_path / "mobile_sam.pt"))
    assert (checkpointer.missing, checkpointer.unused) == ([], [])
    loaded = fresh.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in model.state_dict().items())
