"""Functions of detectors that projects import by themselves, against slow obvious versions."""

import itertools

import pytest
import torch

from detectron2.modeling.meta_arch.dense_detector import permute_to_N_HWA_K
from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs
from detectron2.modeling.roi_heads.cascade_rcnn import _ScaleGradient
from detectron2.modeling.roi_heads.fast_rcnn import _log_classification_stats
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage


def combine_slowly(masks, scores, classes, semantic, max_overlap, min_area, min_score):
    """Give pixels to segments, one after the other."""
    pixels = list(itertools.product(range(semantic.shape[0]), range(semantic.shape[1])))
    owner, segments = {}, []
    for index in sorted(range(len(scores)), key=lambda i: -scores[i]):
        mine = [p for p in pixels if masks[index][p]]
        taken = [p for p in mine if p in owner]
        if scores[index] >= min_score and mine and len(taken) / len(mine) <= max_overlap:
            thing = {"isthing": True, "score": scores[index].item(), "instance_id": index}
            segments.append({**thing, "category_id": classes[index].item()})
            owner.update({p: len(segments) for p in mine if p not in owner})
    for label in range(1, int(semantic.max()) + 1):
        mine = [p for p in pixels if semantic[p] == label and p not in owner]
        if mine and len(mine) >= min_area:
            segments.append({"isthing": False, "category_id": label, "area": len(mine)})
            owner.update(dict.fromkeys(mine, len(segments)))
    ids = [[owner.get((y, x), 0) for x in range(semantic.shape[1])] for y in range(len(semantic))]
    return ids, [{**segment, "id": i} for i, segment in enumerate(segments, 1)]


@pytest.mark.parametrize("seed", range(8))
def test_panoptic_segments_are_those_of_single_pixels(seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(7, 6, 8, generator=generator) < torch.linspace(0, 0.5, 7).view(-1, 1, 1)
    scores = torch.rand(7, generator=generator)
    classes = torch.randint(0, 80, (7,), generator=generator)
    semantic = torch.randint(0, 5, (6, 8), generator=generator)
    instances = Instances((6, 8), pred_masks=masks, scores=scores, pred_classes=classes)
    ids, segments = combine_semantic_and_instance_outputs(instances, semantic, 0.4, 4, 0.2)
    expected = combine_slowly(masks, scores, classes, semantic, 0.4, 4, 0.2)
    assert (ids.tolist(), segments) == expected
    assert ids.dtype == torch.int32
    assert {segment["isthing"] for segment in segments} == {True, False}


def test_a_row_per_position_and_anchor():
    predictions = torch.arange(2 * 6 * 3 * 5).view(2, 6, 3, 5)  # 3 anchors, 2 values
    rows = permute_to_N_HWA_K(predictions, 2)
    expected = [
        [
            [predictions[n, 2 * a + k, y, x].item() for k in range(2)]
            for y, x, a in itertools.product(range(3), range(5), range(3))
        ]
        for n in range(2)
    ]
    assert rows.tolist() == expected
    with pytest.raises(AssertionError):
        permute_to_N_HWA_K(predictions[0], 2)


def test_only_the_gradient_is_scaled():
    features = torch.randn(3, requires_grad=True)
    scaled = _ScaleGradient.apply(features, 0.25)
    assert torch.equal(scaled, features)
    (scaled * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    assert features.grad.tolist() == [0.25, 0.5, 1.0]


def test_accuracy_of_all_regions_and_of_objects():
    classes = torch.tensor([0, 1, 1, 2, 2])  # 2 is background
    predicted = torch.tensor([0, 0, 2, 2, 1])
    logits = torch.nn.functional.one_hot(predicted, 3).float()
    with EventStorage() as storage:
        _log_classification_stats(logits, classes, "own")
        _log_classification_stats(logits[3:], classes[3:], "background")
        _log_classification_stats(logits[:0], classes[:0], "empty")
    assert {name: float(value) for name, (value, _) in storage.latest().items()} == pytest.approx(
        {
            "own/cls_accuracy": 2 / 5,
            "own/fg_cls_accuracy": 1 / 3,
            "own/false_negative": 1 / 3,
            "background/cls_accuracy": 1 / 2,
        }
    )
