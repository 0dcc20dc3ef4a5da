"""Annotation as Detectron2's own mapper gives it: every form of the same masks trains alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle_codec

from detectron2.config import get_cfg
from detectron2.data import DatasetMapper
from detectron2.engine import DefaultTrainer
from detectron2.structures import BitMasks, BoxMode, Instances, PolygonMasks
from freeseg import add_freeseg_config, build_model
from freeseg.data import SegmentationMapper
from freeseg.names import with_own_names
from freeseg.structures import SegmentationTarget, read_sample

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SYSTEMS = {
    "Mask2Former": "shapes/mask2former_tiny.yaml",
    "OneFormer": "oneformer/shapes/oneformer_small.yaml",
    "FreeSeg": "freeseg/shapes/toy.yaml",
    "LSeg": "lseg/shapes/small.yaml",
}
# Of each picture its size, and the class and the box (left, top, right, bottom) of its rectangles
PICTURES = [
    ((48, 64), [(0, (4, 8, 20, 40)), (2, (30, 10, 60, 30))]),
    ((40, 56), [(1, (0, 0, 56, 7))]),
    ((48, 48), []),
]
VOID = 255


def configuration(system, **changes):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / SYSTEMS[system]))
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.MASK_ON = True
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (0,), "none"
    cfg.merge_from_list(
        [x for key, value in changes.items() for x in (key.replace("__", "."), value)]
    )
    return cfg


def drawn(size, box):
    left, top, right, bottom = box
    mask = np.zeros(size, dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def polygon(size, box):
    left, top, right, bottom = box
    return [[left, top, right, top, right, bottom, left, bottom]]


def runs(size, box):
    return rle_codec.encode(np.asfortranarray(drawn(size, box)))


def listed_runs(size, box):
    """COCO's uncompressed runs: lengths of background and mask in turns, column by column."""
    flat = drawn(size, box).flatten(order="F")
    ends = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1]))
    return {"size": list(size), "counts": np.diff(ends, prepend=0).tolist()}


@pytest.fixture
def records(tmp_path):
    """Makes records whose segmentations are drawn by a function, or label maps."""

    def make(segmentation=None):
        result = []
        for number, (size, rectangles) in enumerate(PICTURES):
            noise = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
            labels = np.full(size, VOID, dtype=np.uint8)
            for label, box in rectangles:
                labels[drawn(size, box) > 0] = label
            record = {"file_name": str(tmp_path / f"{number}.png"), "image_id": number}
            record.update(height=size[0], width=size[1], task="semantic")
            Image.fromarray(noise).save(record["file_name"])
            if segmentation is None:
                record["sem_seg_file_name"] = str(tmp_path / f"{number}_labels.png")
                Image.fromarray(labels).save(record["sem_seg_file_name"])
            else:
                record["annotations"] = [
                    {
                        "category_id": label,
                        "bbox": list(box),
                        "bbox_mode": BoxMode.XYXY_ABS,
                        "segmentation": segmentation(size, box),
                    }
                    for label, box in rectangles
                ]
            result.append(record)
        return result

    return make


@pytest.fixture(params=SYSTEMS)
def system(request):
    return request.param


def losses_of(system, inputs):
    torch.manual_seed(0)
    model = build_model(configuration(system)).train()
    torch.manual_seed(1)
    losses = model(inputs)
    sum(losses.values()).backward()
    return {name: loss.item() for name, loss in losses.items()}


def with_masks(inputs, convert):
    """The inputs with what `convert` makes of size and boxes as the masks of their instances."""
    for x, (size, rectangles) in zip(inputs, PICTURES):
        x["instances"].gt_masks = convert(size, [box for _, box in rectangles])
    return inputs


def bools(size, boxes):
    masks = [torch.from_numpy(drawn(size, box)).bool() for box in boxes]
    return torch.stack(masks) if masks else torch.zeros(0, *size, dtype=torch.bool)


HELD_FORMS = {
    "bool": bools,
    "uint8": lambda size, boxes: bools(size, boxes).byte(),
    "runs": lambda size, boxes: [runs(size, box) for box in boxes],
    "listed runs": lambda size, boxes: [listed_runs(size, box) for box in boxes],
    "polygons": lambda size, boxes: PolygonMasks([polygon(size, box) for box in boxes]),
}


