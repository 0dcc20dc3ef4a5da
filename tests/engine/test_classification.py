"""Pretraining of a backbone on crops: it learns, and a model takes what it wrote."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from freeseg.data.shapes.crops import CropSet, cut_crops
from freeseg.data.shapes.vocabulary import UNSEEN, categories
from freeseg.engine import classification
from freeseg.engine.classification import (
    KEY,
    ClassificationSettings,
    classification_accuracy,
    pretrain_classifier,
    save_backbone,
)
from freeseg.modeling.backbone import TimmBackbone

GREY = (0.5, 0.5, 0.5)
PIXEL_MEAN = [255 * value for value in (0.485, 0.456, 0.406)]  # ImageNet's
PIXEL_STD = [255 * value for value in (0.229, 0.224, 0.225)]


@pytest.fixture(scope="module")
def crops():
    return cut_crops(12, seed=1, side=32, fill=GREY, exact=True, without=UNSEEN)


def test_no_crop_is_of_a_class_left_out(crops):
    names = [categories()[number].name for number in crops.classes.tolist()]
    assert not set(names) & set(UNSEEN)
    everything = cut_crops(12, seed=1, side=32, fill=GREY, exact=True)
    assert set(UNSEEN) & {categories()[number].name for number in everything.classes.tolist()}


def test_a_backbone_takes_the_weights_of_the_classifier(crops, tmp_path):
    settings = ClassificationSettings(steps=2, crops=8, warmup=1)
    model = pretrain_classifier("regnetx_002", crops, settings)
    save_backbone("regnetx_002", model, tmp_path / "backbone.safetensors", "two steps")
    state = load_file(tmp_path / "backbone.safetensors")
    backbone = TimmBackbone(name="regnetx_002", out_features=["res2", "res5"])
    names = {KEY + name.partition("body.")[2] for name in backbone.state_dict()}
    assert set(state) == names
    own = {key[len(KEY) :]: value for key, value in state.items()}
    backbone.body.load_state_dict(own)
    images = torch.rand(1, 3, 64, 64)
    expected = model.eval().forward_features(images)  # the deepest map
    found = backbone.eval()(images)["res5"]
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)  # half precision


def test_the_same_seed_gives_the_same_model(crops):
    settings = ClassificationSettings(steps=2, crops=8, warmup=1, seed=5)
    first, second = (pretrain_classifier("regnetx_002", crops, settings) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters()):
        assert torch.equal(one, other)


class Oracle(nn.Module):
    """Names the class that a crop's brightness tells, and says how bright what it saw was."""

    def forward(self, pictures):
        self.seen = pictures
        values = pictures[:, 0, 0, 0] * PIXEL_STD[0] + PIXEL_MEAN[0]
        return F.one_hot(values.round().long(), 20).float()


def coded(classes):
    """Crops [N, 3, 4, 6] whose every pixel is the number of their class."""
    plain = torch.tensor(classes, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 6)
    return CropSet(plain + 1, plain, torch.tensor(classes), plain[:1], ("",))


def test_accuracy_counts_what_is_named_right():
    crops = coded([number % 7 for number in range(300)])  # more than are looked at in one go
    assert classification_accuracy(Oracle(), crops) == 100.0
    wrong = crops.plain.clone()
    wrong[:30] += 1
    part = CropSet(crops.masked, wrong, crops.classes, crops.scenes, crops.captions)
    model = Oracle()
    assert classification_accuracy(model, part) == pytest.approx(90.0)
    assert not model.training
    expected = normalize(part.plain[256:].float(), PIXEL_MEAN, PIXEL_STD)
    torch.testing.assert_close(model.seen, expected)


def test_a_quarter_of_the_samples_is_without_surroundings():
    crops, count = coded(list(range(0, 20, 2))), 8000
    torch.manual_seed(0)
    places = torch.randint(10, (count,))
    found = classification._masked_or_plain(crops, places)
    assert found.dtype == torch.float32
    is_masked = found[:, 0, 0, 0] - 2 * places
    assert set(is_masked.tolist()) == {0.0, 1.0}
    assert torch.equal(found, found[:, :1, :1, :1].expand_as(found))
    assert abs(is_masked.mean() - 0.25) < 6 * math.sqrt(0.1875 / count)


@pytest.fixture
def places():
    """Where samples of two ramps and a constant come from: columns, rows, slopes, light."""
    side, count = 8, 4000
    ticks = (torch.arange(side) + 0.5) * 2 / side - 1  # in shares of half a side
    ramps = torch.stack((*torch.meshgrid(ticks, ticks, indexing="xy"), torch.ones(side, side)))
    torch.manual_seed(5)
    found = classification._varied(100 * ramps.expand(count, 3, side, side))
    light = found[:, 2, 0, 0] / 100
    middle = found[:, :2, 3:5, 3:5] / 100 / light[:, None, None, None]
    step = middle[..., 1, 1] - middle[..., 0, 0]  # [N, columns and rows]
    column, row = middle.mean((2, 3)).unbind(1)
    return {"column": column, "row": row, "slopes": step * side / 2, "light": light}


def assert_uniform(values, lowest, highest):
    """Both ends are reached, and the quarters between are as full as each other."""
    reach = highest - lowest
    assert values.min() == pytest.approx(lowest, abs=0.01 * reach)
    assert values.max() == pytest.approx(highest, abs=0.01 * reach)
    share = torch.histc(values, 4, lowest, highest) / len(values)
    assert ((share - 0.25).abs() < 6 * math.sqrt(0.1875 / len(values))).all()


