"""Mask R-CNN on a ResNet-50 feature pyramid."""

from detectron2.config import LazyCall
from detectron2.layers import ShapeSpec
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import FPN, BasicStem, ResNet
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import (
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    MaskRCNNConvUpsampleHead,
    StandardROIHeads,
)

_WIDTH = 256
_LEVELS = ["p2", "p3", "p4", "p5"]
_STRIDES = [4, 8, 16, 32]


def _region_pooler(size):
    scales = tuple(1.0 / stride for stride in _STRIDES)
    return LazyCall(ROIPooler)(
        output_size=size, scales=scales, sampling_ratio=0, pooler_type="ROIAlignV2"
    )


_resnet = LazyCall(ResNet)(
    stem=LazyCall(BasicStem)(in_channels=3, out_channels=64, norm="FrozenBN"),
    stages=LazyCall(ResNet.make_default_stages)(depth=50, stride_in_1x1=True, norm="FrozenBN"),
    out_features=["res2", "res3", "res4", "res5"],
)
_pyramid = LazyCall(FPN)(
    bottom_up=_resnet,
    in_features="${.bottom_up.out_features}",
    out_channels=_WIDTH,
    top_block=LazyCall(LastLevelMaxPool)(),
)
_anchors = LazyCall(DefaultAnchorGenerator)(
    sizes=[[8 * stride] for stride in [*_STRIDES, 64]],
    strides=[*_STRIDES, 64],
    aspect_ratios=[0.5, 1.0, 2.0],
    offset=0.0,
)
_proposals = LazyCall(RPN)(
    in_features=[*_LEVELS, "p6"],
    head=LazyCall(StandardRPNHead)(in_channels=_WIDTH, num_anchors=3),
    anchor_generator=_anchors,
    anchor_matcher=LazyCall(Matcher)(
        thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True
    ),
    box2box_transform=LazyCall(Box2BoxTransform)(weights=[1.0] * 4),
    batch_size_per_image=256,
    positive_fraction=0.5,
    pre_nms_topk=(2000, 1000),  # while training, while testing
    post_nms_topk=(1000, 1000),
    nms_thresh=0.7,
)
_box_head = LazyCall(FastRCNNConvFCHead)(
    input_shape=ShapeSpec(channels=_WIDTH, height=7, width=7), conv_dims=[], fc_dims=[1024, 1024]
)
_box_predictor = LazyCall(FastRCNNOutputLayers)(
    input_shape=ShapeSpec(channels=1024),
    num_classes="${..num_classes}",
    box2box_transform=LazyCall(Box2BoxTransform)(weights=(10, 10, 5, 5)),
    test_score_thresh=0.05,
)
_mask_head = LazyCall(MaskRCNNConvUpsampleHead)(
    input_shape=ShapeSpec(channels=_WIDTH, height=14, width=14),
    num_classes="${..num_classes}",
    conv_dims=[_WIDTH] * 5,
)
_regions = LazyCall(StandardROIHeads)(
    num_classes=80,
    batch_size_per_image=512,
    positive_fraction=0.25,
    proposal_matcher=LazyCall(Matcher)(
        thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False
    ),
    box_in_features=_LEVELS,
    box_pooler=_region_pooler(7),
    box_head=_box_head,
    box_predictor=_box_predictor,
    mask_in_features=_LEVELS,
    mask_pooler=_region_pooler(14),
    mask_head=_mask_head,
)

model = LazyCall(GeneralizedRCNN)(
    backbone=_pyramid,
    proposal_generator=_proposals,
    roi_heads=_regions,
    pixel_mean=[103.530, 116.280, 123.675],
    pixel_std=[1.0, 1.0, 1.0],
    input_format="BGR",
)
