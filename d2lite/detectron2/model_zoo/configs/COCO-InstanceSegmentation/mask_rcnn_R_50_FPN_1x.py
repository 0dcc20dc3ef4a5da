"""Mask R-CNN, R50-FPN, 1x schedule. The detector itself exists only in the real package."""

from detectron2.config import LazyCall
from detectron2.modeling import GeneralizedRCNN

from ..common.coco_schedule import lr_multiplier_1x as lr_multiplier  # noqa: F401
from ..common.data.coco import dataloader  # noqa: F401
from ..common.optim import SGD as optimizer  # noqa: F401, N811
from ..common.train import train

model = LazyCall(GeneralizedRCNN)()
train.init_checkpoint = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
