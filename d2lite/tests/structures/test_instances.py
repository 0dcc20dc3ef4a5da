import copy
import pickle

import pytest
import torch

from detectron2.structures import BitMasks, Boxes, Instances


def make(count=3):
    return Instances(
        (6, 8),
        gt_boxes=Boxes(torch.arange(count * 4.0).reshape(count, 4)),
        scores=torch.linspace(0, 1, count),
        names=[f"n{i}" for i in range(count)],
        masks=BitMasks(torch.ones(count, 6, 8)),
    )


def test_fields():
    instances = make()
    assert len(instances) == 3
    assert instances.image_size == (6, 8)
    assert instances.has("scores")
    assert "scores" in instances.get_fields()
    assert instances.get("names") is instances.names
    instances.pred_classes = torch.tensor([4, 5, 6])
    assert instances.get("pred_classes").tolist() == [4, 5, 6]
    instances.remove("pred_classes")
    assert not instances.has("pred_classes")
    with pytest.raises(KeyError):
        instances.remove("pred_classes")
    with pytest.raises(KeyError):
        instances.get("pred_classes")
    with pytest.raises(AttributeError, match="Cannot find field 'pred_classes'"):
        _ = instances.pred_classes


def test_wrong_length_is_refused():
    instances = make()
    with pytest.raises(AssertionError, match="length 2 to a Instances of length 3"):
        instances.scores = torch.zeros(2)


def test_indexing_applies_to_every_field():
    instances = make()
    for index, expected in [
        (1, [1]),
        (-1, [2]),
        (slice(1, None), [1, 2]),
        (torch.tensor([2, 0]), [2, 0]),
    ]:
        if isinstance(index, torch.Tensor):
            instances.remove("names")  # lists cannot be indexed by tensors
        selected = instances[index]
        assert len(selected) == len(expected)
        assert torch.equal(selected.scores, instances.scores[expected])
        assert torch.equal(selected.gt_boxes.tensor, instances.gt_boxes.tensor[expected])
        assert selected.masks.tensor.shape == (len(expected), 6, 8)
        assert selected.image_size == (6, 8)
    assert torch.equal(instances[instances.scores > 0.4].scores, instances.scores[1:])
    for index in (3, -4):
        with pytest.raises(IndexError):
            instances[index]


def test_no_fields_no_length():
    with pytest.raises(NotImplementedError):
        len(Instances((1, 1)))
    with pytest.raises(NotImplementedError):
        iter(make())


def test_cat():
    first, second = make(2), make(3)
    joined = Instances.cat([first, second])
    assert len(joined) == 5
    assert joined.names == first.names + second.names
    assert torch.equal(joined.scores, torch.cat([first.scores, second.scores]))
    assert isinstance(joined.gt_boxes, Boxes)
    assert len(joined.masks) == 5
    assert Instances.cat([first]) is first
    with pytest.raises(AssertionError):
        Instances.cat([first, Instances((7, 8), scores=torch.zeros(1))])
    with pytest.raises(ValueError, match="Unsupported type"):
        Instances.cat([Instances((1, 1), x=(1,)), Instances((1, 1), x=(2,))])


def test_to_moves_what_can_move():
    moved = Instances((1, 1), x=torch.ones(2), n=["a", "b"]).to(torch.float64)
    assert moved.x.dtype == torch.float64
    assert moved.n == ["a", "b"]


def test_copy_and_pickle():
    instances = make()
    for other in (copy.deepcopy(instances), pickle.loads(pickle.dumps(instances))):
        assert torch.equal(other.gt_boxes.tensor, instances.gt_boxes.tensor)
        other.gt_boxes.tensor.zero_()
        assert instances.gt_boxes.tensor.sum() > 0
        assert other.image_size == (6, 8)


def test_text():
    text = str(Instances((4, 5), scores=[0.5]))
    expected = "Instances(num_instances=1, image_height=4, image_width=5, fields=[scores: [0.5]])"
    assert text == expected
