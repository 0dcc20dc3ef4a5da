"""Every registered system, small enough for laws that all of them keep, and what each is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lseg_parts
import pytest
import torch
from small_inputs import CONFIGS, annotated, picture, three_classes
from tiny_clip import tiny_clip, tiny_config

from detectron2.config import CfgNode, get_cfg
from detectron2.structures import BitMasks, Instances
from freeseg import add_freeseg_config, build_model
from freeseg.data import read_vocabulary
from freeseg.structures import (
    EXAMPLES_KEY,
    IDS_KEY,
    JUDGED_TASKS,
    PROMPT_KEY,
    VOID_KEY,
    Example,
    InstanceSet,
    Marks,
    Prompt,
    SegmentationResult,
    Task,
)
from freeseg.systems import FreeSeg, GroundedSAM, SegmentationSystem, systems

SHORT_SIDE = 48  # of what a model sees of a photo
CLASS_LISTS = (
    "tree, road: stuff, cat",
    "cat, tree",
    "sea: stuff, sky: stuff, dog, ball",
    "ball",
    "road: stuff, sea: stuff",
    "dog, cat, sky: stuff",
)


@dataclass(frozen=True)
class TinySystem:
    """What the laws need of a system.

    Attributes:
        build: A model of weights that depend on a seed, ready for inference.
        seed: Of weights under which a picture has several classes and things.
        batches: Training batches that show every kind of annotation.
        class_lists: What it may be asked for; none of a system of trained classes.
        exports: Whether it has a graph.
        marks: What it is asked about a photo of (height, width), where it answers nothing without;
            arguments of `Marks.read`.
        phrases: Of its prompts for objects, where they take phrases.
        examples: Of its prompts, where it takes nothing else.
    """

    build: Callable[[int], SegmentationSystem]
    seed: int
    batches: Callable[[], list[list[dict[str, Any]]]]
    class_lists: tuple[str, ...] = ()
    exports: bool = True
    marks: Callable[[tuple[int, int]], list[dict[str, Any]]] | None = None
    phrases: tuple[tuple[str, ...], ...] = ()
    examples: tuple[tuple[Example, ...], ...] = ()

    def prompts(self, size: tuple[int, int], *tasks: Task) -> list[Prompt]:
        """About a photo of (height, width): marks, or none, and every class list.

        Args:
            size: Of the photo.
            tasks: That are asked for; none: what the system answers where nobody says.
        """
        if self.examples:
            return [Prompt(examples=some) for some in self.examples]
        if self.marks is not None:
            return [Prompt(marks=Marks.read(size, **given)) for given in self.marks(size)]
        if self.phrases and tasks == (Task.OBJECT,):
            return [Prompt(phrases=some) for some in self.phrases]
        lists = [read_vocabulary(text) for text in self.class_lists]
        said = [Prompt(), *(Prompt(vocabulary=one) for one in lists)]
        if self.phrases and Task.OBJECT in tasks:
            said = [replace(one, phrases=self.phrases[0]) for one in said]
        return said

    def questions(self, size: tuple[int, int]) -> list[dict[str, Any]]:
        """Arguments of a session with such a photo, in the order of `prompts`."""
        if self.examples:
            return [{"examples": some} for some in self.examples]
        return [{}] if self.marks is None else self.marks(size)

    def asked(self, shown: dict[str, Any], number: int = 0) -> dict[str, Any]:
        """An input, with what has to be said about it."""
        tasks = shown.get("tasks", ())
        is_asked = self.marks is not None or self.examples
        if not is_asked and not (self.phrases and Task.OBJECT in tasks):
            return shown
        height, width = shown["image"].shape[-2:]
        size = shown.get("height", height), shown.get("width", width)
        prompts = self.prompts(size, *tasks)
        return {**shown, PROMPT_KEY: prompts[number % len(prompts)]}


def tiny(name: str) -> TinySystem:
    """The line of a system; fails the test that asks where there is none."""
    if name not in TINY:
        pytest.fail(f"system {name!r} has no tiny configuration: add its line to {__file__}")
    return TINY[name]


def tasks_of_systems() -> list[tuple[str, Task]]:
    """(system, task) for every task that a registered system answers."""
    return [(name, task) for name, system in systems().items() for task in system.answers]


def unprompted_tasks() -> list[tuple[str, Task]]:
    """Those for which a photo is enough."""
    return [one for one in tasks_of_systems() if not systems()[one[0]].answers[one[1]].needs]


def _stirred(model: SegmentationSystem, seed: int) -> SegmentationSystem:
    """Start values leave most layers without effect."""
    torch.manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def _build(cfg: CfgNode, seed: int) -> SegmentationSystem:
    cfg.INPUT.MIN_SIZE_TEST = SHORT_SIDE
    torch.manual_seed(seed)
    return _stirred(build_model(cfg), seed)


def _mask2former(seed: int) -> SegmentationSystem:
    cfg = three_classes("Base-Mask2Former-small.yaml")
    cfg.MODEL.MASK_FORMER.TRAIN_NUM_POINTS = 32
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = 8
    cfg.MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD = 0.0
    return _build(cfg, seed)


def _oneformer(seed: int) -> SegmentationSystem:
    cfg = three_classes("oneformer/shapes/oneformer_small.yaml")
    cfg.MODEL.ONE_FORMER.TRAIN_NUM_POINTS = 32
    cfg.MODEL.ONE_FORMER.NUM_OBJECT_QUERIES = 9
    cfg.MODEL.TEXT_ENCODER.N_CTX = 2
    cfg.MODEL.TEST.OBJECT_MASK_THRESHOLD = 0.0
    return _build(cfg, seed)


def tiny_freeseg(seed: int = 0, **changes: Any) -> SegmentationSystem:
    """A FreeSeg with learned prompts; `changes` are KEY__SUBKEY=value."""
    clip = tiny_clip()
    torch.manual_seed(seed)
    cfg = tiny_config(
        INPUT__MIN_SIZE_TEST=SHORT_SIDE, MODEL__MASK_FORMER__TRAIN_NUM_POINTS=32, **changes
    )
    return _stirred(FreeSeg(cfg, clip_model=clip), seed)


def _lseg(seed: int) -> SegmentationSystem:
    model = lseg_parts.tiny_lseg(INPUT__MIN_SIZE_TEST=SHORT_SIDE)
    return _stirred(model, seed)


def tiny_sam(seed: int = 0, side: int = 128, opts: Sequence[Any] = ()) -> SegmentationSystem:
    """A SAM whose windows do not divide its grid; `opts` are KEY VALUE KEY VALUE."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "sam" / "vit_b.yaml"))
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.SAM.IMAGE_SIZE = cfg.INPUT.TEST_RESIZE.LONG_SIDE = side
    cfg.MODEL.SAM.EMBEDDING_DIM, cfg.MODEL.SAM.QUALITY_DIM = 32, 16
    cfg.MODEL.SAM.NHEADS, cfg.MODEL.SAM.DIM_FEEDFORWARD = 2, 48
    cfg.MODEL.SAM.TRAIN.OTHERS = 0.1  # so that all masks learn of a few objects
    vit = cfg.MODEL.SAM.VIT
    vit.EMBED_DIM, vit.DEPTH, vit.NHEADS, vit.WINDOW, vit.GLOBAL_BLOCKS = 24, 2, 2, 3, [1]
    cfg.merge_from_list(list(opts))
    torch.manual_seed(seed)
    return _stirred(build_model(cfg), seed)


