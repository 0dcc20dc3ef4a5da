"""What a class token sees of a picture when it is to look inside a mask."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from freeseg.text import CLIP, OpenClipEncoder, load_open_clip
from freeseg.text.class_token import class_token_sees

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_clip import tiny_clip

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
VIT = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}


def clip_of(folder: Path, vision: dict) -> OpenClipEncoder:
    content = {"model_cfg": {"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT}}
    (folder / "open_clip_config.json").write_text(json.dumps({**content, "preprocess_cfg": {}}))
    return load_open_clip(f"local-dir:{folder}").requires_grad_(False).eval()


def masks_of(size: int) -> torch.Tensor:
    """The upper left quarter of one picture, and all of another."""
    masks = torch.zeros(2, size, size, dtype=torch.bool)
    masks[0, : size // 2, : size // 2] = True
    masks[1] = True
    return masks


def test_the_first_token_sees_itself_and_patches_of_the_mask():
    masks = torch.zeros(1, 4, 6, dtype=torch.bool)
    masks[0, 3, 2] = True  # row 1, column 1 of 2 x 3 patches
    (visible,) = class_token_sees(masks, 2)
    assert visible[0].tolist() == [True, False, False, False, False, True, False]
    assert visible[1:].all()


@pytest.fixture(params=["clip", "open_clip"])
def encoder(request, tmp_path) -> CLIP | OpenClipEncoder:
    """Of one layer, so that nothing reaches the class token by another way."""
    if request.param == "clip":
        return tiny_clip()
    return clip_of(tmp_path, VIT)


def test_what_lies_outside_the_mask_changes_nothing_in_the_last_layer(encoder):
    size, generator = encoder.image_size[0], torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, size, size, generator=generator)
    masks, painted = masks_of(size), images.clone()
    painted[:, :, size // 2 :] = 3.0
    before, after = (encoder.encode_inside(each, masks) for each in (images, painted))
    torch.testing.assert_close(before[0], after[0])
    assert (before[1] - after[1]).abs().max() > 1e-3
    whole = encoder.encode_image(images)
    torch.testing.assert_close(before[1], whole[1])
    assert (before[0] - whole[0]).abs().max() > 1e-3


def test_a_tower_without_class_token_sees_all(tmp_path):
    encoder = clip_of(tmp_path, RESNET)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = encoder.encode_inside(images, masks_of(32))
    assert torch.equal(found, encoder.encode_image(images))
