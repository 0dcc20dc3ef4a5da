from __future__ import annotations

import pytest
import torch

from detectron2.structures import BitMasks, Instances
from freeseg.structures import (
    ImageFeatures,
    InstanceSet,
    MaskPrediction,
    PanopticMap,
    QueryGroup,
    QuerySet,
    Segment,
    SegmentationResult,
    SegmentationTarget,
    SemanticMap,
    Vocabulary,
    write_result,
)


def group(name: str, size: int, **fields) -> QueryGroup:
    return QueryGroup(name, torch.randn(2, size, 4), torch.randn(2, size, 4), **fields)


class TestVocabulary:
    def test_stuff_classes_name_all_classes(self):
        metadata = {
            "thing_classes": ["car"],
            "stuff_classes": ["car", "sky"],
            "thing_dataset_id_to_contiguous_id": {7: 0},
        }
        vocabulary = Vocabulary.from_metadata(metadata, 2)
        assert vocabulary == Vocabulary(("car", "sky"), (True, False))

    def test_only_things(self):
        vocabulary = Vocabulary.from_metadata({"thing_classes": ["cat", "dog"]}, 2)
        assert vocabulary == Vocabulary(("cat", "dog"), (True, True))

    def test_only_stuff(self):
        vocabulary = Vocabulary.from_metadata({"stuff_classes": ["sky", "sea"]}, 2)
        assert vocabulary.is_thing == (False, False)

    def test_unknown_names_are_numbered(self):
        assert Vocabulary.from_metadata({}, 2).names == ("class 0", "class 1")

    def test_flags_must_match_names(self):
        with pytest.raises(ValueError, match="2 names and 1 flags"):
            Vocabulary(("a", "b"), (True,))


class TestQuerySet:
    def test_all_see_all_needs_no_mask(self):
        assert QuerySet([group("a", 2), group("b", 3)]).visibility() is None

    def test_a_group_sees_only_what_it_reads(self):
        visible = QuerySet([group("a", 1, reads=("a",)), group("b", 2)]).visibility()
        assert visible.shape == (2, 3, 3)
        expected = [[True, False, False], [True, True, True], [True, True, True]]
        assert visible[1].tolist() == expected

    def test_owners_keep_requests_apart(self):
        owners = torch.tensor([0, 1])
        visible = QuerySet([group("prompt", 2, owners=owners), group("shared", 1)]).visibility()
        expected = [[True, False, True], [False, True, True], [True, True, True]]
        assert visible[0].tolist() == expected

    def test_reads_image(self):
        assert QuerySet([group("a", 1)]).reads_image() is None
        queries = QuerySet([group("a", 1), group("b", 2, reads_image=False)])
        assert queries.reads_image().tolist() == [True, False, False]

    def test_split_undoes_concatenation(self):
        queries = QuerySet([group("a", 2), group("b", 3)])
        parts = queries.split(queries.content())
        assert torch.equal(parts["b"], queries.groups[1].content)
        assert len(queries) == 5

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            (lambda: [], "at least one group"),
            (lambda: [group("a", 1), group("a", 1)], "its own name"),
            (lambda: [group("a", 1, reads=("b",))], r"reads \['b'\], known: \['a'\]"),
        ],
    )
    def test_wrong_sets_are_refused(self, groups, message):
        with pytest.raises(ValueError, match=message):
            QuerySet(groups())

    def test_wrong_groups_are_refused(self):
        with pytest.raises(ValueError, match="one shape"):
            QueryGroup("a", torch.zeros(1, 2, 3), torch.zeros(1, 1, 3))
        with pytest.raises(ValueError, match="one owner for each of 2"):
            group("a", 2, owners=torch.tensor([1]))


def test_features_must_agree_in_batch_size():
    with pytest.raises(ValueError, match=r"batches of \[1, 2\] images"):
        ImageFeatures((torch.zeros(1, 1, 1, 1),), torch.zeros(2, 1, 1, 1), (4, 4), ((4, 4),))


def test_prediction_must_agree_in_queries():
    with pytest.raises(ValueError, match=r"agree in \[B, Q\]"):
        MaskPrediction(torch.zeros(1, 2, 3), torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("wrap", [BitMasks, lambda masks: masks], ids=["BitMasks", "tensor"])
def test_target_masks_are_padded_with_background(wrap):
    instances = Instances(
        (2, 3), gt_classes=torch.tensor([3]), gt_masks=wrap(torch.ones(1, 2, 3, dtype=torch.bool))
    )
    target = SegmentationTarget.from_instances(instances, (4, 5))
    assert target.masks.shape == (1, 4, 5)
    assert target.masks.sum() == 6
    assert target.masks[0, :2, :3].all()


def test_target_refuses_masks_of_other_length():
    with pytest.raises(ValueError, match="for 2 labels"):
        SegmentationTarget(torch.zeros(2).long(), torch.zeros(1, 4, 4).bool())


def test_result_speaks_detectron2():
    found = SegmentationResult(
        semantic=SemanticMap(scores=torch.zeros(2, 3, 4)),
        panoptic=PanopticMap(torch.ones(3, 4).int(), (Segment(1, 0, True, 0.5, 12),)),
        instances=InstanceSet(
            torch.ones(1, 3, 4).bool(),
            torch.tensor([[0.0, 0, 4, 3]]),
            torch.tensor([1]),
            torch.tensor([0.25]),
        ),
    )
    result = write_result(found)
    assert result["sem_seg"].shape == (2, 3, 4)
    segment_map, info = result["panoptic_seg"]
    assert segment_map.sum() == 12
    assert info == [{"id": 1, "category_id": 0, "isthing": True, "score": 0.5, "area": 12}]
    assert result["instances"].image_size == (3, 4)
    assert result["instances"].pred_boxes.tensor.tolist() == [[0, 0, 4, 3]]
    assert write_result(SegmentationResult()) == {}
    assert found.to_detectron2().keys() == result.keys(), "as it was documented"