def tiny_grounded_sam(seed: int = 0, **settings: Any) -> SegmentationSystem:
    """Two that are tiny, composed; every box is good enough."""
    grounder, segmenter = tiny_grounding_dino(seed), tiny_sam(seed)
    settings = {"min_score": 0.0, "max_overlap": 0.9, **settings}
    return GroundedSAM(grounder=grounder, segmenter=segmenter, **settings).eval()


def tiny_click_config(side: int = 128) -> CfgNode:
    """Of a SAM on the maps of a backbone, to which points and boxes are also drawn."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "sam" / "click.yaml"))
    cfg.MODEL.TIMM.NAME = "test_efficientnet"
    cfg.MODEL.TIMM.NORM = cfg.MODEL.TIMM.FREEZE_AT = ""
    cfg.MODEL.SAM.IMAGE_SIZE = cfg.INPUT.TEST_RESIZE.LONG_SIDE = side
    cfg.MODEL.SAM.EMBEDDING_DIM, cfg.MODEL.SAM.QUALITY_DIM = 32, 16
    cfg.MODEL.SAM.NHEADS, cfg.MODEL.SAM.DIM_FEEDFORWARD = 2, 48
    return cfg


def tiny_click(seed: int = 0, side: int = 128) -> SegmentationSystem:
    """The model of that."""
    torch.manual_seed(seed)
    return build_model(tiny_click_config(side)).eval()


def tiny_grounding_dino_config(opts: Sequence[Any] = ()) -> CfgNode:
    """Of a Grounding DINO of three trained classes; `opts` are KEY VALUE KEY VALUE."""
    cfg = three_classes("grounding_dino/swin_t.yaml")
    cfg.MODEL.DEVICE = "cpu"
    swin, bert = cfg.MODEL.SWIN, cfg.MODEL.TEXT_ENCODER.BERT
    swin.EMBED_DIM, swin.DEPTHS, swin.NUM_HEADS, swin.WINDOW_SIZE = 8, [1, 1, 2, 1], [1, 2, 4, 4], 3
    bert.WIDTH, bert.DEPTH, bert.NHEADS, bert.DIM_FEEDFORWARD = 16, 1, 2, 32
    node = cfg.MODEL.GROUNDING_DINO
    node.HIDDEN_DIM, node.NHEADS, node.DIM_FEEDFORWARD = 64, 4, 64
    node.ENC_LAYERS = node.DEC_LAYERS = 2
    node.NUM_QUERIES = 9
    cfg.merge_from_list(list(opts))
    return cfg


def tiny_grounding_dino(seed: int = 0, opts: Sequence[Any] = ()) -> SegmentationSystem:
    """The model of that."""
    return _build(tiny_grounding_dino_config(opts), seed)


def tiny_seggpt_config(opts: Sequence[Any] = ()) -> CfgNode:
    """Of a SegGPT of squares of 32 pixels; `opts` are KEY VALUE KEY VALUE."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "seggpt" / "vit_l.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    cfg.INPUT.IMAGE_SIZE, cfg.INPUT.TEST_RESIZE.SIZE = 32, [32, 32]
    node = cfg.MODEL.SEGGPT
    node.IMAGE_SIZE, node.PATCH_SIZE, node.PRETRAIN_GRID = 32, 8, 3
    node.EMBED_DIM, node.DEPTH, node.NHEADS, node.DECODER_DIM = 16, 4, 2, 4
    node.MERGE_BLOCK, node.TAPS, node.DROP_PATH = 0, [1, 3], 0.0
    node.MAX_COLOURS = 2
    cfg.merge_from_list(list(opts))
    return cfg


