"""Mask R-CNN, ResNet-50 feature pyramid, 1x schedule."""

from ..common.coco_schedule import lr_multiplier_1x as lr_multiplier  # noqa: F401
from ..common.data.coco import dataloader  # noqa: F401
from ..common.models.mask_rcnn_fpn import model
from ..common.optim import SGD as optimizer  # noqa: F401, N811
from ..common.train import train

model.backbone.bottom_up.freeze_at = 2
train.init_checkpoint = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
