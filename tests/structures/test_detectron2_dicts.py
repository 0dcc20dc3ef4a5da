"""The border: what goes out as Detectron2's dicts comes back in as the same result."""

from __future__ import annotations

import pytest
import torch

from detectron2.structures import BitMasks, Boxes, Instances
from freeseg.structures import (
    CERTAINTY_KEY,
    DATASET_KEY,
    LABEL_MAP_KEY,
    OUTPUT_KEYS,
    PROMPT_KEY,
    Frame,
    InstanceSet,
    Marks,
    PanopticMap,
    Prompt,
    Runs,
    Segment,
    SegmentationResult,
    SemanticMap,
    Task,
    Vocabulary,
    Wants,
    read_frame,
    read_output,
    read_request,
    read_sample,
    write_result,
)

SIZE = (4, 6)
IMAGE = torch.zeros(3, *SIZE, dtype=torch.uint8)
CLASSES = Vocabulary.from_classes(["cat", "sky: stuff"])
IDS = torch.tensor([[1] * 6, [1] * 6, [0] * 6, [7] * 6], dtype=torch.int32)
SEGMENTS = (Segment(1, 0, True, 0.5, 12), Segment(7, 1, False, None, 6))


def instance_set(**more) -> InstanceSet:
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, :2], masks[1, 1:3, 2:5] = True, True
    boxes = torch.tensor([[0.0, 0, 6, 2], [2, 1, 5, 3]])
    fields = {"masks": masks, "boxes": boxes, "labels": torch.tensor([1, 0])}
    return InstanceSet(**{**fields, "scores": torch.tensor([0.75, 0.5]), **more})


ANSWERED = {
    "qualities": torch.tensor([3.5, -1.0]),
    "owners": torch.tensor([0, 0]),
    "choices": torch.tensor([0, 1]),
}
RESULTS = {
    "nothing": SegmentationResult(),
    "scores": SegmentationResult(semantic=SemanticMap(scores=torch.rand(2, *SIZE))),
    "labels": SegmentationResult(semantic=SemanticMap(labels=torch.randint(0, 2, SIZE))),
    "panoptic": SegmentationResult(panoptic=PanopticMap(IDS, SEGMENTS)),
    "no segments": SegmentationResult(panoptic=PanopticMap(IDS * 0, ())),
    "instances": SegmentationResult(instances=instance_set()),
    "objects": SegmentationResult(objects=instance_set(labels=None, **ANSWERED)),
    "boxes alone": SegmentationResult(objects=instance_set(masks=None, size=SIZE)),
    "certainty": SegmentationResult(certainty=0.25),
    "all": SegmentationResult(
        SemanticMap(scores=torch.rand(2, *SIZE)),
        instance_set(),
        PanopticMap(IDS, SEGMENTS),
        instance_set(**ANSWERED),
        certainty=1.0,
    ),
}