def tiny_seggpt(seed: int = 0, opts: Sequence[Any] = ()) -> SegmentationSystem:
    """The model of that."""
    torch.manual_seed(seed)
    return _stirred(build_model(tiny_seggpt_config(opts)), seed)


def _shown(seed: int, *size: int, **more: Any) -> Example:
    """A picture with three masks of stripes."""
    image = picture(*size, seed=seed)["image"]
    rows = torch.arange(image.shape[-2]) * 4 // image.shape[-2]  # 0 to 3
    masks = rows[None, :, None].expand(3, *image.shape[-2:]) == torch.arange(3)[:, None, None]
    return Example(image, masks, **more)


def seggpt_examples() -> tuple[tuple[Example, ...], ...]:
    """One and several, with and without names and ids, more objects than are painted at once."""
    names = read_vocabulary("cat, tree, dog")
    ids = torch.tensor([4, 2, 9])
    return (
        (_shown(5, ids=ids),),
        (_shown(6, 40, 56, ids=ids), _shown(7, ids=ids)),
        (_shown(8, labels=torch.tensor([0, 2, 0]), vocabulary=names),),
        (_shown(9), _shown(4, 20, 30)),
    )


def seggpt_input(task: Task, seed: int, side: int = 32) -> dict[str, Any]:
    """A training input of a square with an example; they share two objects of three."""
    shown = _shown(seed, side, side, ids=torch.tensor([4, 1, 6]))
    query = _shown(seed + 1, side, side)
    instances = Instances((side, side))
    instances.gt_classes = torch.tensor([4, 1])
    instances.gt_masks = BitMasks(query.masks[1:])
    instances.set(IDS_KEY, torch.tensor([1, 4]))
    void = torch.zeros(2, side, side, dtype=torch.bool)
    return {
        **{"image": query.image, "instances": instances, "task": task},
        **{EXAMPLES_KEY: (shown,), VOID_KEY: void},
    }


