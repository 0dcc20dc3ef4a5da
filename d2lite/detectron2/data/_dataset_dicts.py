"""What is done to the dicts of a dataset before they are loaded: filters, proposals, counts."""

from __future__ import annotations

import itertools
import logging
import pickle
from typing import Any, Sequence

import numpy as np
from tabulate import tabulate
from termcolor import colored

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager
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


def load_proposals_into_dataset(dataset_dicts: list[dict], proposal_file: str) -> list[dict]:
    """Add precomputed proposals to the dicts, best first.

    Args:
        dataset_dicts: changed in place.
        proposal_file: a pickled dict with "ids" (image ids), "boxes" ([N, 4] for each image),
            "objectness_logits" ([N] for each) and perhaps "bbox_mode", absolute xyxy by
            default. Detectron's names "indexes" and "scores" are understood too. As any
            pickle it can run code, so it must come from a source that is trusted.
    """
    logger.info("Loading proposals from: %s", proposal_file)
    with PathManager.open(proposal_file, "rb") as file:
        proposals = pickle.load(file, encoding="latin1")
    for old_name, name in (("indexes", "ids"), ("scores", "objectness_logits")):
        if old_name in proposals:
            proposals[name] = proposals.pop(old_name)
    mode = BoxMode(proposals.get("bbox_mode", BoxMode.XYXY_ABS))

    # Ids are numbers in some files and strings in others.
    row_of = {str(image_id): row for row, image_id in enumerate(proposals["ids"])}
    for image in dataset_dicts:
        row = row_of[str(image["image_id"])]
        logits = proposals["objectness_logits"][row]
        best_first = logits.argsort()[::-1]
        image["proposal_boxes"] = proposals["boxes"][row][best_first]
        image["proposal_objectness_logits"] = logits[best_first]
        image["proposal_bbox_mode"] = mode
    return dataset_dicts


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
