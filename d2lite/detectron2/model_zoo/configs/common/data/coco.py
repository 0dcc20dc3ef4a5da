"""COCO instance segmentation: loaders and evaluator."""

from omegaconf import OmegaConf

from detectron2.config import LazyCall
from detectron2.data import (
    DatasetMapper,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.transforms import RandomFlip, ResizeShortestEdge
from detectron2.evaluation import COCOEvaluator

_resize_train = LazyCall(ResizeShortestEdge)(
    short_edge_length=tuple(range(640, 801, 32)), sample_style="choice", max_size=1333
)
_resize_test = LazyCall(ResizeShortestEdge)(short_edge_length=800, max_size=1333)
_train_mapper = LazyCall(DatasetMapper)(
    is_train=True,
    image_format="BGR",
    use_instance_mask=True,
    augmentations=[_resize_train, LazyCall(RandomFlip)(horizontal=True)],
)
_test_mapper = LazyCall(DatasetMapper)(
    is_train=False,
    image_format="${...train.mapper.image_format}",
    augmentations=[_resize_test],
)

dataloader = OmegaConf.create()
dataloader.train = LazyCall(build_detection_train_loader)(
    dataset=LazyCall(get_detection_dataset_dicts)(names="coco_2017_train"),
    mapper=_train_mapper,
    total_batch_size=16,
    num_workers=4,
)
dataloader.test = LazyCall(build_detection_test_loader)(
    dataset=LazyCall(get_detection_dataset_dicts)(names="coco_2017_val", filter_empty=False),
    mapper=_test_mapper,
    num_workers=4,
)
dataloader.evaluator = LazyCall(COCOEvaluator)(dataset_name="${..test.dataset.names}")
