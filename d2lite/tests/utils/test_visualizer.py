"""What ends up on the picture, by its pixels and by matplotlib's artists."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from matplotlib.patches import Rectangle
from PIL import Image

from detectron2.data import MetadataCatalog
from detectron2.structures import (
    BitMasks,
    Boxes,
    BoxMode,
    Instances,
    Keypoints,
    PolygonMasks,
)
from detectron2.utils.visualizer import (
    ColorMode,
    Visualizer,
    _PanopticPrediction,
)

H, W = 60, 90
_names = itertools.count()


@pytest.fixture
def metadata():
    name = f"d2lite_vis_{os.getpid()}_{next(_names)}"
    yield MetadataCatalog.get(name).set(
        thing_classes=["cat", "dog"],
        thing_colors=[(255, 0, 0), (0, 255, 0)],
        stuff_classes=["sky", "grass", "sea"],
        stuff_colors=[(0, 0, 255), (0, 128, 0), (0, 128, 128)],
        label_divisor=1000,
        thing_dataset_id_to_contiguous_id={10: 0, 20: 1},
    )
    MetadataCatalog.remove(name)


def grey():
    return np.full((H, W, 3), 100, dtype=np.uint8)


def block(y0, x0, y1, x1):
    mask = np.zeros((H, W), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def texts(visualizer):
    return [t.get_text() for t in visualizer.output.ax.texts]


def patches(visualizer, kind):
    return [p for p in visualizer.output.ax.patches if type(p) is kind]


def mixed(color, alpha):
    """What a colour in 0..1 makes of the grey picture."""
    return [alpha * 255 * c + (1 - alpha) * 100 for c in color]


class TestPanopticPrediction:
    def test_segments_by_kind_largest_first(self):
        ids = torch.zeros(H, W, dtype=torch.int64)
        ids[:, 30:] = 5
        ids[20:30, 30:40] = 7
        ids[40:, 50:80] = 8
        infos = [
            {"id": 5, "category_id": 1, "isthing": False},
            {"id": 7, "category_id": 0, "isthing": True},
            {"id": 8, "category_id": 1, "isthing": True},
        ]
        prediction = _PanopticPrediction(ids, infos)
        assert [info["id"] for _, info in prediction.instance_masks()] == [8, 7]
        ((mask, info),) = prediction.semantic_masks()
        assert (mask == (ids == 5).numpy()).all()
        assert info["area"] == mask.sum()
        assert (prediction.non_empty_mask() == (ids != 0).numpy()).all()

    def test_segments_from_ids(self, metadata):
        ids = torch.full((H, W), -1, dtype=torch.int64)
        ids[:10] = 1 * 1000 + 3
        ids[10:15] = 2 * 1000
        prediction = _PanopticPrediction(ids, None, metadata)
        ((_, thing),) = prediction.instance_masks()
        ((_, stuff),) = prediction.semantic_masks()
        assert (thing["category_id"], thing["id"]) == (1, 1003)
        assert (stuff["category_id"], stuff["id"]) == (2, 2000)


class TestOverlay:
    def test_mask_formats_draw_the_same(self):
        masks = np.stack([block(5, 5, 30, 40), block(20, 50, 55, 80)])
        rles = [mask_util.encode(np.asfortranarray(m, dtype=np.uint8)) for m in masks]
        pictures = [
            Visualizer(grey())
            .overlay_instances(masks=given, assigned_colors=["r", "b"], labels=["a", "b"])
            .get_image()
            for given in (list(masks), BitMasks(torch.as_tensor(masks)), rles)
        ]
        assert (pictures[0] == pictures[1]).all()
        assert (pictures[0] == pictures[2]).all()
        assert pictures[0][10, 10] == pytest.approx(mixed((1, 0, 0), 0.5), abs=2)

    def test_polygons_may_be_wrapped(self):
        polygons = [[np.array([5, 5, 40, 5, 40, 30.0])], [np.array([50, 20, 80, 20, 80, 50.0])]]
        pictures = [
            Visualizer(grey()).overlay_instances(masks=m, assigned_colors=["r", "b"]).get_image()
            for m in (polygons, PolygonMasks(polygons))
        ]
        assert (pictures[0] == pictures[1]).all()
        assert pictures[0][10, 35] == pytest.approx(mixed((1, 0, 0), 0.5), abs=2)

    def test_largest_is_drawn_first(self):
        boxes = np.array([[0, 0, 10, 10], [0, 0, 80, 50], [0, 0, 30, 30]])
        v = Visualizer(grey())
        v.overlay_instances(boxes=boxes, labels=["small", "large", "middle"])
        assert texts(v) == ["large", "middle", "small"]
        assert [p.get_width() for p in patches(v, Rectangle)] == [80, 30, 10]

    def test_labels_without_boxes_sit_in_the_mask(self):
        v = Visualizer(grey())
        v.overlay_instances(masks=[block(5, 5, 55, 75)], labels=["big"])
        assert v.output.ax.texts[0].get_position() == pytest.approx((39.5, 29.5), abs=1)

    def test_small_objects_have_their_label_below(self):
        v = Visualizer(grey())
        v.overlay_instances(boxes=np.array([[10, 10, 20, 20], [40, 50, 50, 58]]), labels=["a", "b"])
        positions = {t.get_text(): t.get_position() for t in v.output.ax.texts}
        assert positions == {"a": (10, 20), "b": (50, 50)}  # b is at the border: right of it

    def test_counts_must_agree(self):
        v = Visualizer(grey())
        with pytest.raises(AssertionError):
            v.overlay_instances(boxes=np.zeros((2, 4)), labels=["one"])
        with pytest.raises(AssertionError):
            v.overlay_instances(boxes=np.zeros((2, 4)), masks=[block(0, 0, 5, 5)])
        assert v.overlay_instances() is v.output

    def test_keypoints_are_connected(self, metadata):
        names = ["nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip", "tail"]
        metadata.set(
            keypoint_names=names, keypoint_connection_rules=[("nose", "tail", (0, 0, 255))]
        )
        points = torch.tensor([[10.0, 10], [5, 20], [15, 20], [5, 40], [15, 40], [30, 30]])
        points = torch.cat([points, torch.ones(6, 1)], dim=1)
        v = Visualizer(grey(), metadata)
        v.overlay_instances(keypoints=Keypoints(points[None]))
        lines = [set(map(tuple, line.get_xydata().tolist())) for line in v.output.ax.lines]
        assert {(10, 10), (30, 30)} in lines
        assert {(10, 10), (10, 20)} in lines  # neck
        assert {(10, 40), (10, 20)} in lines  # spine
        assert len(lines) == 3
        assert len(v.output.ax.patches) == 6

        points[0, 2] = 0.01  # an invisible nose
        v = Visualizer(grey(), metadata)
        v.draw_and_connect_keypoints(points)
        assert len(v.output.ax.lines) == 1
        assert len(v.output.ax.patches) == 5


class TestPredictions:
    def instances(self, with_masks=True):
        instances = Instances((H, W))
        instances.pred_boxes = Boxes(torch.tensor([[5.0, 5, 40, 50], [50, 5, 85, 55]]))
        instances.pred_classes = torch.tensor([1, 0])
        instances.scores = torch.tensor([0.75, 0.5])
        if with_masks:
            masks = np.stack([block(5, 5, 50, 40), block(5, 50, 55, 85)])
            instances.pred_masks = torch.as_tensor(masks)
        return instances

    def test_labels(self, metadata):
        v = Visualizer(grey(), metadata)
        v.draw_instance_predictions(self.instances())
        assert sorted(texts(v)) == ["cat 50%", "dog 75%"]
        v = Visualizer(grey())
        v.draw_instance_predictions(self.instances())
        assert sorted(texts(v)) == ["0 50%", "1 75%"]

    def test_class_colors_without_jitter(self, metadata):
        v = Visualizer(grey(), metadata, instance_mode=ColorMode.SEGMENTATION)
        image = v.draw_instance_predictions(self.instances(), jittering=False).get_image()
        assert image[40, 30] == pytest.approx(mixed((0, 1, 0), 0.8), abs=2)
        assert image[40, 70] == pytest.approx(mixed((1, 0, 0), 0.8), abs=2)

    def test_jittered_colors_keep_the_class_channel(self, metadata):
        v = Visualizer(grey(), metadata, instance_mode=ColorMode.SEGMENTATION)
        image = v.draw_instance_predictions(self.instances()).get_image()
        assert image[40, 30, 1] == pytest.approx(0.8 * 255 + 20, abs=2)
        assert image[40, 70, 0] == pytest.approx(0.8 * 255 + 20, abs=2)

    def test_black_and_white_keeps_colour_inside_the_masks(self):
        colorful = np.zeros((H, W, 3), np.uint8) + np.array([200, 50, 20], np.uint8)
        v = Visualizer(colorful, instance_mode=ColorMode.IMAGE_BW)
        image = v.draw_instance_predictions(self.instances()).get_image()
        assert (image[58, 45] == 90).all()
        v = Visualizer(colorful, instance_mode=ColorMode.IMAGE_BW)
        image = v.draw_instance_predictions(self.instances(with_masks=False)[:0]).get_image()
        assert (image == 90).all()

    def test_empty_masks_are_no_problem(self):
        instances = self.instances()
        instances.pred_masks = torch.zeros_like(instances.pred_masks)
        Visualizer(grey()).draw_instance_predictions(instances).get_image()

    def test_sem_seg(self, metadata):
        labels = np.full((H, W), 255)
        labels[:30] = 0
        labels[30:50] = 2
        v = Visualizer(grey(), metadata)
        image = v.draw_sem_seg(torch.as_tensor(labels), alpha=0.5).get_image()
        assert texts(v) == ["sky", "sea"]
        assert image[5, 5] == pytest.approx(mixed((0, 0, 1), 0.5), abs=2)
        assert image[45, 10] == pytest.approx(mixed((0, 128 / 255, 128 / 255), 0.5), abs=2)
        assert (image[56:, 5:-5] == 100).all()
        v = Visualizer(grey(), metadata)
        v.draw_sem_seg(labels, draw_text=False)
        assert texts(v) == []

    def test_panoptic_seg(self, metadata):
        ids = torch.zeros(H, W, dtype=torch.int32)
        ids[:, 10:] = 1
        ids[10:50, 30:80] = 2
        infos = [
            {"id": 1, "category_id": 1, "isthing": False},
            {"id": 2, "category_id": 0, "isthing": True, "score": 0.9},
        ]
        v = Visualizer(grey(), metadata)
        image = v.draw_panoptic_seg(ids, infos, alpha=0.5).get_image()
        assert texts(v) == ["grass", "cat 90%"]
        assert (image[30, 3] == 100).all()
        assert image[55, 85] == pytest.approx(mixed((0, 128 / 255, 0), 0.5), abs=2)
        assert Visualizer.draw_panoptic_seg_predictions is Visualizer.draw_panoptic_seg

    def test_panoptic_seg_without_scores_or_colors(self):
        name = f"d2lite_vis_{os.getpid()}_{next(_names)}"
        plain = MetadataCatalog.get(name).set(thing_classes=["cat"], stuff_classes=["sky"])
        ids = torch.ones(H, W, dtype=torch.int64)
        ids[10:50, 30:80] = 2
        infos = [
            {"id": 1, "category_id": 0, "isthing": False},
            {"id": 2, "category_id": 0, "isthing": True, "iscrowd": 1},
        ]
        v = Visualizer(grey(), plain)
        v.draw_panoptic_seg(ids, infos)
        assert texts(v) == ["sky", "cat|crowd"]
        MetadataCatalog.remove(name)


class TestDatasetDict:
    def test_annotations_and_files(self, metadata, tmp_path):
        labels = np.ones((H, W), np.uint8)
        Image.fromarray(labels).save(tmp_path / "sem.png")
        ids = np.zeros((H, W, 3), np.uint8)
        ids[..., 1] = 2  # id 512
        Image.fromarray(ids).save(tmp_path / "pan.png")
        record = {
            "annotations": [
                {
                    "bbox": [10, 10, 30, 40],
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "category_id": 1,
                    "iscrowd": 1,
                    "segmentation": [[10, 10, 40, 10, 40, 50.0]],
                }
            ],
            "sem_seg_file_name": str(tmp_path / "sem.png"),
            "pan_seg_file_name": str(tmp_path / "pan.png"),
            "segments_info": [{"id": 512, "category_id": 2, "isthing": False}],
        }
        pytest.importorskip("panopticapi", reason="upstream reads panoptic files with it")
        v = Visualizer(grey(), metadata)
        v.draw_dataset_dict(record)
        assert texts(v) == ["dog|crowd", "grass", "sea"]
        (box,) = patches(v, Rectangle)
        assert box.get_bbox().extents == pytest.approx([10, 10, 40, 50])

    def test_real_panoptic_sample(self):
        repository = Path(__file__).resolve().parents[3]
        shared = Path(os.environ.get("FREESEG_SHARED", repository / "../shared"))
        folder = shared / "data/coco_panoptic_sample"
        if not folder.is_dir():
            pytest.skip(f"sample data not found at {folder}")
        content = json.loads((folder / "panoptic_examples.json").read_text())
        ids = [c["id"] for c in content["categories"]]
        is_thing = {c["id"]: bool(c["isthing"]) for c in content["categories"]}
        names = [c["name"] for c in content["categories"]]
        name = f"d2lite_vis_{os.getpid()}_{next(_names)}"
        metadata = MetadataCatalog.get(name).set(thing_classes=names, stuff_classes=names)
        annotation = content["annotations"][0]
        rgb = np.asarray(Image.open(folder / "panoptic_examples" / annotation["file_name"]))
        panoptic = torch.as_tensor(rgb.astype(np.int64) @ [1, 256, 65536])
        infos = [
            {
                "id": s["id"],
                "category_id": ids.index(s["category_id"]),
                "isthing": is_thing[s["category_id"]],
            }
            for s in annotation["segments_info"]
        ]
        photo = folder / "input_images" / annotation["file_name"].replace("png", "jpg")
        v = Visualizer(Image.open(photo).convert("RGB"), metadata)
        v.draw_panoptic_seg(panoptic, infos)
        drawn = set(texts(v))
        assert drawn == {names[info["category_id"]] for info in infos}
        MetadataCatalog.remove(name)
