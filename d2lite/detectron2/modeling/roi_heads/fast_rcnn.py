"""Classes and boxes of regions (Girshick, 2015).

Shapes: R regions of all images, K classes, the background being one more; B is K, or 1 when all
classes share their box.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from detectron2._missing import missing
from detectron2.config import configurable
from detectron2.layers import ShapeSpec, batched_nms, cross_entropy
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage

from ..box_regression import Box2BoxTransform, _dense_box_regression_loss

__all__ = ["FastRCNNOutputLayers", "fast_rcnn_inference"]


def fast_rcnn_inference(boxes, scores, image_shapes, score_thresh, nms_thresh, topk_per_image):
    """Turn scored boxes into detections, image by image.

    Args:
        boxes: per image [R, B*4].
        scores: per image probabilities [R, K+1].
        image_shapes: (height, width) per image.
        score_thresh: smallest score, excluded.
        nms_thresh: overlap from which boxes of one class are duplicates.
        topk_per_image: largest number of detections; negative for all.

    Returns:
        Per image Instances with ``pred_boxes``, ``scores`` and ``pred_classes``, best first, and
        per image the regions that they come from.
    """
    results = [
        fast_rcnn_inference_single_image(*image, score_thresh, nms_thresh, topk_per_image)
        for image in zip(boxes, scores, image_shapes)
    ]
    return [result for result, _ in results], [regions for _, regions in results]


def fast_rcnn_inference_single_image(
    boxes, scores, image_shape, score_thresh, nms_thresh, topk_per_image
):
    """Do what :func:`fast_rcnn_inference` does for one image."""
    is_finite = boxes.isfinite().all(dim=1) & scores.isfinite().all(dim=1)
    boxes, scores = boxes[is_finite], scores[is_finite, :-1]
    clipped = Boxes(boxes.reshape(-1, 4))
    clipped.clip(image_shape)
    boxes = clipped.tensor.view(len(boxes), boxes.shape[1] // 4, 4)  # [R, B, 4]

    regions, classes = (scores > score_thresh).nonzero(as_tuple=True)
    scores = scores[regions, classes]
    boxes = boxes[regions, classes if boxes.shape[1] > 1 else 0]
    keep = batched_nms(boxes, scores, classes, nms_thresh)
    if topk_per_image >= 0:
        keep = keep[:topk_per_image]
    result = Instances(image_shape)
    result.pred_boxes = Boxes(boxes[keep])
    result.scores = scores[keep]
    result.pred_classes = classes[keep]
    return result, regions[keep]


class FastRCNNOutputLayers(nn.Module):
    """One linear layer for the classes and one for the boxes."""

    @configurable
    def __init__(
        self,
        input_shape,
        *,
        box2box_transform,
        num_classes,
        test_score_thresh=0.0,
        test_nms_thresh=0.5,
        test_topk_per_image=100,
        cls_agnostic_bbox_reg=False,
        smooth_l1_beta=0.0,
        box_reg_loss_type="smooth_l1",
        loss_weight=1.0,
        use_fed_loss=False,
        use_sigmoid_ce=False,
        get_fed_loss_cls_weights=None,
        fed_loss_num_classes=50,
    ):
        """Build the layers.

        Args:
            input_shape: ShapeSpec of the features, or their number.
            box2box_transform: between proposals and boxes.
            num_classes: K.
            test_score_thresh: see :func:`fast_rcnn_inference`.
            test_nms_thresh: likewise.
            test_topk_per_image: likewise.
            cls_agnostic_bbox_reg: all classes share their box.
            smooth_l1_beta: where "smooth_l1" turns from quadratic to linear.
            box_reg_loss_type: "smooth_l1", "giou", "diou" or "ciou".
            loss_weight: factor on both losses, or ``{name of a loss: factor}``.
            use_fed_loss: federated loss; the real package has it.
            use_sigmoid_ce: every class is decided by itself.
            get_fed_loss_cls_weights: for the federated loss.
            fed_loss_num_classes: likewise.
        """
        super().__init__()
        if use_fed_loss:
            raise missing("FastRCNNOutputLayers(use_fed_loss=True)")
        if isinstance(input_shape, int):
            input_shape = ShapeSpec(channels=input_shape)
        size = input_shape.channels * (input_shape.width or 1) * (input_shape.height or 1)
        num_boxes = 1 if cls_agnostic_bbox_reg else num_classes
        self.num_classes = num_classes
        self.cls_score = nn.Linear(size, num_classes + 1)
        self.bbox_pred = nn.Linear(size, num_boxes * len(box2box_transform.weights))
        for layer, deviation in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)
        self.box2box_transform = box2box_transform
        self.test_score_thresh, self.test_nms_thresh = test_score_thresh, test_nms_thresh
        self.test_topk_per_image = test_topk_per_image
        self.box_reg_loss_type, self.smooth_l1_beta = box_reg_loss_type, smooth_l1_beta
        if isinstance(loss_weight, float):
            loss_weight = dict.fromkeys(("loss_cls", "loss_box_reg"), loss_weight)
        self.loss_weight = loss_weight
        self.use_sigmoid_ce = use_sigmoid_ce

    @classmethod
    def from_config(cls, cfg, input_shape):
        head, options = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_HEADS
        return {
            "input_shape": input_shape,
            "box2box_transform": Box2BoxTransform(weights=head.BBOX_REG_WEIGHTS),
            "num_classes": options.NUM_CLASSES,
            "test_score_thresh": options.SCORE_THRESH_TEST,
            "test_nms_thresh": options.NMS_THRESH_TEST,
            "test_topk_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
            "cls_agnostic_bbox_reg": head.CLS_AGNOSTIC_BBOX_REG,
            "smooth_l1_beta": head.SMOOTH_L1_BETA,
            "box_reg_loss_type": head.BBOX_REG_LOSS_TYPE,
            "loss_weight": {"loss_box_reg": head.BBOX_REG_LOSS_WEIGHT},
            "use_fed_loss": head.USE_FED_LOSS,
            "use_sigmoid_ce": head.USE_SIGMOID_CE,
            "fed_loss_num_classes": head.FED_LOSS_NUM_CLASSES,
        }

    def forward(self, x):
        """Return class logits [R, K+1] and box deltas [R, B*4] of features [R, ...]."""
        x = x.flatten(1)
        return self.cls_score(x), self.bbox_pred(x)

    def losses(self, predictions, proposals):
        """Return ``loss_cls`` and ``loss_box_reg``.

        Args:
            predictions: what :meth:`forward` returned.
            proposals: per image Instances with ``proposal_boxes``, ``gt_classes`` and, where
                there are objects, ``gt_boxes``.
        """
        logits, deltas = predictions
        if proposals:
            classes = torch.cat([p.gt_classes for p in proposals])
            boxes = torch.cat([p.proposal_boxes.tensor for p in proposals])
            # Without objects all is background, whose boxes do not count.
            true = [p.gt_boxes if p.has("gt_boxes") else p.proposal_boxes for p in proposals]
            true = torch.cat([b.tensor for b in true])
        else:
            classes, boxes = logits.new_zeros(0), deltas.new_zeros(0, 4)
            true = boxes
        assert not boxes.requires_grad, "Proposals should not require gradients!"
        _log_classification_stats(logits, classes)
        class_loss = self.sigmoid_cross_entropy_loss if self.use_sigmoid_ce else cross_entropy
        losses = {
            "loss_cls": class_loss(logits, classes),
            "loss_box_reg": self.box_reg_loss(boxes, true, deltas, classes),
        }
        return {k: v * self.loss_weight.get(k, 1.0) for k, v in losses.items()}

    def sigmoid_cross_entropy_loss(self, pred_class_logits, gt_classes):
        """Return the binary cross entropy, summed over classes and averaged over regions."""
        if pred_class_logits.numel() == 0:
            return pred_class_logits.new_zeros([])
        targets = F.one_hot(gt_classes, pred_class_logits.shape[1])[:, :-1].float()
        loss = F.binary_cross_entropy_with_logits(
            pred_class_logits[:, :-1], targets, reduction="sum"
        )
        return loss / len(gt_classes)

    def box_reg_loss(self, proposal_boxes, gt_boxes, pred_deltas, gt_classes):
        """Return the box loss of the objects, divided by the number of all regions.

        Args:
            proposal_boxes: [R, 4].
            gt_boxes: [R, 4].
            pred_deltas: [R, B*4].
            gt_classes: [R].
        """
        is_object = (gt_classes >= 0) & (gt_classes < self.num_classes)
        (objects,) = is_object.nonzero(as_tuple=True)
        num_boxes = pred_deltas.shape[1] // proposal_boxes.shape[1]
        deltas = pred_deltas.unflatten(1, (num_boxes, -1))[objects]  # [objects, B, 4]
        own = gt_classes[objects].long() if deltas.shape[1] > 1 else 0
        deltas = deltas[torch.arange(len(objects), device=objects.device), own]
        loss = _dense_box_regression_loss(
            [proposal_boxes[objects]],
            self.box2box_transform,
            [deltas[None]],
            [gt_boxes[objects]],
            ...,
            self.box_reg_loss_type,
            self.smooth_l1_beta,
        )
        # Every object counts the same, however many there are in an image.
        return loss / max(len(gt_classes), 1)

    def inference(self, predictions, proposals):
        """Return what :func:`fast_rcnn_inference` does for the predictions."""
        return fast_rcnn_inference(
            self.predict_boxes(predictions, proposals),
            self.predict_probs(predictions, proposals),
            [p.image_size for p in proposals],
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )

    def predict_boxes(self, predictions, proposals):
        """Return per image boxes [R, B*4]."""
        if not proposals:
            return []
        boxes = torch.cat([p.proposal_boxes.tensor for p in proposals])
        boxes = self.box2box_transform.apply_deltas(predictions[1], boxes)
        return boxes.split([len(p) for p in proposals])

    def predict_boxes_for_gt_classes(self, predictions, proposals):
        """Return per image the boxes [R, 4] of the true classes."""
        boxes = []
        for predicted, proposed in zip(self.predict_boxes(predictions, proposals), proposals):
            predicted = predicted.view(len(proposed), predicted.shape[1] // 4, 4)
            # Background has no box of its own; any will do.
            own = proposed.gt_classes.clamp(0, predicted.shape[1] - 1)
            boxes.append(predicted[torch.arange(len(proposed), device=own.device), own])
        return boxes

    def predict_probs(self, predictions, proposals):
        """Return per image probabilities [R, K+1]."""
        logits, _ = predictions
        probs = logits.sigmoid() if self.use_sigmoid_ce else F.softmax(logits, dim=-1)
        return probs.split([len(p) for p in proposals])


def _log_classification_stats(pred_logits, gt_classes, prefix="fast_rcnn"):
    """Put the part of right regions, of right and of missed objects into the event storage."""
    if gt_classes.numel() == 0:
        return
    background = pred_logits.shape[1] - 1
    predicted = pred_logits.argmax(dim=1)
    is_right = (predicted == gt_classes).float()
    is_object = (gt_classes >= 0) & (gt_classes < background)
    storage = get_event_storage()
    storage.put_scalar(f"{prefix}/cls_accuracy", is_right.mean())
    if is_object.any():
        missed = (predicted[is_object] == background).float()
        storage.put_scalar(f"{prefix}/fg_cls_accuracy", is_right[is_object].mean())
        storage.put_scalar(f"{prefix}/false_negative", missed.mean())
