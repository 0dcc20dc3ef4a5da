"""Annotation files of several results: COCO's own readers load them and find what was segmented."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from panopticapi.evaluation import pq_compute
from pycocotools.coco import COCO

from freeseg.structures import Vocabulary
from freeseg.visualization import AnnotationFiles, Segmentation

sys.path.insert(0, str(Path(__file__).parent))
from sample import HEIGHT, WIDTH, sample_result

NAMES = ("day 1/x.jpg", "day 2/x.jpg")


@pytest.fixture
def result() -> Segmentation:
    return sample_result()


def test_coco_reads_the_likely_instances_of_every_photo(result, tmp_path: Path) -> None:
    files = AnnotationFiles(tmp_path, min_score=0.5)
    for name in NAMES:
        files.add(result, name)
    coco = COCO(str(files.save()["instance"]))
    assert [row["file_name"] for row in coco.loadImgs(coco.getImgIds())] == list(NAMES)
    assert {row["id"]: row["name"] for row in coco.cats.values()} == {3: "car", 18: "dog"}
    for image_id in coco.getImgIds():
        rows = coco.loadAnns(coco.getAnnIds(image_id))
        assert [(row["category_id"], row["score"]) for row in rows] == [(3, 0.75), (18, 1.0)]
        for row, place in zip(rows, (0, 2)):
            mask = result.instances.masks[place]
            np.testing.assert_array_equal(coco.annToMask(row), mask)
            assert row["area"] == mask.sum()
        assert [row["bbox"] for row in rows] == [[4, 24, 20, 16], [10, 30, 10, 8]]
    assert sorted(coco.anns) == [1, 2, 3, 4]


@pytest.mark.parametrize(("min_score", "count"), [(0.0, 3), (0.25, 3), (0.26, 2), (1.0, 1)])
def test_the_least_score_is_included(result, tmp_path: Path, min_score: float, count: int) -> None:
    files = AnnotationFiles(tmp_path, min_score=min_score)
    files.add(result, "x.jpg")
    assert len(json.loads(files.save()["instance"].read_text())["annotations"]) == count


def test_panopticapi_finds_in_the_panoptic_file_what_the_photos_files_say(
    result, tmp_path: Path
) -> None:
    files = AnnotationFiles(tmp_path)
    for name in NAMES:
        files.add(result, name)
    path = files.save()["panoptic"]
    content = json.loads(path.read_text())
    assert [row["file_name"] for row in content["images"]] == list(NAMES)
    assert [row["file_name"] for row in content["annotations"]] == ["x.png", "x_2.png"]
    folder = tmp_path / "annotations_panoptic"
    single = result.save(tmp_path / "single", "x", formats="coco")  # the same, of one photo
    segments = json.loads(single["panoptic_json"].read_text())["annotations"][0]["segments_info"]
    for row in content["annotations"]:
        assert row["segments_info"] == segments
        assert (folder / row["file_name"]).read_bytes() == single["panoptic"].read_bytes()
    quality = pq_compute(str(path), str(path), str(folder), str(folder))
    assert (quality["All"]["pq"], quality["All"]["n"]) == (1.0, 4)


def test_masks_without_a_pixel_and_stuff_are_no_objects(result, tmp_path: Path) -> None:
    masks = result.instances.masks.copy()
    masks[0] = False
    labels = np.array([0, 1, 2])  # the second is of stuff
    instances = dataclasses.replace(
        result.instances, masks=masks, labels=labels, scores=np.ones(3, np.float32)
    )
    files = AnnotationFiles(tmp_path)
    files.add(dataclasses.replace(result, instances=instances), "x.jpg")
    [row] = json.loads(files.save()["instance"].read_text())["annotations"]
    assert (row["id"], row["category_id"]) == (1, 18)


def test_a_photo_without_a_name_or_with_other_classes_is_refused(result, tmp_path: Path) -> None:
    files = AnnotationFiles(tmp_path)
    with pytest.raises(ValueError, match="pass file_name, the photo has none"):
        files.add(result)
    files.add(dataclasses.replace(result, file_name="own.jpg"))
    files.add(result, "own.jpg")  # is there already
    others = dataclasses.replace(
        result, vocabulary=Vocabulary(("car", "tree", "cat", "road"), result.vocabulary.is_thing)
    )
    with pytest.raises(ValueError, match=r"other\.jpg was segmented into other classes"):
        files.add(others, "other.jpg")
    content = json.loads(files.save()["instance"].read_text())
    assert content["images"] == [
        {"id": 1, "file_name": "own.jpg", "height": HEIGHT, "width": WIDTH}
    ]


def test_nothing_added_is_nothing_written(tmp_path: Path) -> None:
    assert AnnotationFiles(tmp_path / "out").save() == {}
    assert not (tmp_path / "out").exists()
