"""Mapillary Vistas on a miniature tree in the official layout, through to the records."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from PIL import Image

from freeseg.catalog import dataset_metadata, kept
from freeseg.data.panoptic import panoptic_to_semantic, rgb2id
from freeseg.data.prepare import mapillary
from freeseg.data.prepare.job import Job, MissingFilesError, add_options, run
from freeseg.data.prepare.labels import read_labels

PARTS = {"panoptic": mapillary.prepare_panoptic}


def options_of(folder, *arguments):
    parser = argparse.ArgumentParser()
    add_options(parser, PARTS, folder)
    return parser.parse_args(arguments)


def mapillary_tree(folder, write_image):
    """Two cars (class 55) beside each other, one half road (13), the last column unlabelled."""
    values = np.full((8, 12), 13 * 256, dtype=np.int32)
    values[:4, :4], values[:4, 4:8] = 55 * 256, 55 * 256 + 1
    values[:, 11] = 65 * 256
    for name in ("training", "validation"):
        write_image(folder / name / "images" / "a.jpg", np.zeros((8, 12, 3)))
        write_image(folder / name / "labels" / "a.png", values // 256)
        file = folder / name / "instances" / "a.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(values.astype(np.uint16)).save(file)
    return folder


def test_mapillary_panoptic_from_instance_labels(root, write_image):
    tree = mapillary_tree(root / "mapillary_vistas", write_image)
    assert run(PARTS, options_of(tree)) == 0
    record = kept("mapillary_vistas_panoptic_val").load()[0]
    names = dataset_metadata("mapillary_vistas_panoptic_val").stuff_classes
    found = [
        (names[row["category_id"]], row["isthing"], row["area"]) for row in record["segments_info"]
    ]
    assert sorted(found) == [("Car", True, 16), ("Car", True, 16), ("Road", False, 56)]
    ids = rgb2id(read_labels(record["pan_seg_file_name"]))
    assert (ids[:, 11] == 0).all()
    assert len(np.unique(ids)) == 4
    semantic = read_labels(record["sem_seg_file_name"])
    identity = {index: index for index in range(65)}
    derived = panoptic_to_semantic(ids, record["segments_info"], identity, 65)
    assert np.array_equal(derived, semantic)


def test_mapillary_keeps_the_downloads_panoptic_annotation(root, write_image):
    tree = mapillary_tree(root / "mapillary_vistas", write_image)
    given = tree / "training" / "panoptic" / "panoptic_2018.json"
    given.parent.mkdir()
    given.write_text("{}")
    assert run(PARTS, options_of(tree, "--splits", "train")) == 0
    assert given.read_text() == "{}"
    with pytest.raises(MissingFilesError, match=r"Mapillary Vistas 1\.2"):
        mapillary.prepare_panoptic(Job(root / "nowhere", root / "nowhere"))
