"""Names of weights."""

from __future__ import annotations

import pytest
import torch

from detectron2.checkpoint.c2_model_loading import (
    align_and_update_state_dicts,
    convert_basic_c2_names,
    convert_c2_detectron_names,
)


@pytest.mark.parametrize(
    ("caffe2", "expected"),
    [
        ("conv1_w", "stem.conv1.weight"),
        ("res_conv1_bn_s", "stem.conv1.norm.weight"),
        ("res2_0_branch1_w", "res2.0.shortcut.weight"),
        ("res2_0_branch2a_bn_b", "res2.0.conv1.norm.bias"),
        ("res4_22_branch2c_bn_riv", "res4.22.conv3.norm.running_var"),
        ("res4_22_branch2b_bn_rm", "res4.22.conv2.norm.running_mean"),
        ("res3_1_branch2b_bn_gamma", "res3.1.conv2.norm.weight"),
        ("res5_1_branch2a_gn_s", "res5.1.conv1.norm.weight"),
        ("pred_w", "linear.weight"),
    ],
)
def test_backbone_names(caffe2, expected):
    assert convert_basic_c2_names([caffe2]) == [expected]


@pytest.mark.parametrize(
    ("caffe2", "expected"),
    [
        ("fpn_inner_res2_2_sum_lateral_w", "fpn_lateral2.weight"),
        ("fpn_inner_res5_2_sum_gn_s", "fpn_lateral5.norm.weight"),
        ("fpn_res3_3_sum_b", "fpn_output3.bias"),
        ("conv_rpn_fpn2_w", "proposal_generator.rpn_head.conv.weight"),
        ("rpn_bbox_pred_b", "proposal_generator.rpn_head.anchor_deltas.bias"),
        ("fc6_w", "box_head.fc1.weight"),
        ("_[mask]_fcn1_w", "mask_head.mask_fcn1.weight"),
        ("kps_score_lowres_w", "roi_heads.keypoint_head.score_lowres.weight"),
    ],
)
def test_detector_names(caffe2, expected):
    weights, names = convert_c2_detectron_names({caffe2: torch.zeros(1)})
    assert list(weights) == [expected]
    assert names == {expected: caffe2}


def test_background_class_moves_to_the_end_or_goes():
    rows = torch.arange(3.0).view(3, 1)
    weights, _ = convert_c2_detectron_names(
        {
            "cls_score_w": rows,
            "bbox_pred_w": torch.arange(12.0),
            "mask_fcn_logits_w": rows,
        }
    )
    assert weights["cls_score.weight"].flatten().tolist() == [1, 2, 0]
    assert weights["bbox_pred.weight"].tolist() == list(range(4, 12))
    assert weights["mask_head.predictor.weight"].flatten().tolist() == [1, 2]


def zeros(*names):
    return {name: torch.zeros(2) for name in names}


def test_longest_ending_wins_and_parts_of_names_do_not_count():
    checkpoint = {"conv.weight": torch.ones(2), "res.conv.weight": torch.full((2,), 2.0)}
    model = zeros("a.conv.weight", "a.res.conv.weight", "a.preconv.weight")
    aligned = align_and_update_state_dicts(model, checkpoint, c2_conversion=False)
    assert {k: v[0].item() for k, v in aligned.items()} == {
        "a.conv.weight": 1,
        "a.res.conv.weight": 2,
    }


def test_unmatched_weights_keep_their_names():
    checkpoint = zeros("conv.weight", "other.weight")
    aligned = align_and_update_state_dicts(zeros("a.conv.weight"), checkpoint, c2_conversion=False)
    assert set(aligned) == {"a.conv.weight", "other.weight"}


def test_one_weight_for_two_places_is_refused():
    with pytest.raises(ValueError, match="multiple keys"):
        align_and_update_state_dicts(
            zeros("a.conv.weight", "b.conv.weight"), zeros("conv.weight"), c2_conversion=False
        )


def test_wrong_shape_is_left_out():
    checkpoint = {"conv.weight": torch.zeros(3), "conv.bias": torch.zeros(2)}
    model = zeros("a.conv.weight", "a.conv.bias")
    aligned = align_and_update_state_dicts(model, checkpoint, c2_conversion=False)
    assert "a.conv.weight" not in aligned
    assert "a.conv.bias" in aligned


def test_nothing_matched_gives_the_checkpoint_back():
    checkpoint = zeros("x")
    assert align_and_update_state_dicts(zeros("y"), checkpoint, c2_conversion=False) is checkpoint
