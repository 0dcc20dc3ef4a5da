"""FreeSeg's published configurations: read, built and, shrunk, trained for one step."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.structures import BitMasks, Instances
from freeseg import add_freeseg_config, build_model
from freeseg.config import training_tasks
from freeseg.data.splits import load_split
from freeseg.engine import build_optimizer
from freeseg.text import clip, minilm, toy_clip

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tiny_clip import SPEC, tiny_clip

CONFIGS = Path(__file__).resolve().parents[3] / "configs/freeseg"
ALL = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in CONFIGS.rglob("*.yaml")
    if not path.name.startswith("Base-")
)
# base rate, weight decay, iterations, batch, weight of the ensemble: the release's
PUBLISHED = {
    "coco/alltask_R50": (1e-4, 1e-4, 60000, 32, 0.8),
    "coco/alltask_R101c": (1.5e-4, 1.5e-4, 60000, 32, 0.8),
    "ade20k/alltask_R50": (1e-4, 1e-4, 60000, 32, 0.8),
    "voc/semantic_R50": (1e-4, 1e-4, 20000, 16, 0.7),
    "voc/semantic_R101c": (2e-5, 2e-5, 20000, 32, 0.8),
    "voc/semantic_R101c_cross": (2e-5, 2e-5, 20000, 32, 0.4),
    "coco/prompts": (0.02, 1e-3, 16000, 32, 0.8),
    "ade20k/prompts": (0.02, 5e-4, 16000, 32, 0.8),
    "voc/prompts": (0.02, 1e-3, 3200, 32, 0.8),
}
# tensors in a checkpoint, trained parameters: counted in the release, less what is no weight
SIZES = {
    "coco/alltask_R101c": (1167 - 7, 68_546_176),
    "coco/alltask_R50": (902 - 7, 49_482_880),
    "coco/prompts": (308 - 4, 12_288),
}


def load(name: str):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / f"{name.removesuffix('.yaml')}.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    return cfg


def test_there_are_configurations_for_every_dataset_and_stage():
    assert {name.split("/")[0] for name in ALL} == {"coco", "ade20k", "voc", "shapes", "camvid"}
    assert len(ALL) >= 12


@pytest.mark.parametrize(("name", "values"), PUBLISHED.items())
def test_hyper_parameters_are_the_published_ones(name, values):
    cfg = load(name)
    solver = cfg.SOLVER
    assert values == (
        solver.BASE_LR,
        solver.WEIGHT_DECAY,
        solver.MAX_ITER,
        solver.IMS_PER_BATCH,
        cfg.MODEL.CLIP_ADAPTER.CLIP_ENSEMBLE_WEIGHT,
    )
    assert ("SGD" if "prompts" in name else "ADAMW") == solver.OPTIMIZER
    assert cfg.MODEL.FREESEG.DENSE_LOSS is True


@pytest.mark.parametrize("dataset", ["coco_stuff_156_15", "ade20k_135_15", "voc_15_5"])
def test_number_of_classes_is_that_of_the_split(dataset):
    folder = dataset.split("_")[0]
    for name in (name for name in ALL if name.startswith(folder) and "prompts" not in name):
        cfg, total = load(name), {"coco": 171, "ade20k": 150, "voc": 20}[folder]
        assert total - len(load_split(dataset).unseen) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sizes"), SIZES.items())
def test_models_have_the_releases_tensors(name, sizes):
    model = build_model(load(name))
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert (len(model.state_dict()), trained) == sizes


@pytest.fixture
def small_clip(monkeypatch):
    """The published CLIP, the toy CLIP and MiniLM with a few thousand weights."""
    monkeypatch.setattr(clip, "load_clip", lambda *_: tiny_clip())
    monkeypatch.setattr("freeseg.systems.freeseg.text_side.load_clip", lambda *_: tiny_clip())
    monkeypatch.setattr(toy_clip, "load_toy_clip", lambda *_: tiny_clip())
    monkeypatch.setattr(minilm, "load_minilm", lambda *_: tiny_clip())


def shrink(cfg) -> None:
    cfg.MODEL.TEXT_ENCODER.CACHE = False
    cfg.MODEL.RESNETS.DEPTH = 50
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 8
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 4
    head = cfg.MODEL.SEM_SEG_HEAD
    head.TRANSFORMER_ENC_LAYERS, head.NUM_HEADS = 1, 2
    head.CONVS_DIM = head.MASK_DIM = head.EMB_SIZE = head.EMBED_DIM = head.EMBED_HIDDEN_DIM = 32
    head.EMBEDDING_DIM = SPEC.embed_dim
    cfg.MODEL.MASK_FORMER.HIDDEN_DIM = cfg.MODEL.MASK_FORMER.DIM_FEEDFORWARD = 32
    cfg.MODEL.MASK_FORMER.DEC_LAYERS, cfg.MODEL.MASK_FORMER.TRAIN_NUM_POINTS = 2, 16
    cfg.MODEL.CLIP_ADAPTER.PROMPT_SHAPE, cfg.MODEL.CLIP_ADAPTER.TASK_PROMPT_SHAPE = (2, 0), 1
    cfg.MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT = ""
    cfg.MODEL.FREESEG.USE_TASK = False  # letters of a task would fill the small context


@pytest.mark.parametrize("name", ALL)
def test_every_configuration_trains_a_step_when_shrunk(name, small_clip):
    cfg = load(name)
    shrink(cfg)
    model = build_model(cfg).train()
    is_prompt_stage = cfg.MODEL.META_ARCHITECTURE == "FreeSegPrompts"
    side = SPEC.image_size if is_prompt_stage else 64
    seen = model.vocabulary.seen_classes()[:1]
    instances = Instances((side, side))
    instances.gt_classes = torch.tensor(seen if not is_prompt_stage else first_label(model))
    instances.gt_masks = BitMasks(torch.ones(1, side, side, dtype=torch.bool))
    image, task = torch.zeros(3, side, side), training_tasks(cfg)[-1]
    losses = model([{"image": image, "instances": instances, "task": task}] * 2)
    optimizer = build_optimizer(cfg, model)
    total = sum(losses.values())
    total.backward()
    adapter = model.clip_adapter  # without learned prompts "no object" is what trains of it
    texts = getattr(adapter.prompt_learner, "prefix_prompt", adapter.non_object_embedding)
    before = texts.detach().clone()
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step()
    assert torch.isfinite(total)
    assert not torch.equal(texts, before)
    assert len(losses) == (1 if is_prompt_stage else 3 * 3)


def first_label(model) -> list[int]:
    return [int((model.new_label == 0).nonzero()[0, 0])]
