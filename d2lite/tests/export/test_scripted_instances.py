import pytest
import torch
from torch import Tensor, nn

from detectron2.export.torchscript import patch_instances, scripting_with_instances
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.testing import assert_instances_allclose, convert_scripted_instances

FIELDS = {"boxes": Boxes, "scores": Tensor}


class KeepBest(nn.Module):
    def forward(self, x: Instances):
        if not x.has("scores"):
            return x
        best = x[x.scores > 0.5]
        return best.to(torch.device("cpu"))


def make():
    return Instances((4, 5), boxes=Boxes(torch.rand(3, 4)), scores=torch.tensor([0.9, 0.1, 0.8]))


def test_scripted_code_selects_like_eager_code():
    instances = make()
    with patch_instances(FIELDS) as scripted_type:
        scripted = torch.jit.script(KeepBest())
        result = scripted(scripted_type.from_instances(instances))
        assert_instances_allclose(result, KeepBest()(instances))
        assert len(result) == 2
        untouched = scripted(scripted_type((4, 5)))
        assert convert_scripted_instances(untouched).get_fields() == {}


def test_fields_are_fixed():
    class WantsMasks(nn.Module):
        def forward(self, x: Instances):
            return x.masks

    with patch_instances(FIELDS), pytest.raises(Exception, match="masks"):
        torch.jit.script(WantsMasks())
    with patch_instances({"masks": Tensor}) as scripted_type:
        x = scripted_type((1, 1))
        x.masks = torch.ones(2)
        assert torch.jit.script(WantsMasks())(x).sum() == 2


def test_instances_are_as_before_afterwards():
    with patch_instances(FIELDS):
        pass
    with pytest.raises(Exception, match="being compiled"):
        torch.jit.script(KeepBest())
    assert len(make()[:1]) == 1


def test_cat_and_get_fields():
    def join(x: Tensor):
        first = Instances((2, 2), scores=x, boxes=Boxes(x))
        both = first.cat([first, first])
        return both.get_fields()["scores"], both.get_fields()["boxes"], len(both)

    x = torch.rand(3, 4)
    with patch_instances(FIELDS):
        scores, boxes, length = torch.jit.script(join)(x)
    assert torch.equal(scores, torch.cat([x, x]))
    assert torch.equal(boxes, torch.cat([x, x]))
    assert length == 6


def test_whole_model_in_evaluation_mode():
    scripted = scripting_with_instances(KeepBest().eval(), FIELDS)
    assert isinstance(scripted, torch.jit.ScriptModule)
    with pytest.raises(AssertionError, match="evaluation mode"):
        scripting_with_instances(KeepBest(), FIELDS)


def test_image_list_is_scriptable():
    def pad(images: list[Tensor]):
        batch = ImageList.from_tensors(images, 4, 2.0)
        return batch.tensor, batch.image_sizes

    images = [torch.rand(3, 5, 6), torch.rand(3, 7, 2)]
    tensor, sizes = torch.jit.script(pad)(images)
    assert torch.equal(tensor, pad(images)[0])
    assert sizes == [(5, 6), (7, 2)]
