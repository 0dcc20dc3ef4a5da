"""Clips that tests write: shapes that move by a formula, in the layouts of the benchmarks."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

SIZE = (90, 120)


def disk(row, column, radius, size=SIZE):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def scene(frame):
    """Three objects that move: 2 is away on frames 3 and 4, 3 lies before the others."""
    labels = np.zeros(SIZE, np.uint8)
    labels[disk(30 + 2 * frame, 30, 14)] = 1
    if frame not in (3, 4):
        labels[50:72, 40 + 4 * frame : 70 + 4 * frame] = 2
    labels[disk(60, 90 - 3 * frame, 12)] = 3
    return labels


def seen_badly(frame):
    """What a method might find there: late, and 2 also where it is away on frame 4."""
    labels = np.zeros(SIZE, np.uint8)
    labels[disk(31 + 2 * frame, 30 + frame, 13)] = 1
    if frame != 3:
        labels[52:73, 41 + 3 * frame : 70 + 3 * frame] = 2
    if frame < 6:
        labels[disk(60 - frame, 90 - 3 * frame, 12 + frame)] = 3
    return labels


def write_mask(path, labels, palette=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(labels, np.uint8))
    if palette:
        picture.putpalette([value for number in range(256) for value in (number, 0, 7)])
    picture.save(path)


def write_frame(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path)


def write_clip(root, name, maps, *, frames=None, palette=True):
    """Frames 00000.jpg ... and masks of those that have any, by number or as a list."""
    masks = dict(enumerate(maps)) if isinstance(maps, list) else maps
    size = next(iter(masks.values())).shape
    for frame in range(frames or len(masks)):
        write_frame(root / "JPEGImages" / name / f"{frame:05d}.jpg", size)
    for frame, labels in masks.items():
        write_mask(root / "Annotations" / name / f"{frame:05d}.png", labels, palette)


def write_davis(root, clips, *, year="2017", split="val", palette=True):
    """DAVIS's layout under the folder of all datasets; `clips` are label maps by name."""
    folder = root / "DAVIS"
    for name, maps in clips.items():
        for kind, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".png")):
            for frame, labels in enumerate(maps):
                path = folder / kind / "480p" / name / f"{frame:05d}{suffix}"
                if kind == "JPEGImages":
                    write_frame(path, labels.shape)
                else:
                    write_mask(path, labels, palette)
    listed = folder / f"ImageSets/{year}/{split}.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("\n".join(clips) + "\n")
    return folder


def write_meta(folder, clips):
    """YouTube-VOS's meta.json: {clip: {object: (category, names of frames)}}."""
    videos = {
        name: {
            "objects": {
                number: {"category": category, "frames": frames}
                for number, (category, frames) in objects.items()
            }
        }
        for name, objects in clips.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({"videos": videos}))
