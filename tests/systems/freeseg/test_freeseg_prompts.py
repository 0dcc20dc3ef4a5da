"""The prompt stage: regions are classified, prompts alone learn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from detectron2.structures import BitMasks, Instances
from freeseg.systems import FreeSegPrompts

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tiny_clip import tiny_clip, tiny_config


@pytest.fixture
def model():
    cfg = tiny_config(MODEL__META_ARCHITECTURE="FreeSegPrompts")
    clip = tiny_clip()
    torch.manual_seed(0)
    return FreeSegPrompts(cfg, clip_model=clip)


def region(label: int, seed: int, task: str = "semantic") -> dict:
    generator = torch.Generator().manual_seed(seed)
    instances = Instances((16, 16))
    instances.gt_classes = torch.tensor([label])
    instances.gt_masks = BitMasks(torch.rand(1, 16, 16, generator=generator) > 0.4)
    image = torch.randint(0, 256, (3, 16, 16), generator=generator).byte()
    return {"image": image, "instances": instances, "task": task}


def test_loss_is_the_cross_entropy_over_the_seen_classes(model):
    batch = [region(0, 0), region(2, 1)]  # cat, sky: the seen ones
    loss = model.train()(batch)["loss_cls"]
    clip, scores = model.clip_adapter.clip_model, []
    text = model.clip_adapter.class_features(["cat", "sky"], "semantic")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (clip.pixel_mean, clip.pixel_std))
    for one in batch:
        picture = (one["image"] / 255 - mean) / std * one["instances"].gt_masks.tensor[0]
        feature = F.normalize(clip.encode_image(picture[None]), dim=-1)[0]
        scores.append(100 * text @ feature)
    torch.testing.assert_close(loss, F.cross_entropy(torch.stack(scores), torch.tensor([0, 1])))


def test_a_few_steps_lower_the_loss_and_move_prompts_alone(model):
    model.train()
    batch = [region(label, seed) for seed, label in enumerate((0, 2, 0, 2))]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05)
    losses = []
    for _ in range(15):
        loss = model(batch)["loss_cls"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    changed = {
        key for key, value in model.state_dict().items() if not torch.equal(value, before[key])
    }
    assert changed == {
        "clip_adapter.prompt_learner.prefix_prompt",
        "clip_adapter.prompt_learner.task_prompt",
    }


@torch.no_grad()
def test_evaluation_gives_class_scores(model):
    outputs = model.eval()([region(0, 0), region(1, 1)])
    assert [output["class_logits"].shape for output in outputs] == [(2,), (2,)]


def test_an_encoder_without_image_tower_is_refused():
    class Words(torch.nn.Module):
        width, dim = 4, 4

    cfg = tiny_config(MODEL__META_ARCHITECTURE="FreeSegPrompts")
    model = FreeSegPrompts(cfg, clip_model=Words())
    with pytest.raises(TypeError, match="Words has no image tower"):
        model([region(0, 0)])
