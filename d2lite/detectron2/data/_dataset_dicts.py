"""What is done to the dicts of a dataset before they are loaded: filters, proposals, counts."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from tabulate import tabulate
from termcolor import colored

from detectron2.utils.logger import log_first_n

logger = logging.getLogger(__name__)


def filter_images_with_only_crowd_annotations(dataset_dicts: list[dict]) -> list[dict]:
    """Keep the images which have an object that is not a crowd."""
    kept = [
        image
        for image in dataset_dicts
        if any(obj.get("iscrowd", 0) == 0 for obj in image["annotations"])
    ]
    num_removed = len(dataset_dicts) - len(kept)
    logger.info(
        "Removed %d images with no usable annotations. %d images left.", num_removed, len(kept)
    )
    return kept


def filter_images_with_few_keypoints(
    dataset_dicts: list[dict], min_keypoints_per_image: int
) -> list[dict]:
    """Keep the images which have at least so many labelled keypoints in all."""

    def num_labelled(image: dict) -> int:
        visibilities = (obj.get("keypoints", ())[2::3] for obj in image["annotations"])
        return sum(visibility > 0 for visibility in itertools.chain.from_iterable(visibilities))

    kept = [image for image in dataset_dicts if num_labelled(image) >= min_keypoints_per_image]
    num_removed = len(dataset_dicts) - len(kept)
    logger.info(
        "Removed %d images with fewer than %d keypoints.", num_removed, min_keypoints_per_image
    )
    return kept


def print_instances_class_histogram(dataset_dicts: list[dict], class_names: Sequence[str]) -> None:
    """Log how many objects, crowds apart, each class has."""
    num_classes = len(class_names)
    counts = np.zeros(num_classes, dtype=int)
    for image in dataset_dicts:
        classes = [obj["category_id"] for obj in image["annotations"] if not obj.get("iscrowd", 0)]
        for category in classes:
            assert 0 <= category < num_classes, (
                f"Got an invalid category_id={category} for a dataset of {num_classes} classes"
            )
        counts += np.bincount(np.array(classes, dtype=int), minlength=num_classes)
    log_first_n(
        logging.INFO,
        f"Distribution of instances among all {num_classes} categories:\n"
        + colored(_histogram_table(class_names, counts.tolist()), "cyan"),
        key="message",
    )


def _histogram_table(class_names: Sequence[str], counts: list[int]) -> str:
    """Lay the counts out in up to three pairs of columns, with a total at the end."""
    num_pairs = min(3, len(class_names))
    short = [name if len(name) <= 13 else name[:11] + ".." for name in class_names]
    cells: list[Any] = list(zip(short, counts))
    if len(cells) > 1:
        cells += [(None, None)] * (-len(cells) % num_pairs)  # the total starts a new row
        cells.append(("total", sum(counts)))
    rows = [
        list(itertools.chain.from_iterable(cells[start : start + num_pairs]))
        for start in range(0, len(cells), num_pairs)
    ]
    headers = ["category", "#instances"] * num_pairs
    return tabulate(rows, headers, tablefmt="pipe", numalign="left", stralign="center")
