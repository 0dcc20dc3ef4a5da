"""One image asked several things: what is computed once must not be computed again."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from benchmark_rows.contest import Contest, Row
from detectron2.config import get_cfg
from freeseg import Segmenter, add_freeseg_config, build_model
from freeseg.modeling import fuse_for_inference
from freeseg.structures import JUDGED_TASKS, Vocabulary, read_request
from freeseg.systems.freeseg.questions import group_questions

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ONEFORMER = "oneformer/ade20k/oneformer_R50_bs16_160k.yaml"
FREESEG = "freeseg/shapes/Base-small.yaml"
FREESEG_R50 = "freeseg/coco/alltask_R50.yaml"
NO_REGION_CLIP = ("MODEL.CLIP_ADAPTER.CLIP_ENSEMBLE", False)
NUM_CLASSES = 847
SIZE = 640
TOLERANCE = 1e-4


def _build(config: str, *options):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / config))
    ready = ("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.IS_TRAIN", False)
    cfg.merge_from_list([*ready, *options])
    torch.manual_seed(0)
    return fuse_for_inference(build_model(cfg).eval())


def _image() -> torch.Tensor:
    return torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 255


def _three_tasks(config: str, *options) -> Contest:
    model, image = _build(config, *options), _image()

    @torch.inference_mode()
    def together():
        return model([{"image": image, "tasks": JUDGED_TASKS}])[0]

    @torch.inference_mode()
    def one_by_one():
        outputs = [model([{"image": image, "tasks": (task,)}])[0] for task in JUDGED_TASKS]
        return {key: value for output in outputs for key, value in output.items()}

    def check(ours, theirs):
        assert set(ours) == set(theirs) == {"sem_seg", "instances", "panoptic_seg"}
        assert (ours["sem_seg"] - theirs["sem_seg"]).abs().max() <= TOLERANCE
        assert (ours["panoptic_seg"][0] == theirs["panoptic_seg"][0]).float().mean() > 0.999
        scores = ours["instances"].scores, theirs["instances"].scores
        torch.testing.assert_close(*scores, rtol=0, atol=TOLERANCE)

    return Contest(together, one_by_one, check)


def _six_lists(config: str, *options) -> Contest:
    """A session against a call for every list; the texts are known to both."""
    segmenter = Segmenter(_build(config, *options))
    photo = _image().permute(1, 2, 0).byte().numpy()
    lists = [", ".join(f"thing {index * 10 + k}" for k in range(10)) for index in range(6)]
    for words in lists:
        segmenter(photo, "panoptic", words)

    def in_a_session():
        with segmenter.open(photo) as session:
            return [session("panoptic", words) for words in lists]

    def one_by_one():
        return [segmenter(photo, "panoptic", words) for words in lists]

    def check(ours, theirs):
        for one, other in zip(ours, theirs):
            assert (one.panoptic.segment_ids == other.panoptic.segment_ids).all()

    return Contest(in_a_session, one_by_one, check)


def _text_side() -> Contest:
    """Our side: all that the class list costs on the second image; theirs: that whole image."""
    model, image = _build(FREESEG), _image()
    words = [f"thing number {number}" for number in range(NUM_CLASSES)]
    inputs = [
        {"image": image, "tasks": ("panoptic",), "vocabulary": Vocabulary.from_classes(words)}
    ]

    @torch.inference_mode()
    def read_texts():
        request = read_request(inputs[0], 0, JUDGED_TASKS)
        ((question,),) = group_questions([request], model.vocabulary)
        return model.text(question.vocabulary, question.task)

    @torch.inference_mode()
    def segment():
        model(inputs)

    def check(features, _):
        model.clip_adapter.cache.clear()
        assert torch.equal(features, read_texts())

    return Contest(read_texts, segment, check)


ROWS = (
    Row(
        "three-tasks-oneformer",
        f"three tasks on one image, OneFormer R50, {SIZE}x{SIZE}",
        "three runs",
        1.8,
        functools.partial(_three_tasks, ONEFORMER),
    ),
    Row(
        "three-tasks-freeseg",
        f"three tasks on one image, FreeSeg (small), {SIZE}x{SIZE}",
        "three runs",
        1.8,
        functools.partial(_three_tasks, FREESEG),
    ),
    Row(
        "three-tasks-freeseg-r50",
        f"three tasks on one image, FreeSeg R50 without region CLIP, {SIZE}x{SIZE}",
        "three runs",
        1.8,
        functools.partial(_three_tasks, FREESEG_R50, *NO_REGION_CLIP),
    ),
    Row(
        "six-lists-freeseg-r50",
        f"six class lists on one photo, FreeSeg R50 without region CLIP, {SIZE}x{SIZE}",
        "six calls",
        1.5,
        functools.partial(_six_lists, FREESEG_R50, *NO_REGION_CLIP),
    ),
    Row(
        "text-side",
        f"text side of FreeSeg's second image, {NUM_CLASSES} classes",
        "the whole image",
        100,
        _text_side,
    ),
)
