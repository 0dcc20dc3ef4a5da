"""Region proposal network (Ren et al., 2015).

Shapes: N images, A anchors per position, R anchors of all levels, h w feature size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from detectron2.config import configurable
from detectron2.layers import Conv2d
from detectron2.structures import Boxes, pairwise_iou
from detectron2.utils.events import get_event_storage
from detectron2.utils.memory import retry_if_cuda_oom
from detectron2.utils.registry import Registry

from ..anchor_generator import build_anchor_generator
from ..box_regression import Box2BoxTransform, _dense_box_regression_loss
from ..matcher import Matcher
from ..sampling import subsample_labels
from .build import PROPOSAL_GENERATOR_REGISTRY
from .proposal_utils import find_top_rpn_proposals

__all__ = ["RPN", "RPN_HEAD_REGISTRY", "StandardRPNHead", "build_rpn_head"]

RPN_HEAD_REGISTRY = Registry("RPN_HEAD")
RPN_HEAD_REGISTRY.__doc__ = """
Callables ``(cfg, [ShapeSpec]) -> Module``: objectness and box deltas of anchors.
"""


def build_rpn_head(cfg, input_shape):
    """Build what ``cfg.MODEL.RPN.HEAD_NAME`` names."""
    return RPN_HEAD_REGISTRY.get(cfg.MODEL.RPN.HEAD_NAME)(cfg, input_shape)


@RPN_HEAD_REGISTRY.register()
class StandardRPNHead(nn.Module):
    """3x3 convolutions, then one 1x1 for the objectness and one for the deltas of all anchors."""

    @configurable
    def __init__(self, *, in_channels, num_anchors, box_dim=4, conv_dims=(-1,)):
        """Build the head.

        Args:
            in_channels: width of all levels.
            num_anchors: A.
            box_dim: numbers per box.
            conv_dims: widths of the 3x3 convolutions; -1 keeps the width.
        """
        super().__init__()
        convs = []
        for width in conv_dims:
            width = in_channels if width == -1 else width
            if width <= 0:
                raise ValueError(f"Conv output channels should be greater than 0. Got {width}")
            convs.append(Conv2d(in_channels, width, kernel_size=3, padding=1, activation=nn.ReLU()))
            in_channels = width
        if len(convs) == 1:
            self.conv = convs[0]
        else:
            self.conv = nn.Sequential()
            for i, conv in enumerate(convs):
                self.conv.add_module(f"conv{i}", conv)
        self.objectness_logits = nn.Conv2d(in_channels, num_anchors, kernel_size=1)
        self.anchor_deltas = nn.Conv2d(in_channels, num_anchors * box_dim, kernel_size=1)
        for layer in (*convs, self.objectness_logits, self.anchor_deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    @classmethod
    def from_config(cls, cfg, input_shape):
        widths = {shape.channels for shape in input_shape}
        assert len(widths) == 1, f"all levels share the head, but their widths are {widths}"
        anchor_generator = build_anchor_generator(cfg, input_shape)
        counts = set(anchor_generator.num_anchors)
        assert len(counts) == 1, f"all levels share the head, but have {counts} anchors"
        return {
            "in_channels": widths.pop(),
            "num_anchors": counts.pop(),
            "box_dim": anchor_generator.box_dim,
            "conv_dims": cfg.MODEL.RPN.CONV_DIMS,
        }

    def forward(self, features):
        """Return per level logits [N, A, h, w] and deltas [N, A*box_dim, h, w]."""
        hidden = [self.conv(feature) for feature in features]
        return [self.objectness_logits(h) for h in hidden], [self.anchor_deltas(h) for h in hidden]


@PROPOSAL_GENERATOR_REGISTRY.register()
class RPN(nn.Module):
    """Proposes the boxes that look most like objects."""

    @configurable
    def __init__(
        self,
        *,
        in_features,
        head,
        anchor_generator,
        anchor_matcher,
        box2box_transform,
        batch_size_per_image,
        positive_fraction,
        pre_nms_topk,
        post_nms_topk,
        nms_thresh=0.7,
        min_box_size=0.0,
        anchor_boundary_thresh=-1.0,
        loss_weight=1.0,
        box_reg_loss_type="smooth_l1",
        smooth_l1_beta=0.0,
    ):
        """Set the parts.

        Args:
            in_features: names of the features to use.
            head: a StandardRPNHead or similar.
            anchor_generator: makes the anchors.
            anchor_matcher: labels them.
            box2box_transform: between anchors and boxes.
            batch_size_per_image: anchors per image that the loss is taken of.
            positive_fraction: largest part of them that is positive.
            pre_nms_topk: boxes per level before duplicates are dropped, (training, inference).
            post_nms_topk: boxes per image after that, (training, inference).
            nms_thresh: overlap of duplicates.
            min_box_size: shortest allowed side of a proposal in pixels.
            anchor_boundary_thresh: ignore anchors further outside the image; -1 ignores none.
            loss_weight: factor on both losses, or ``{name of a loss: factor}``.
            box_reg_loss_type: "smooth_l1", "giou", "diou" or "ciou".
            smooth_l1_beta: where "smooth_l1" turns from quadratic to linear.
        """
        super().__init__()
        self.rpn_head, self.anchor_generator = head, anchor_generator
        self.in_features = in_features
        self.anchor_matcher, self.box2box_transform = anchor_matcher, box2box_transform
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.pre_nms_topk = dict(zip((True, False), pre_nms_topk))  # by self.training
        self.post_nms_topk = dict(zip((True, False), post_nms_topk))
        self.nms_thresh, self.min_box_size = nms_thresh, float(min_box_size)
        self.anchor_boundary_thresh = anchor_boundary_thresh
        if isinstance(loss_weight, float):
            loss_weight = dict.fromkeys(("loss_rpn_cls", "loss_rpn_loc"), loss_weight)
        self.loss_weight = loss_weight
        self.box_reg_loss_type, self.smooth_l1_beta = box_reg_loss_type, smooth_l1_beta

    @classmethod
    def from_config(cls, cfg, input_shape):
        options = cfg.MODEL.RPN
        shapes = [input_shape[name] for name in options.IN_FEATURES]
        return {
            "in_features": options.IN_FEATURES,
            "anchor_generator": build_anchor_generator(cfg, shapes),
            "anchor_matcher": Matcher(
                options.IOU_THRESHOLDS, options.IOU_LABELS, allow_low_quality_matches=True
            ),
            "head": build_rpn_head(cfg, shapes),
            "box2box_transform": Box2BoxTransform(weights=options.BBOX_REG_WEIGHTS),
            "batch_size_per_image": options.BATCH_SIZE_PER_IMAGE,
            "positive_fraction": options.POSITIVE_FRACTION,
            "pre_nms_topk": (options.PRE_NMS_TOPK_TRAIN, options.PRE_NMS_TOPK_TEST),
            "post_nms_topk": (options.POST_NMS_TOPK_TRAIN, options.POST_NMS_TOPK_TEST),
            "nms_thresh": options.NMS_THRESH,
            "min_box_size": cfg.MODEL.PROPOSAL_GENERATOR.MIN_SIZE,
            "anchor_boundary_thresh": options.BOUNDARY_THRESH,
            "loss_weight": {
                "loss_rpn_cls": options.LOSS_WEIGHT,
                "loss_rpn_loc": options.LOSS_WEIGHT * options.BBOX_REG_LOSS_WEIGHT,
            },
            "box_reg_loss_type": options.BBOX_REG_LOSS_TYPE,
            "smooth_l1_beta": options.SMOOTH_L1_BETA,
        }

    def forward(self, images, features, gt_instances=None):
        """Return proposals, as :meth:`predict_proposals` does, and in training the losses.

        Args:
            images: ImageList.
            features: ``{name: [N, C, h, w]}``.
            gt_instances: per image Instances with ``gt_boxes``; needed in training.
        """
        features = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(features)
        logits, deltas = self.rpn_head(features)
        logits = [level.permute(0, 2, 3, 1).flatten(1) for level in logits]  # [N, h*w*A]
        deltas = [self._per_anchor(level) for level in deltas]  # [N, h*w*A, 4]
        losses = {}
        if self.training:
            assert gt_instances is not None, "RPN requires gt_instances in training!"
            labels, boxes = self.label_and_sample_anchors(anchors, gt_instances)
            losses = self.losses(anchors, logits, labels, deltas, boxes)
        return self.predict_proposals(anchors, logits, deltas, images.image_sizes), losses

    def _per_anchor(self, deltas):
        box_dim = self.anchor_generator.box_dim
        deltas = deltas.unflatten(1, (-1, box_dim))  # [N, A, box_dim, h, w]
        return deltas.permute(0, 3, 4, 1, 2).flatten(1, 3)

    @torch.no_grad()
    def label_and_sample_anchors(self, anchors, gt_instances):
        """Label the anchors that the loss is taken of.

        Args:
            anchors: per level Boxes.
            gt_instances: per image Instances with ``gt_boxes``.

        Returns:
            Per image labels [R], -1 for anchors that do not count, and the boxes [R, 4] that
            anchors of label 1 belong to.
        """
        anchors = Boxes.cat(anchors)
        all_labels, all_boxes = [], []
        for instances in gt_instances:
            boxes = instances.gt_boxes
            quality = retry_if_cuda_oom(pairwise_iou)(boxes, anchors)
            matches, labels = retry_if_cuda_oom(self.anchor_matcher)(quality)
            labels = labels.to(boxes.device)  # the matching may have fled to the CPU
            if self.anchor_boundary_thresh >= 0:
                inside = anchors.inside_box(instances.image_size, self.anchor_boundary_thresh)
                labels[~inside] = -1
            all_labels.append(self._subsample_labels(labels))
            has_boxes = len(boxes) > 0
            matched = boxes.tensor[matches.to(boxes.device)] if has_boxes else None
            all_boxes.append(matched if has_boxes else torch.zeros_like(anchors.tensor))
        return all_labels, all_boxes

    def _subsample_labels(self, label):
        positive, negative = subsample_labels(
            label, self.batch_size_per_image, self.positive_fraction, 0
        )
        label.fill_(-1)
        label[positive] = 1
        label[negative] = 0
        return label

    def losses(self, anchors, pred_objectness_logits, gt_labels, pred_anchor_deltas, gt_boxes):
        """Return ``loss_rpn_cls`` and ``loss_rpn_loc``.

        Args:
            anchors: per level Boxes.
            pred_objectness_logits: per level [N, h*w*A].
            gt_labels: per image [R].
            pred_anchor_deltas: per level [N, h*w*A, 4].
            gt_boxes: per image [R, 4].
        """
        labels = torch.stack(gt_labels)  # [N, R]
        is_object, counts = labels == 1, labels >= 0
        storage = get_event_storage()
        for name, chosen in (("pos", is_object), ("neg", labels == 0)):
            storage.put_scalar(f"rpn/num_{name}_anchors", chosen.sum().item() / len(labels))
        losses = {
            "loss_rpn_cls": F.binary_cross_entropy_with_logits(
                torch.cat(pred_objectness_logits, dim=1)[counts],
                labels[counts].float(),
                reduction="sum",
            ),
            "loss_rpn_loc": _dense_box_regression_loss(
                anchors,
                self.box2box_transform,
                pred_anchor_deltas,
                gt_boxes,
                is_object,
                box_reg_loss_type=self.box_reg_loss_type,
                smooth_l1_beta=self.smooth_l1_beta,
            ),
        }
        normalizer = self.batch_size_per_image * len(labels)
        return {k: v / normalizer * self.loss_weight.get(k, 1.0) for k, v in losses.items()}

    @torch.no_grad()
    def predict_proposals(self, anchors, pred_objectness_logits, pred_anchor_deltas, image_sizes):
        """Return what :func:`find_top_rpn_proposals` finds among the changed anchors."""
        proposals = [
            self.box2box_transform.apply_deltas(
                deltas.flatten(0, 1), boxes.tensor.repeat(len(deltas), 1)
            ).view_as(deltas)
            for boxes, deltas in zip(anchors, pred_anchor_deltas)
        ]
        return find_top_rpn_proposals(
            proposals,
            pred_objectness_logits,
            image_sizes,
            self.nms_thresh,
            self.pre_nms_topk[self.training],
            self.post_nms_topk[self.training],
            self.min_box_size,
            self.training,
        )