def _seggpt_batches() -> list[list[dict[str, Any]]]:
    return [
        [seggpt_input(Task.SEMANTIC, 1), seggpt_input(Task.INSTANCE, 3)],
        [seggpt_input(Task.INSTANCE, 5)],
    ]


def _sam_marks(size: tuple[int, int]) -> list[dict[str, Any]]:
    height, width = size
    near, far = [width * 0.3, height * 0.4], [width * 0.8, height * 0.7]
    rough = torch.zeros(1, height, width)
    rough[:, : height // 2, : width // 3] = 1
    return [
        {"points": [[near], [far, near, [1, 1]]], "signs": [[1], [1, 0, 0]]},
        {"boxes": [[*near, *far], [0, 0, *far]]},
        {"masks": rough, "points": [[near]]},
        {"points": [[far]]},
        {"boxes": [*near, *far], "points": [[far, near]], "signs": [[1, 0]]},
        {"points": [[near], [], [far]], "boxes": [[0, 0, *near]] * 3},
    ]


def _label_map(labels: list[int], seed: int, **more: Any) -> dict[str, Any]:
    """A training input whose annotation is ``sem_seg``."""
    shown = annotated(labels, seed)
    stripes = torch.tensor(labels)[shown["instances"].gt_masks.tensor.float().argmax(0)]
    return {**picture(seed=seed), "sem_seg": stripes, **more}


def _closed_batches() -> list[list[dict[str, Any]]]:
    return [
        *([annotated([0, 2], task=task), annotated([], 1, task=task)] for task in JUDGED_TASKS),
        [_label_map([2, 1], 2), annotated([1], 3, task=Task.PANOPTIC)],
    ]


def _freeseg_batches() -> list[list[dict[str, Any]]]:
    return [
        *([annotated([0, 2], task=task), annotated([2], 1, task=task)] for task in JUDGED_TASKS),
        [_label_map([2, 0, 3], 2), annotated([], 3)],
    ]


def _grounding_batches() -> list[list[dict[str, Any]]]:
    said = {"caption": "A cat, and the dog", "phrases": (((2, 5),), ((11, 18),))}
    return [
        [annotated([0, 1], task=Task.INSTANCE), annotated([], 1)],
        [annotated([0, 0], 2, **said), annotated([1], 3)],
        [_label_map([2, 0], 2), annotated([1, 0], 3)],
    ]


def _lseg_batches() -> list[list[dict[str, Any]]]:
    stripes = torch.arange(48)[:, None].expand(48, 64) // 16
    street = lseg_parts.annotated(stripes, "lseg_street")
    farm = lseg_parts.annotated(stripes.clamp(max=1), "lseg_farm", 1)
    return [[street, farm], [{**picture(seed=2), "sem_seg": stripes}]]


TINY = {
    "freeseg": TinySystem(tiny_freeseg, 11, _freeseg_batches, CLASS_LISTS, exports=False),
    "grounding_dino": TinySystem(
        tiny_grounding_dino,
        1,
        _grounding_batches,
        CLASS_LISTS,
        exports=False,
        phrases=(("the cat on the left", "a tree"), ("sea",)),
    ),
    "grounded_sam": TinySystem(
        tiny_grounded_sam,
        1,
        list,
        CLASS_LISTS,
        exports=False,
        phrases=(("the cat on the left", "a tree"), ("sea",)),
    ),
    "lseg": TinySystem(_lseg, 3, _lseg_batches, CLASS_LISTS),
    "mask2former": TinySystem(_mask2former, 4, _closed_batches),
    "oneformer": TinySystem(_oneformer, 2, _closed_batches),
    "seggpt": TinySystem(
        tiny_seggpt, 1, _seggpt_batches, exports=False, examples=seggpt_examples()
    ),
    "sam": TinySystem(tiny_sam, 1, _closed_batches, exports=False, marks=_sam_marks),
}


def assert_equal(first: SegmentationResult, second: SegmentationResult) -> None:
    """To the last bit."""
    assert set(first.computed()) - {"vocabulary"} == set(second.computed()) - {"vocabulary"}
    if first.semantic is not None:
        assert torch.equal(first.semantic.values, second.semantic.values)
    if first.panoptic is not None:
        assert torch.equal(first.panoptic.segment_ids, second.panoptic.segment_ids)
        assert first.panoptic.segments == second.panoptic.segments
    if first.instances is not None:
        _assert_equal_fields(first.instances, second.instances)
    if first.objects is not None:
        _assert_equal_fields(first.objects, second.objects)
    assert first.certainty == second.certainty


def _assert_equal_fields(first: InstanceSet, second: InstanceSet) -> None:
    for name in ("masks", "boxes", "labels", "scores", "qualities", "owners", "choices"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None) == (other is None), name
        assert one is None or torch.equal(one, other), name


def assert_close(first: SegmentationResult, second: SegmentationResult) -> None:
    """Up to what other shapes of a batch do to last bits, and pixels on an edge."""
    assert set(first.computed()) == set(second.computed())
    if first.semantic is not None and first.semantic.scores is not None:
        torch.testing.assert_close(
            first.semantic.scores, second.semantic.scores, atol=1e-3, rtol=1e-3
        )
    elif first.semantic is not None:
        _assert_mostly(first.semantic.labels == second.semantic.labels)
    if first.panoptic is not None:
        _assert_mostly(first.panoptic.segment_ids == second.panoptic.segment_ids)
        kinds = [
            [(one.id, one.category_id, one.isthing) for one in each.panoptic.segments]
            for each in (first, second)
        ]
        assert kinds[0] == kinds[1]
    if first.instances is not None:
        one, other = first.instances, second.instances
        torch.testing.assert_close(one.scores, other.scores, atol=1e-3, rtol=1e-3)
        assert torch.equal(one.labels, other.labels)
        _assert_same_places(one, other)
    if first.objects is not None:
        one, other = first.objects, second.objects
        torch.testing.assert_close(one.scores, other.scores, atol=1e-3, rtol=1e-3)
        if one.qualities is not None:
            torch.testing.assert_close(one.qualities, other.qualities, atol=1e-3, rtol=1e-3)
        assert torch.equal(one.owners, other.owners)
        assert torch.equal(one.choices, other.choices)
        _assert_same_places(one, other)


def _assert_same_places(first: InstanceSet, second: InstanceSet) -> None:
    assert (first.masks is None) == (second.masks is None)
    if first.masks is None:
        torch.testing.assert_close(first.boxes, second.boxes, atol=0.05, rtol=1e-3)
    else:
        _assert_mostly(first.masks == second.masks)


def _assert_mostly(agrees: torch.Tensor) -> None:
    assert (~agrees).sum() <= 0.002 * agrees.numel()
