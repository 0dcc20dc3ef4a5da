"""Photos whose segments are flat colours, so that a picture says what its masks must be."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion

from freeseg.data.panoptic import id2rgb

HEIGHT, WIDTH = 64, 96
CLASSES = ("kite", "cat", "sky")
KITE, CAT, SKY = range(3)
COLOURS = {  # by id
    **{0: (0, 0, 0), 300: (80, 160, 240), 1: (250, 20, 20), 70000: (250, 250, 30)},
    **{2: (30, 200, 30), 3: (230, 30, 230)},
}
PLACES = (300, 1, 70000, 2, 3)  # ids in the order of the annotation
SEGMENTS = [
    {"id": 300, "category_id": SKY, "isthing": False, "iscrowd": 0},
    {"id": 1, "category_id": KITE, "isthing": True, "iscrowd": 0},
    {"id": 70000, "category_id": KITE, "isthing": True, "iscrowd": 0},
    {"id": 2, "category_id": CAT, "isthing": True, "iscrowd": 0},
    {"id": 3, "category_id": CAT, "isthing": True, "iscrowd": 1},
]


def ids_of_photo() -> np.ndarray:
    """Two kites and a cat before the sky, a crowd of cats, and a void stripe on top."""
    ids = np.full((HEIGHT, WIDTH), 300, dtype=np.int32)
    ids[:10] = 0
    ids[16:40, 6:30] = 1
    ids[20:44, 40:62] = 70000
    ids[14:36, 68:92] = 2
    ids[46:60, 10:80] = 3
    return ids


def photo_of(ids: np.ndarray) -> np.ndarray:
    image = np.zeros((*ids.shape, 3), dtype=np.uint8)
    for one, colour in COLOURS.items():
        image[ids == one] = colour
    return image


def write_record(folder, write_image, ids: np.ndarray, name: str = "a") -> dict:
    """A record of a panoptic annotation with those of `SEGMENTS` that are there."""
    return {
        "file_name": str(write_image(folder / f"{name}.png", photo_of(ids))),
        "pan_seg_file_name": str(write_image(folder / f"{name}_ids.png", id2rgb(ids))),
        "segments_info": [row for row in SEGMENTS if (ids == row["id"]).any()],
        "image_id": name,
        "height": ids.shape[0],
        "width": ids.shape[1],
    }


def is_of(image: np.ndarray, one: int) -> np.ndarray:
    """Bool [H, W], where an image [H, W, 3] has the colour of an id rather than of another."""
    return _nearest(image) == list(COLOURS).index(one)


def is_mask_of(mask: np.ndarray, image: np.ndarray, ids, margin: int = 5) -> bool:
    """Whether a mask covers the colours of these ids, and no other colour of the image.

    Edges of a resized photo are blends of two colours, which may be like a third: they are left
    out.
    """
    nearest = _nearest(image)
    return all(
        (mask[binary_erosion(nearest == place, iterations=margin)] == (one in ids)).all()
        for place, one in enumerate(COLOURS)
    )


def _nearest(image: np.ndarray) -> np.ndarray:
    """Place of the nearest of `COLOURS` [H, W]."""
    colours = np.array(list(COLOURS.values()), dtype=np.int64)
    return ((image[:, :, None].astype(np.int64) - colours) ** 2).sum(-1).argmin(-1)
