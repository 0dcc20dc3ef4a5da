"""What is derived from COCO 2017's annotation: label PNGs, and instances of its panoptic form."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from freeseg.data.categories import load_categories
from freeseg.data.coco_writer import write_json, write_png
from freeseg.data.datasets.catalog import load_panoptic
from freeseg.data.datasets.coco import panoptic_files
from freeseg.data.derived_instances import instances_from_panoptic
from freeseg.data.panoptic import panoptic_to_semantic, rgb2id
from freeseg.data.prepare.job import Job, find, is_fresh, parallel_map, require
from freeseg.data.prepare.labels import read_labels, recode, value_table
from freeseg.data.problems import Problems

PANOPTIC_HINT = (
    "download panoptic_annotations_trainval2017.zip from cocodataset.org and unpack it, and the "
    "two zips inside it, so that these paths exist"
)
STUFF_HINT = (
    "download stuffthingmaps_trainval2017.zip from github.com/nightrome/cocostuff and unpack it "
    "into stuffthingmaps/"
)


def prepare_panoptic_semantic(job: Job) -> None:
    """Write panoptic_semseg_SPLIT/*.png: contiguous classes 0..132 of the panoptic annotation."""
    sources = {
        split: (
            job.source / "annotations" / f"panoptic_{split}2017.json",
            job.source / f"panoptic_{split}2017",
        )
        for split in job.splits
    }
    require([path for paths in sources.values() for path in paths], PANOPTIC_HINT)
    classes = {row.id: index for index, row in enumerate(load_categories("coco_panoptic"))}
    for split, (json_file, folder) in sources.items():
        with open(json_file, encoding="utf-8") as file:
            rows = json.load(file)["annotations"]
        require([folder / row["file_name"] for row in rows], PANOPTIC_HINT)
        output = job.output / f"panoptic_semseg_{split}2017"
        output.mkdir(parents=True, exist_ok=True)
        work = functools.partial(
            _write_semantic, json_file=json_file, folder=folder, output=output, classes=classes
        )
        parallel_map(work, rows, job.workers, f"coco panoptic {split}")


def prepare_panoptic_instances(job: Job) -> None:
    """Write annotations/panoptic2instances_SPLIT2017.json: the things of the panoptic annotation.

    OneFormer's mask AP on COCO is against these, since it was trained on them.
    """
    categories = load_categories("coco_panoptic")
    for split in job.splits:
        files = panoptic_files(job.source, split)
        require([files.panoptic_json, files.panoptic_root, files.image_root], PANOPTIC_HINT)
        target = job.output / "annotations" / f"panoptic2instances_{split}2017.json"
        if is_fresh(target, files.panoptic_json):
            continue
        problems = Problems()
        panoptic = load_panoptic(files, categories, problems)
        problems.raise_errors()
        records = tqdm(panoptic, desc=f"coco instances {split}")
        content = instances_from_panoptic(records, categories)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_json(target, content)


def prepare_stuff(job: Job) -> None:
    """Write stuffthingmaps_detectron2/SPLIT/*.png: contiguous classes 0..170 of COCO-Stuff."""
    folders = {split: job.source / "stuffthingmaps" / f"{split}2017" for split in job.splits}
    require(folders.values(), STUFF_HINT)
    # a label map holds id - 1, and 255 for unlabelled
    table = value_table(
        {row.id - 1: index for index, row in enumerate(load_categories("coco_stuff"))}
    )
    for split, folder in folders.items():
        sources = find(folder, "*.png", STUFF_HINT)
        output = job.output / "stuffthingmaps_detectron2" / f"{split}2017"
        pairs = [(source, output / source.name) for source in sources]
        recode(pairs, table, job.workers, f"coco-stuff {split}")


def _write_semantic(
    row: dict[str, Any], json_file: Path, folder: Path, output: Path, classes: dict[int, int]
) -> None:
    source, target = folder / row["file_name"], output / row["file_name"]
    if is_fresh(target, source) and is_fresh(target, json_file):
        return
    ids = rgb2id(read_labels(source))
    write_png(target, panoptic_to_semantic(ids, row["segments_info"], classes))
