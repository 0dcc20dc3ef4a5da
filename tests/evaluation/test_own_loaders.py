"""Records of an own loader are judged as they are trained on, whatever they leave out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode
from freeseg.data import SegmentationMapper, register_custom
from freeseg.data.records import dataset_records
from freeseg.evaluation import build_evaluators
from freeseg.evaluation.builder import judges
from freeseg.evaluation.instance_truth import coco_content
from freeseg.evaluation.truth import Truth

sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_boxes import PARTS, STUFF, answers, draw_scenes, instance_json, label_map, write_ids
from turned_images import exif_of

CLASSES = ("bench", *PARTS)


def objects(folder, scenes, mode=None):
    """Records as Detectron2 documents them, with no more than training needs."""
    records = []
    for scene in scenes:
        rows = []
        for kind, x, y, w, h in scene.boxes:
            row = {
                "category_id": CLASSES.index(kind),
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
            }
            if mode is not None:
                side = (x + w, y + h) if mode == BoxMode.XYXY_ABS else (w, h)
                row |= {"bbox": [x, y, *side], "bbox_mode": mode}
            rows.append(row)
        records.append({"file_name": str(folder / scene.file_name), "annotations": rows})
    return records


def judge(cfg, name, classes=CLASSES):
    cfg.DATASETS.TRAIN = (name,)
    evaluators = build_evaluators(cfg, name)
    results = {}
    for evaluator in evaluators:
        evaluator.reset()
        for record in dataset_records(name):
            inputs = [{key: record[key] for key in ("file_name", "image_id")}]
            evaluator.process(inputs, [answers(record["file_name"], classes)])
        results.update(evaluator.evaluate())
    return results


@pytest.mark.parametrize("mode", [None, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS], ids=str)
@pytest.mark.parametrize("with_ids", [True, False])
def test_objects_need_no_ids_sizes_areas_or_types(cfg, loader, tmp_path, mode, with_ids):
    records = objects(tmp_path, draw_scenes(tmp_path), mode)
    if with_ids:
        for number, record in enumerate(records):
            record.update(image_id=np.int64(number), height=np.int32(50), width=np.uint16(70))
            for row in record["annotations"]:
                row.update(category_id=np.int64(row["category_id"]), iscrowd=np.uint8(0))
    name = loader(records, thing_classes=list(CLASSES))
    cfg.MODEL.MASK_FORMER.TEST.PANOPTIC_ON = False
    cfg.MODEL.SEM_SEG_HEAD.NAME = "OneFormerHead"
    cfg.MODEL.TEST.INSTANCE_ON = cfg.MODEL.TEST.DETECTION_ON = True
    results = judge(cfg, name)
    assert results["segm"]["AP"] == pytest.approx(100)
    assert results["bbox"]["AP"] == pytest.approx(100)
    assert results["segm"]["AP-nut"] == pytest.approx(100)


def test_a_size_that_is_missing_is_that_of_the_upright_photo(loader, tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif_of(6))
    record = {"file_name": str(tmp_path / "turned.jpg"), "annotations": []}
    (found,) = dataset_records(loader([record], thing_classes=["nut"]))
    assert found == {**record, "image_id": 1, "height": 30, "width": 20}
    assert "height" not in record, "the loader's own dict stays as it is"


def test_masks_are_learned_without_a_box_or_a_flag(loader, tmp_path):
    scenes = draw_scenes(tmp_path)
    records = dataset_records(loader(objects(tmp_path, scenes), thing_classes=list(CLASSES)))
    mapper = SegmentationMapper(augmentations=[], image_format="RGB", task="instance")
    for record, scene in zip(records, scenes):
        targets = mapper(record)["instances"]
        assert targets.gt_classes.tolist() == [CLASSES.index(box[0]) for box in scene.boxes]
        truth = torch.from_numpy(scene.ids())
        assert targets.gt_masks.tensor.sum(0).equal((truth > 0).long())


def test_panoptic_records_need_no_areas_ids_or_types(cfg, loader, tmp_path):
    scenes = draw_scenes(tmp_path, background="bench")
    records = []
    for scene in scenes:
        png = tmp_path / "maps" / scene.file_name
        write_ids(png, scene.ids() * 257)
        segments = [
            {"id": 257 * n, "category_id": CLASSES.index(kind), "isthing": kind not in STUFF}
            for n, kind in enumerate(scene.kinds(), 1)
        ]
        records.append(
            {
                "file_name": str(tmp_path / scene.file_name),
                "pan_seg_file_name": str(png),
                "segments_info": segments,
            }
        )
    name = loader(
        records,
        stuff_classes=list(CLASSES),
        thing_classes=list(PARTS),
        thing_dataset_id_to_contiguous_id={20: 1, 30: 2, 40: 3},
    )
    results = judge(cfg, name)
    assert results["panoptic_seg"]["PQ"] == pytest.approx(100)
    assert results["sem_seg"]["mIoU"] == pytest.approx(100)
    assert results["segm"]["AP"] == pytest.approx(100)


def test_class_maps_need_no_ids_or_types(cfg, loader, tmp_path):
    scenes = draw_scenes(tmp_path, background="bench")
    records = []
    for scene in scenes:
        labels = label_map(scene, {name: n for n, name in enumerate(CLASSES)})
        labels[:4] = 200
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / f"labels_{scene.file_name}")
        records.append(
            {
                "file_name": str(tmp_path / scene.file_name),
                "sem_seg_file_name": str(tmp_path / f"labels_{scene.file_name}"),
            }
        )
    name = loader(records, stuff_classes=list(CLASSES), ignore_label=200)
    assert judge(cfg, name)["sem_seg"]["mIoU"] == pytest.approx(100)


KINDS = {
    "objects": ({"annotations": []}, ("instance",)),
    "panoptic": (
        {"pan_seg_file_name": "a.png", "segments_info": []},
        ("semantic", "instance", "panoptic"),
    ),
    "class maps": ({"sem_seg_file_name": "a.png"}, ("semantic",)),
}


@pytest.mark.parametrize(("annotation", "tasks"), KINDS.values(), ids=KINDS)
def test_the_records_say_what_can_be_judged_where_no_type_does(loader, annotation, tasks):
    name = loader([{"file_name": "a.jpg", **annotation}], stuff_classes=["nut"])
    assert set(judges(name)) == set(tasks)


def test_a_set_that_cannot_be_judged_or_names_no_classes_is_refused(cfg, loader, tmp_path):
    records = objects(tmp_path, draw_scenes(tmp_path))
    name = loader(records, thing_classes=list(CLASSES))
    cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = False
    with pytest.raises(ValueError, match=f"{name} can evaluate instance, but .* has only sem"):
        build_evaluators(cfg, name)
    cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = True
    with pytest.raises(ValueError, match="names no classes: its metadata needs thing_classes"):
        build_evaluators(cfg, loader(records))
    with pytest.raises(NotImplementedError, match="'pascal_voc'; known types are coco_"):
        build_evaluators(cfg, loader(records, thing_classes=["a"], evaluator_type="pascal_voc"))
    with pytest.raises(NotImplementedError, match="evaluator_type None"):
        build_evaluators(cfg, loader([{"file_name": "a.jpg"}], thing_classes=["a"]))


def test_stuff_alone_has_no_ap(cfg, loader, tmp_path, caplog):
    write_ids(tmp_path / "a.png", np.ones((5, 5), int))
    record = {
        "file_name": str(tmp_path / "a.png"),
        "pan_seg_file_name": str(tmp_path / "a.png"),
        "segments_info": [{"id": 1, "category_id": 0, "isthing": False}],
    }
    name = loader([record], stuff_classes=["felt"], thing_dataset_id_to_contiguous_id={})
    with caplog.at_level("WARNING"):
        results = judge(cfg, name, ("felt",))
    assert sorted(results) == ["panoptic_seg", "sem_seg"]
    assert f"dataset {name} lists no things that the model knows: without AP" in caplog.text


@pytest.mark.parametrize("keeps", [True, False])
def test_published_sets_keep_the_areas_of_their_annotation(cfg, tmp_path, keeps):
    """COCO's objects are small, medium or large by the area that its annotation says."""
    content = instance_json(draw_scenes(tmp_path, 1), {name: n for n, name in enumerate(PARTS)})
    content["annotations"][0]["area"] = 5000.5
    content["annotations"][1].pop("area")
    flat = content["annotations"][2]
    flat.update(segmentation=[[1, 1, 9, 1, 1, 1]], area=4.0)
    path = tmp_path / "objects.json"
    path.write_text(json.dumps(content))
    name = f"own_areas_{keeps}"
    register_custom([[name, str(path), str(tmp_path), ""]])
    cfg.DATASETS.TRAIN = (name,)
    if keeps:
        MetadataCatalog.get(name).set(keeps_annotated_areas=True)
    truth = Truth.of(cfg, name)
    rows = coco_content(truth, [0, 1, 2], {10: 10}, from_panoptic=False)["annotations"]
    masks = [int(row["bbox"][2] * row["bbox"][3]) for row in content["annotations"]]
    if keeps:
        assert [row["area"] for row in rows] == [5000.5, masks[1], 4.0, *masks[3:]]
    else:
        assert [row["area"] for row in rows] == [masks[0], masks[1], *masks[3:]]
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))


def test_boxes_may_be_arrays_or_none(cfg, loader, tmp_path):
    records = objects(tmp_path, draw_scenes(tmp_path, 2), BoxMode.XYXY_ABS)
    for record in records:
        for number, row in enumerate(record["annotations"]):
            row["bbox"] = np.array(row["bbox"]) if number % 2 else None
    name = loader(records, thing_classes=list(CLASSES))
    assert judge(cfg, name)["segm"]["AP"] == pytest.approx(100)


def test_what_is_found_in_the_box_of_an_object_without_a_mask_is_not_judged(cfg, loader, tmp_path):
    records = objects(tmp_path, draw_scenes(tmp_path, 2), BoxMode.XYXY_ABS)
    for record in records:
        record["annotations"][1]["segmentation"] = None
    name = loader(records, thing_classes=list(CLASSES))
    assert judge(cfg, name)["segm"]["AP"] == pytest.approx(100)