def test_objects_are_of_all_sizes_and_as_wide_as_high(places):
    size = 1 / places["slopes"][:, 1]
    assert_uniform(size.log(), math.log(0.5), math.log(1.1))
    torch.testing.assert_close(1 / places["slopes"][:, 0].abs(), size, rtol=1e-3, atol=1e-3)


def test_objects_are_moved_both_ways_and_up_and_down(places):
    assert_uniform(places["column"], -0.25, 0.25)
    assert_uniform(places["row"], -0.25, 0.25)
    assert abs(np.corrcoef(places["column"], places["row"])[0, 1]) < 0.1


def test_half_of_the_objects_are_mirrored_left_to_right(places):
    is_mirrored = (places["slopes"][:, 0] < 0).float()
    assert abs(is_mirrored.mean() - 0.5) < 6 * math.sqrt(0.25 / len(is_mirrored))


def test_light_reaches_both_ends(places):
    assert_uniform(places["light"], 0.85, 1.15)


def test_what_comes_into_view_is_a_mirror_image_and_not_black():
    torch.manual_seed(0)
    pictures = classification._varied(torch.full((50, 3, 8, 8), 100.0))
    torch.testing.assert_close(pictures, pictures[:, :1, :1, :1].expand_as(pictures))
    assert pictures.min() > 84


class Tiny(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.rows = nn.Parameter(torch.linspace(-1, 1, 3 * num_classes).view(num_classes, 3))

    def forward(self, pictures):
        return pictures.mean((2, 3)) @ self.rows.T


def stepped(train, settings, num_classes):
    """The loop written out, with AdamW's own formula."""
    torch.manual_seed(settings.seed)
    rows = Tiny(num_classes).rows.detach()
    first = second = torch.zeros_like(rows)
    for step in range(settings.steps):
        places = torch.randint(len(train.classes), (settings.crops,))
        pictures = classification._varied(classification._masked_or_plain(train, places))
        features = normalize(pictures, PIXEL_MEAN, PIXEL_STD).mean((2, 3))
        targets = F.one_hot(train.classes[places], num_classes) * 0.9 + 0.1 / num_classes
        grad = ((features @ rows.T).softmax(1) - targets).T @ features / settings.crops
        grad = grad * min(1, 1 / (float(grad.norm()) + 1e-6))
        rise, fall = settings.warmup, settings.steps - settings.warmup
        cosine = (1 + math.cos(math.pi * (step - rise) / fall)) / 2
        rate = settings.learning_rate * ((step + 1) / rise if step < rise else cosine)
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
        mean, square = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        rows = rows * (1 - rate * settings.weight_decay) - rate * mean / (square.sqrt() + 1e-8)
    return rows


@pytest.fixture
def tiny_models(monkeypatch):
    asked = []

    def create(name, *, num_classes):
        asked.append((name, num_classes))
        return Tiny(num_classes)

    monkeypatch.setattr(classification.timm, "create_model", create)
    return asked


def test_steps_are_those_of_the_loop_written_out(tiny_models):
    train = coded([3, 9, 6, 3, 8])
    settings = ClassificationSettings(7, 6, learning_rate=0.1, warmup=3, weight_decay=0.4, seed=2)
    model = pretrain_classifier("a name", train, settings)
    assert tiny_models == [("a name", 10)]
    torch.testing.assert_close(
        model.rows.detach(), stepped(train, settings, 10), rtol=1e-3, atol=1e-4
    )


def test_the_log_tells_every_hundredth_step_and_how_much_is_right(tiny_models, monkeypatch, caplog):
    monkeypatch.setattr(
        Tiny, "forward", lambda self, x: self.rows[:, 0] * 0 + torch.eye(3)[[2] * len(x)]
    )
    clock = iter((10.0, 12.0, 15.0)).__next__
    monkeypatch.setattr(classification, "time", SimpleNamespace(perf_counter=clock))
    with caplog.at_level(logging.INFO, "freeseg"):
        pretrain_classifier("a name", coded([2, 2]), ClassificationSettings(205, 3, warmup=1))
    right = [100 * (1 - 0.98**steps) for steps in (100, 200)]  # a running mean
    assert [(line.split(":")[0], line.split(", ", 1)[1]) for line in caplog.messages] == [
        ("step 100 of 205", f"{right[0]:.0f} % right, 2 s"),
        ("step 200 of 205", f"{right[1]:.0f} % right, 5 s"),
    ]


def test_a_pyramid_gets_what_it_has_at_half_precision(monkeypatch, tmp_path):
    state = {
        "stem.w": torch.tensor([1.0, 1 / 3]),
        "head.w": torch.ones(1),
        "norm.n": torch.tensor(3),
    }
    wanted = {key: value for key, value in state.items() if key != "head.w"}
    pyramid = SimpleNamespace(state_dict=lambda: wanted)
    monkeypatch.setattr(classification.timm, "create_model", lambda name, features_only: pyramid)
    model = SimpleNamespace(state_dict=lambda: state)
    save_backbone("x", model, tmp_path / "b.safetensors", "of a test")
    found = load_file(tmp_path / "b.safetensors")
    assert {key: value.tolist() for key, value in found.items()} == {
        "backbone.body.norm.n": 3,
        "backbone.body.stem.w": torch.tensor([1.0, 1 / 3]).half().tolist(),
    }
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        assert file.metadata()["about"] == "of a test"
    del state["stem.w"], state["norm.n"]
    with pytest.raises(ValueError, match=r"no \['norm.n', 'stem.w'\]"):
        save_backbone("x", model, tmp_path / "c.safetensors", "of a test")


def test_a_pretraining_is_this_long_unless_told():
    assert vars(ClassificationSettings()) == {
        **{"steps": 2000, "crops": 64, "learning_rate": 0.003, "warmup": 100},
        **{"weight_decay": 0.05, "seed": 0},
    }
