"""Everything that is computed per region.

Shapes: N images, P proposals and M true objects of an image.
"""

from __future__ import annotations

import torch
from torch import nn

from detectron2._missing import missing
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, pairwise_iou
from detectron2.utils.events import get_event_storage
from detectron2.utils.registry import Registry

from ..matcher import Matcher
from ..poolers import ROIPooler
from ..proposal_generator.proposal_utils import add_ground_truth_to_proposals
from ..sampling import subsample_labels
from .box_head import build_box_head
from .fast_rcnn import FastRCNNOutputLayers
from .mask_head import build_mask_head

__all__ = [
    "ROI_HEADS_REGISTRY",
    "ROIHeads",
    "StandardROIHeads",
    "build_roi_heads",
    "select_foreground_proposals",
]

ROI_HEADS_REGISTRY = Registry("ROI_HEADS")
ROI_HEADS_REGISTRY.__doc__ = """
Callables ``(cfg, {feature name: ShapeSpec}) -> Module``: everything done per region.
"""


def build_roi_heads(cfg, input_shape):
    """Build what ``cfg.MODEL.ROI_HEADS.NAME`` names."""
    return ROI_HEADS_REGISTRY.get(cfg.MODEL.ROI_HEADS.NAME)(cfg, input_shape)


def select_foreground_proposals(proposals, bg_label):
    """Return per image the Instances whose ``gt_classes`` are objects, and which those are."""
    is_object = [(p.gt_classes != -1) & (p.gt_classes != bg_label) for p in proposals]
    return [p[chosen.nonzero().flatten()] for p, chosen in zip(proposals, is_object)], is_object


class ROIHeads(nn.Module):
    """Chooses proposals for training; subclasses compute something of them in ``forward``."""

    @configurable
    def __init__(
        self,
        *,
        num_classes,
        batch_size_per_image,
        positive_fraction,
        proposal_matcher,
        proposal_append_gt=True,
    ):
        """Set the choice.

        Args:
            num_classes: number of classes; the background is the one behind them.
            batch_size_per_image: proposals per image to train on.
            positive_fraction: largest part of them that is objects.
            proposal_matcher: labels the proposals.
            proposal_append_gt: true boxes are proposals too.
        """
        super().__init__()
        self.num_classes = num_classes
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.proposal_matcher, self.proposal_append_gt = proposal_matcher, proposal_append_gt

    @classmethod
    def from_config(cls, cfg):
        options = cfg.MODEL.ROI_HEADS
        matcher = Matcher(
            options.IOU_THRESHOLDS, options.IOU_LABELS, allow_low_quality_matches=False
        )
        return {
            "num_classes": options.NUM_CLASSES,
            "batch_size_per_image": options.BATCH_SIZE_PER_IMAGE,
            "positive_fraction": options.POSITIVE_FRACTION,
            "proposal_matcher": matcher,
            "proposal_append_gt": options.PROPOSAL_APPEND_GT,
        }

    def forward(self, images, features, proposals, targets=None):
        """Return detections and losses; the one is empty in training, the other in inference.

        Args:
            images: ImageList.
            features: ``{name: [N, C, h, w]}``.
            proposals: per image Instances with ``proposal_boxes`` and ``objectness_logits``.
            targets: in training, per image Instances with ``gt_boxes``, ``gt_classes`` ...
        """
        raise NotImplementedError

    @torch.no_grad()
    def label_and_sample_proposals(self, proposals, targets):
        """Choose proposals to train on and give them the ``gt_*`` fields of their objects.

        Args:
            proposals: per image Instances with ``proposal_boxes`` and ``objectness_logits``.
            targets: per image Instances with ``gt_boxes``, ``gt_classes`` and others.

        Returns:
            Per image the chosen ones. Where there is no object, they have ``gt_classes`` alone.
        """
        if self.proposal_append_gt:
            proposals = add_ground_truth_to_proposals(targets, proposals)
        chosen, num_objects, num_background = [], [], []
        for proposed, true in zip(proposals, targets):
            quality = pairwise_iou(true.gt_boxes, proposed.proposal_boxes)
            matches, labels = self.proposal_matcher(quality)
            indices, classes = self._sample_proposals(matches, labels, true.gt_classes)
            sampled = proposed[indices]
            sampled.gt_classes = classes
            if len(true) > 0:
                for name, values in true.get_fields().items():
                    if name.startswith("gt_") and not sampled.has(name):
                        sampled.set(name, values[matches[indices]])
            chosen.append(sampled)
            num_background.append((classes == self.num_classes).sum().item())
            num_objects.append(len(classes) - num_background[-1])
        storage = get_event_storage()
        storage.put_scalar("roi_head/num_fg_samples", sum(num_objects) / len(chosen))
        storage.put_scalar("roi_head/num_bg_samples", sum(num_background) / len(chosen))
        return chosen

    def _sample_proposals(self, matched_idxs, matched_labels, gt_classes):
        """Return the indices of chosen proposals and their classes."""
        if gt_classes.numel() > 0:
            classes = gt_classes[matched_idxs]
            classes[matched_labels == 0] = self.num_classes
            classes[matched_labels == -1] = -1
        else:
            classes = torch.full_like(matched_idxs, self.num_classes)
        indices = torch.cat(
            subsample_labels(
                classes, self.batch_size_per_image, self.positive_fraction, self.num_classes
            )
        )
        return indices, classes[indices]