def test_forms_of_masks_train_alike(system, records):
    polygons = DatasetMapper(configuration(system), is_train=True)
    bits = DatasetMapper(configuration(system, INPUT__MASK_FORMAT="bitmask"), is_train=True)
    ours = SegmentationMapper(is_train=True, augmentations=[], image_format="RGB", task="instance")
    inputs = {
        "PolygonMasks": list(map(polygons, records(polygon))),
        "BitMasks of polygons": list(map(bits, records(polygon))),
        "BitMasks of runs": list(map(bits, records(runs))),
        "freeseg": [{**ours(record), "task": "semantic"} for record in records(polygon)],
    }
    assert isinstance(inputs["PolygonMasks"][0]["instances"].gt_masks, PolygonMasks)
    assert not inputs["PolygonMasks"][2]["instances"].has("gt_masks")
    for name, convert in HELD_FORMS.items():
        inputs[name] = with_masks(list(map(polygons, records(polygon))), convert)
    expected = losses_of(
        system,
        with_masks(
            list(map(polygons, records(polygon))),
            lambda size, boxes: BitMasks(bools(size, boxes)),
        ),
    )
    assert np.isfinite(list(expected.values())).all()
    assert {name: losses_of(system, one) for name, one in inputs.items()} == dict.fromkeys(
        inputs, expected
    )


def test_label_maps_train_as_their_masks(system, records):
    mapper = DatasetMapper(configuration(system), is_train=True)
    maps, masks = list(map(mapper, records())), list(map(mapper, records(polygon)))
    assert all("instances" not in x for x in maps)
    assert losses_of(system, maps) == losses_of(system, masks)
    model = build_model(configuration(system))
    if system != "LSeg":
        assert model.target_counts(maps) == model.target_counts(masks) == [2, 1, 0]


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
def test_detectron2s_trainer_trains_with_its_own_mapper(records, loader, tmp_path, mask_format):
    cfg = configuration("Mask2Former", INPUT__MASK_FORMAT=mask_format)
    cfg.DATASETS.TRAIN = (loader(records(polygon), thing_classes=["a", "b", "c"]),)
    cfg.DATASETS.TEST = ()
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH = 2, 2
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupMultiStepLR"  # its own optimizer and schedule know fewer
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "norm"
    cfg.OUTPUT_DIR = str(tmp_path)
    trainer = DefaultTrainer(with_own_names(cfg))
    trainer.train()
    assert np.isfinite(trainer.storage.latest()["total_loss"][0])


def test_boxes_alone_are_refused_by_the_setting(system, records):
    mapper = DatasetMapper(configuration(system, MODEL__MASK_ON=False), is_train=True)
    with pytest.raises(ValueError, match=r"no gt_masks, only gt_boxes, gt_classes: .*MASK_ON"):
        losses_of(system, list(map(mapper, records(polygon))))


def test_inputs_without_annotation_are_refused(system, records):
    mapper = DatasetMapper(configuration(system), is_train=False)
    with pytest.raises(ValueError, match="instances or sem_seg, got file_name, height, image"):
        losses_of(system, list(map(mapper, records(polygon))))


def test_other_kinds_of_masks_are_refused(system, records):
    mapper = DatasetMapper(configuration(system), is_train=True)
    inputs = with_masks(list(map(mapper, records(polygon))), lambda size, boxes: ["?"] * len(boxes))
    with pytest.raises(TypeError, match=r"must be PolygonMasks, BitMasks, a tensor .* got list"):
        losses_of(system, inputs)


def test_masks_of_another_size_are_refused(system, records):
    mapper = DatasetMapper(configuration(system), is_train=True)
    inputs = with_masks(
        list(map(mapper, records(polygon))), lambda size, boxes: bools((480, 640), boxes)
    )
    with pytest.raises(ValueError, match=r"masks of 480x640 .* larger than the padded image"):
        losses_of(system, inputs)


def test_oneformer_asks_what_instances_are(records):
    mapper = DatasetMapper(configuration("OneFormer"), is_train=True)
    inputs = list(map(mapper, records(polygon)))
    del inputs[0]["task"]
    with pytest.raises(ValueError, match="whose task says what their instances are"):
        losses_of("OneFormer", inputs)


def test_the_void_of_label_maps_is_a_setting(records):
    cfg = configuration("Mask2Former", MODEL__SEM_SEG_HEAD__IGNORE_VALUE=2)
    model = build_model(cfg)
    maps = list(map(DatasetMapper(cfg, is_train=True), records()))
    assert read_sample(maps[0], model.ignore_label).labels().tolist() == [0, VOID]


def test_masks_smaller_than_the_padded_image_stay_in_its_corner():
    instances = Instances((3, 4), gt_classes=torch.tensor([1]))
    instances.gt_masks = PolygonMasks([[[1, 0, 3, 0, 3, 2, 1, 2]]])
    target = SegmentationTarget.from_instances(instances, (5, 6))
    assert target.masks.nonzero().tolist() == [[0, 0, 1], [0, 0, 2], [0, 1, 1], [0, 1, 2]]
