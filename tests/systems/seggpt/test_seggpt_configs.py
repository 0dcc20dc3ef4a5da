"""SegGPT's configurations: the published models, and the small ones that are trained here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from freeseg import add_freeseg_config, build_model
from freeseg.checkpoints import detect_system
from freeseg.structures import Task

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import CONFIGS
from tiny_systems import seggpt_input

PUBLISHED = {"vit_l": (370_723_203, 354), "painter": (370_723_203 - 2 * 1024, 352)}


def load(name: str, *opts):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "seggpt" / f"{name}.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    cfg.merge_from_list(list(opts))
    return cfg


@pytest.mark.parametrize(("name", "sizes"), PUBLISHED.items(), ids=PUBLISHED)
def test_published_models_have_the_published_sizes(name, sizes):
    cfg = load(name)
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
    assert sum(parameter.numel() for parameter in model.parameters()) == sizes[0]
    assert len(model.state_dict()) == sizes[1]
    assert detect_system(model.state_dict()) == "seggpt"


@pytest.mark.parametrize("name", ["shapes", "photos"])
def test_small_models_have_a_few_million_parameters_and_views_of_their_size(name):
    cfg = load(name)
    count = sum(parameter.numel() for parameter in build_model(cfg).parameters())
    assert 3e6 < count < 5e6
    side = cfg.MODEL.SEGGPT.IMAGE_SIZE
    assert side == cfg.INPUT.CONTEXT.SIDE
    assert list(cfg.INPUT.TEST_RESIZE.SIZE) == [side, side]


@pytest.mark.parametrize("name", ["shapes", "photos"])
def test_two_steps_of_a_training_move_every_weight(name):
    """Over both kinds, each of which has a token."""
    cfg = load(name, "MODEL.SEGGPT.EMBED_DIM", 16, "MODEL.SEGGPT.DECODER_DIM", 4)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for kind in (Task.SEMANTIC, Task.INSTANCE):
        optimizer.zero_grad()
        (loss,) = model(
            [seggpt_input(kind, seed, cfg.INPUT.CONTEXT.SIDE) for seed in (1, 3)]
        ).values()
        assert loss.isfinite()
        loss.backward()
        assert all(each.grad.isfinite().all() for each in model.parameters())
        optimizer.step()
    assert [
        name for name, each in model.named_parameters() if torch.equal(each, before[name])
    ] == []


def test_photos_are_trained_as_shapes_are_but_for_their_size():
    shapes, photos = (load(name).MODEL.SEGGPT for name in ("shapes", "photos"))
    assert photos.TABLE_SIZE == shapes.IMAGE_SIZE < photos.IMAGE_SIZE
    for key in set(shapes) - {"IMAGE_SIZE", "TABLE_SIZE"}:
        assert photos[key] == shapes[key], key


def test_weights_of_shapes_go_on_at_the_size_of_photos():
    small, large = build_model(load("shapes")), build_model(load("photos"))
    large.load_state_dict(small.state_dict())