@ROI_HEADS_REGISTRY.register()
class StandardROIHeads(ROIHeads):
    """Boxes and masks, each with their own pooling and their own head."""

    @configurable
    def __init__(
        self,
        *,
        box_in_features,
        box_pooler,
        box_head,
        box_predictor,
        mask_in_features=None,
        mask_pooler=None,
        mask_head=None,
        keypoint_in_features=None,
        keypoint_pooler=None,
        keypoint_head=None,
        train_on_pred_boxes=False,
        **kwargs,
    ):
        """Set the parts.

        Args:
            box_in_features: names of features for the boxes.
            box_pooler: reads them inside of proposals.
            box_head: network on what was read.
            box_predictor: a FastRCNNOutputLayers or similar on top.
            mask_in_features: names of features for masks; None for no masks.
            mask_pooler: reads them inside of boxes; without, the head gets the features.
            mask_head: a BaseMaskRCNNHead or similar.
            keypoint_in_features: None; the real package has keypoints.
            keypoint_pooler: likewise.
            keypoint_head: likewise.
            train_on_pred_boxes: train the masks inside of predicted boxes, not of proposals.
            **kwargs: of :class:`ROIHeads`.
        """
        super().__init__(**kwargs)
        if keypoint_in_features is not None:
            raise missing(f"keypoint_head={keypoint_head} of StandardROIHeads")
        self.in_features = self.box_in_features = box_in_features
        self.box_pooler, self.box_head = box_pooler, box_head
        self.box_predictor = box_predictor
        self.mask_on, self.keypoint_on = mask_in_features is not None, False
        if self.mask_on:
            self.mask_in_features = mask_in_features
            self.mask_pooler, self.mask_head = mask_pooler, mask_head
        self.train_on_pred_boxes = train_on_pred_boxes

    @classmethod
    def from_config(cls, cfg, input_shape):
        if cfg.MODEL.KEYPOINT_ON:
            raise missing("MODEL.KEYPOINT_ON")
        return {
            **super().from_config(cfg),
            "train_on_pred_boxes": cfg.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES,
            **cls._init_box_head(cfg, input_shape),
            **cls._init_mask_head(cfg, input_shape),
        }

    @classmethod
    def _init_box_head(cls, cfg, input_shape):
        names = cfg.MODEL.ROI_HEADS.IN_FEATURES
        pooler, shape = _pooler(cfg.MODEL.ROI_BOX_HEAD, [input_shape[name] for name in names])
        head = build_box_head(cfg, shape)
        return {
            "box_in_features": names,
            "box_pooler": pooler,
            "box_head": head,
            "box_predictor": FastRCNNOutputLayers(cfg, head.output_shape),
        }

    @classmethod
    def _init_mask_head(cls, cfg, input_shape):
        if not cfg.MODEL.MASK_ON:
            return {}
        names = cfg.MODEL.ROI_HEADS.IN_FEATURES
        pooler, shape = None, {name: input_shape[name] for name in names}
        if cfg.MODEL.ROI_MASK_HEAD.POOLER_TYPE:
            pooler, shape = _pooler(cfg.MODEL.ROI_MASK_HEAD, list(shape.values()))
        return {
            "mask_in_features": names,
            "mask_pooler": pooler,
            "mask_head": build_mask_head(cfg, shape),
        }

    def forward(self, images, features, proposals, targets=None):
        if not self.training:
            instances = self._forward_box(features, proposals)
            return self.forward_with_given_boxes(features, instances), {}
        assert targets, "'targets' argument is required during training"
        proposals = self.label_and_sample_proposals(proposals, targets)
        losses = self._forward_box(features, proposals)
        losses.update(self._forward_mask(features, proposals))
        return proposals, losses

    def forward_with_given_boxes(self, features, instances):
        """Add masks to detections.

        Args:
            features: ``{name: [N, C, h, w]}``.
            instances: per image Instances with ``pred_boxes`` and ``pred_classes``.
        """
        assert not self.training, "boxes are given in inference only"
        assert instances[0].has("pred_boxes"), "instances need pred_boxes"
        assert instances[0].has("pred_classes"), "instances need pred_classes"
        return self._forward_mask(features, instances)

    def _forward_box(self, features, proposals):
        """Return losses in training, otherwise per image the detections."""
        features = [features[name] for name in self.box_in_features]
        pooled = self.box_pooler(features, [p.proposal_boxes for p in proposals])
        predictions = self.box_predictor(self.box_head(pooled))
        if not self.training:
            return self.box_predictor.inference(predictions, proposals)[0]
        losses = self.box_predictor.losses(predictions, proposals)
        if self.train_on_pred_boxes:
            with torch.no_grad():
                boxes = self.box_predictor.predict_boxes_for_gt_classes(predictions, proposals)
            for proposed, predicted in zip(proposals, boxes):
                proposed.proposal_boxes = Boxes(predicted)
        return losses

    def _forward_mask(self, features, instances):
        """Return losses in training, otherwise the instances with masks."""
        if not self.mask_on:
            return {} if self.training else instances
        if self.training:
            instances, _ = select_foreground_proposals(instances, self.num_classes)
        if self.mask_pooler is None:
            features = {name: features[name] for name in self.mask_in_features}
        else:
            boxes = [i.proposal_boxes if self.training else i.pred_boxes for i in instances]
            features = self.mask_pooler([features[n] for n in self.mask_in_features], boxes)
        return self.mask_head(features, instances)


def _pooler(options, shapes):
    """Return the pooler that a head's config node describes, and the shape of its output."""
    widths = {shape.channels for shape in shapes}
    assert len(widths) == 1, f"all levels share the head, but their widths are {widths}"
    side = options.POOLER_RESOLUTION
    pooler = ROIPooler(
        side,
        scales=[1.0 / shape.stride for shape in shapes],
        sampling_ratio=options.POOLER_SAMPLING_RATIO,
        pooler_type=options.POOLER_TYPE,
    )
    return pooler, ShapeSpec(channels=widths.pop(), height=side, width=side)
