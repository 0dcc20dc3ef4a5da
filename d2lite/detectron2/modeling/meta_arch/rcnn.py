"""Detectors that propose regions and then look at each."""

from __future__ import annotations

import numpy as np

from detectron2.config import configurable
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.utils.events import get_event_storage

from ..backbone import build_backbone
from ..postprocessing import detector_postprocess
from ..proposal_generator import build_proposal_generator
from ..roi_heads import build_roi_heads
from ._image_model import ImageModel
from .build import META_ARCH_REGISTRY

__all__ = ["GeneralizedRCNN"]


@META_ARCH_REGISTRY.register()
class GeneralizedRCNN(ImageModel):
    """Backbone, proposal generator and RoI heads, such as Faster and Mask R-CNN."""

    @configurable
    def __init__(
        self,
        *,
        backbone,
        proposal_generator,
        roi_heads,
        pixel_mean,
        pixel_std,
        input_format=None,
        vis_period=0,
    ):
        """Set the parts.

        Args:
            backbone: makes features of images.
            proposal_generator: makes proposals of features; None when inputs hold "proposals".
            roi_heads: make detections of proposals.
            pixel_mean: mean per channel.
            pixel_std: deviation per channel.
            input_format: order of the channels, for pictures.
            vis_period: put a picture every so many iterations; 0 never.
        """
        super().__init__(backbone, pixel_mean, pixel_std)
        assert vis_period == 0 or input_format is not None, "pictures need an input_format"
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        self.vis_period, self.input_format = vis_period, input_format

    @classmethod
    def from_config(cls, cfg):
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        return {
            "backbone": backbone,
            "proposal_generator": build_proposal_generator(cfg, shapes),
            "roi_heads": build_roi_heads(cfg, shapes),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "input_format": cfg.INPUT.FORMAT,
            "vis_period": cfg.VIS_PERIOD,
        }

    def forward(self, batched_inputs):
        """Return losses in training, otherwise ``[{"instances": Instances}]``.

        Args:
            batched_inputs: per image a dict with "image" [C, H, W]; in training with "instances";
                in inference optionally with "height" and "width" of the wanted output.
        """
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        targets = None
        if "instances" in batched_inputs[0]:
            targets = [item["instances"].to(self.device) for item in batched_inputs]
        features = self.backbone(images.tensor)
        proposals, losses = self._propose(images, features, batched_inputs, targets)
        _, detector_losses = self.roi_heads(images, features, proposals, targets)
        if self.vis_period > 0 and get_event_storage().iter % self.vis_period == 0:
            self.visualize_training(batched_inputs, proposals)
        return {**detector_losses, **losses}

    def inference(self, batched_inputs, detected_instances=None, do_postprocess=True):
        """Detect objects, or find masks and the like of given ones.

        Args:
            batched_inputs: as in :meth:`forward`.
            detected_instances: per image Instances with ``pred_boxes`` and ``pred_classes``.
            do_postprocess: bring the results to the wanted size; otherwise return the Instances.
        """
        assert not self.training, "inference needs the evaluation mode"
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        if detected_instances is None:
            proposals, _ = self._propose(images, features, batched_inputs, None)
            results, _ = self.roi_heads(images, features, proposals, None)
        else:
            given = [instances.to(self.device) for instances in detected_instances]
            results = self.roi_heads.forward_with_given_boxes(features, given)
        if not do_postprocess:
            return results
        return self._postprocess(results, batched_inputs, images.image_sizes)

    def _propose(self, images, features, batched_inputs, targets):
        if self.proposal_generator is not None:
            return self.proposal_generator(images, features, targets)
        assert "proposals" in batched_inputs[0], "without a generator, inputs need proposals"
        return [item["proposals"].to(self.device) for item in batched_inputs], {}

    @staticmethod
    def _postprocess(instances, batched_inputs, image_sizes):
        outputs = []
        for found, item, size in zip(instances, batched_inputs, image_sizes):
            height, width = item.get("height", size[0]), item.get("width", size[1])
            outputs.append({"instances": detector_postprocess(found, height, width)})
        return outputs

    def visualize_training(self, batched_inputs, proposals):
        """Put a picture of the first image: its true boxes, and beside them the best proposals."""
        from detectron2.utils.visualizer import Visualizer

        item, proposed = batched_inputs[0], proposals[0]
        image = convert_image_to_rgb(item["image"].permute(1, 2, 0), self.input_format)
        boxes = (item["instances"].gt_boxes, proposed.proposal_boxes[:20].tensor.cpu().numpy())
        halves = [Visualizer(image, None).overlay_instances(boxes=b).get_image() for b in boxes]
        get_event_storage().put_image(
            "Left: GT bounding boxes;  Right: Predicted proposals",
            np.concatenate(halves, axis=1).transpose(2, 0, 1),
        )