def comparable(value: object) -> object:
    """Plain values of a result, field by field."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.tolist()
    if isinstance(value, InstanceSet):
        shown = {name: comparable(each) for name, each in vars(value).items() if name != "size"}
        return {**shown, "image_size": value.image_size}
    if hasattr(value, "__dict__"):
        return {name: comparable(each) for name, each in vars(value).items()}
    return [comparable(each) for each in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_what_is_written_is_read_back(result):
    assert comparable(read_output(write_result(result))) == comparable(result)


def test_only_what_there_is_has_a_key():
    assert {name: set(write_result(result)) for name, result in RESULTS.items()} == {
        "nothing": set(),
        "scores": {"sem_seg"},
        "labels": {"sem_seg"},
        "panoptic": {"panoptic_seg"},
        "no segments": {"panoptic_seg"},
        "instances": {"instances"},
        "objects": {"objects"},
        "boxes alone": {"objects"},
        "certainty": {"certainty"},
        "all": {"sem_seg", "instances", "panoptic_seg", "objects", "certainty"},
    }
    assert set(OUTPUT_KEYS) == set(Task)


def test_instances_have_detectron2s_fields_and_those_of_prompts_where_there_are_any():
    plain = write_result(RESULTS["instances"])["instances"]
    assert isinstance(plain, Instances)
    assert isinstance(plain.pred_boxes, Boxes)
    assert plain.image_size == SIZE
    assert set(plain.get_fields()) == {"pred_masks", "pred_boxes", "scores", "pred_classes"}
    prompted = write_result(RESULTS["objects"])["objects"]
    assert set(prompted.get_fields()) == {
        *("pred_masks", "pred_boxes", "scores"),
        *("pred_qualities", "pred_owners", "pred_choices"),
    }
    boxes = write_result(RESULTS["boxes alone"])["objects"]
    assert not boxes.has("pred_masks")
    assert boxes.image_size == SIZE


def test_runs_go_out_and_come_back_as_they_are():
    runs = Runs.of_masks(instance_set().masks)
    more = {
        "stabilities": torch.tensor([0.9, 1.0]),
        "points": torch.tensor([[1.5, 1], [3, 2]]).double(),
        "windows": torch.tensor([[0, 0, 6, 4]] * 2),
    }
    objects = instance_set(masks=runs, labels=None, **more)
    output = write_result(SegmentationResult(objects=objects))["objects"]
    assert output.pred_masks is runs
    assert torch.equal(output[1:].pred_masks.masks(), runs.masks()[1:])
    read = read_output({"objects": output}).objects
    assert read.masks is runs
    assert {name: getattr(read, name) for name in more} == more


def test_segments_are_plain_dicts_under_detectron2s_names():
    ids, info = write_result(RESULTS["panoptic"])["panoptic_seg"]
    assert ids is IDS
    assert info == [
        {"id": 1, "category_id": 0, "isthing": True, "score": 0.5, "area": 12},
        {"id": 7, "category_id": 1, "isthing": False, "score": None, "area": 6},
    ]


def test_segments_of_other_models_may_leave_scores_and_areas_out():
    infos = [{"id": 1, "category_id": 0, "isthing": 1}, {"id": 7, "category_id": 1, "isthing": 0}]
    read = read_output({"panoptic_seg": (IDS, infos)}).panoptic
    assert read.segments == (Segment(1, 0, True, None, 12), Segment(7, 1, False, None, 6))


def test_a_request_is_what_an_input_says():
    asked = {
        "image": IMAGE,
        "tasks": ["instance", "semantic"],
        "task": "panoptic",
        "vocabulary": CLASSES,
        LABEL_MAP_KEY: True,
        CERTAINTY_KEY: True,
    }
    request = read_request(asked, 3, ("panoptic",))
    assert (request.index, request.under) == (3, "panoptic")
    assert request.tasks == (Task.INSTANCE, Task.SEMANTIC)
    assert request.prompt.vocabulary is CLASSES
    assert request.wants == Wants(labels=True, certainty=True)


def test_a_request_that_says_nothing_is_the_models_own():
    request = read_request({"image": IMAGE, "vocabulary": None}, 0, ("semantic", "panoptic"))
    assert request.tasks == (Task.SEMANTIC, Task.PANOPTIC)
    assert (request.under, request.wants) == (None, Wants())
    assert request.prompt.kinds == frozenset()
    said = Prompt(Marks.read(SIZE, points=[(1, 1)]))
    assert read_request({"image": IMAGE, PROMPT_KEY: said}, 0, ("object",)).prompt is said


@pytest.mark.parametrize("own", [None, CLASSES], ids=["none", "the same"])
def test_a_class_list_beside_a_prompt_is_a_part_of_it(own):
    said = Prompt(Marks.read(SIZE, points=[(1, 1)]), vocabulary=own)
    asked = {"image": IMAGE, PROMPT_KEY: said, "vocabulary": CLASSES}
    prompt = read_request(asked, 0, ("object",)).prompt
    assert prompt.marks is said.marks
    assert prompt.vocabulary == CLASSES
    assert said.vocabulary is own


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"tasks": ("depth",)}, "semantic, instance, panoptic, object, got"),
        ({"tasks": ()}, "non-empty selection of the tasks"),
        ({PROMPT_KEY: [(1, 2)]}, "an input's prompt is a Prompt, got list"),
        ({"vocabulary": CLASSES.select([])}, "vocabulary is empty"),
        (
            {PROMPT_KEY: Prompt(vocabulary=CLASSES.select([0])), "vocabulary": CLASSES},
            "an input's prompt has another class list than its vocabulary",
        ),
        (
            {PROMPT_KEY: Prompt(Marks.read((8, 12), points=[(11, 7)])), "height": 8},
            r"marks lie in a photo of .* \(8, 12\), the input's is \(8, 6\)",
        ),
    ],
    ids=["task", "no task", "prompt", "no class", "class lists twice", "marks"],
)
def test_what_cannot_be_asked_is_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        read_request({"image": IMAGE, **wanted}, 0, ("semantic",))


@pytest.mark.parametrize(
    ("wanted", "photo_size"),
    [({}, SIZE), ({"height": 40, "width": 61}, (40, 61)), ({"width": 7}, (4, 7))],
    ids=["its own photo", "a larger photo", "a width alone"],
)
def test_a_frame_is_the_whole_photo_at_the_images_size(wanted, photo_size):
    frame = read_frame({"image": IMAGE, **wanted})
    assert frame == Frame.of_whole(photo_size, SIZE)
    corner = torch.tensor([float(photo_size[1]), float(photo_size[0])])
    assert frame.to_model(corner).tolist() == pytest.approx([6, 4])


def annotated_instances() -> Instances:
    masks = torch.zeros(1, *SIZE, dtype=torch.bool)
    masks[0, 1] = True
    return Instances(SIZE, gt_classes=torch.tensor([1]), gt_masks=BitMasks(masks))


def test_a_sample_of_instances_and_one_of_a_label_map_have_the_same_target():
    label_map = torch.full(SIZE, 255)
    label_map[1] = 1
    first = read_sample({"image": IMAGE, "instances": annotated_instances(), "task": "x"}, 255)
    second = read_sample({"image": IMAGE, "sem_seg": label_map, DATASET_KEY: "street"}, 255)
    assert (first.task, first.dataset, second.task, second.dataset) == ("x", None, None, "street")
    assert first.labels().tolist() == second.labels().tolist() == [1]
    device = torch.device("cpu")
    for sample in (first, second):
        target = sample.target((6, 8), device)
        assert target.labels.tolist() == [1]
        assert target.masks.nonzero().tolist() == [[0, 1, column] for column in range(6)]


def test_instances_are_meant_where_a_sample_has_both():
    both = {"image": IMAGE, "instances": annotated_instances(), "sem_seg": torch.zeros(SIZE)}
    sample = read_sample(both, 255)
    assert sample.label_map is None
    assert sample.labels().tolist() == [1]


def test_pixels_to_be_ignored_are_no_label():
    label_map = torch.tensor([[0, 9, 9], [2, 2, 9]])
    assert read_sample({"image": IMAGE, "sem_seg": label_map}, 9).labels().tolist() == [0, 2]
    assert read_sample({"image": IMAGE, "sem_seg": label_map}, 255).labels().tolist() == [0, 2, 9]


def test_an_input_without_annotation_is_refused_by_what_it_has():
    with pytest.raises(ValueError, match="with instances or sem_seg, got height, image:"):
        read_sample({"image": IMAGE, "height": 3}, 255)
