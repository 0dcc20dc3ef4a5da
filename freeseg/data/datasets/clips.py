"""Sets of clips in the layouts of DAVIS, YouTube-VOS and MOSE.

A clip has a folder of frames and one of masks, under its name: PNGs with the names of frames.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from freeseg.data.clips import CLIP_KEY, VOID, Clip, read_mask
from freeseg.data.datasets.catalog import Records, register
from freeseg.data.datasets.clip_objects import ListedObject, listed_objects, seen_categories
from freeseg.data.datasets.json_rows import MissingDataError, require_file
from freeseg.data.problems import Problems
from freeseg.image_headers import read_header
from freeseg.images import IMAGE_SUFFIXES

CLIPS = "clips"  # evaluator_type
HINT = "see clips under 'Datasets' in the documentation"


@dataclass(frozen=True)
class ClipFiles:
    """Where a set lies, and how it is meant.

    Attributes:
        frame_root: Folder of the folders of frames.
        mask_root: Folder of the folders of masks.
        list_file: Text file with the names of clips; None: all that have frames.
        meta_file: YouTube-VOS's list of clips, with the frames of each object.
        train_meta_file: The same of its training set, whose categories are seen.
        is_one_object: All that the masks of a clip mark is one object.
        may_begin_later: Objects begin on the first frame that marks them, else on the first of
            the clip. All masks are looked at to find out.
        judges_last: As of `Clip`.
    """

    frame_root: Path
    mask_root: Path
    list_file: Path | None = None
    meta_file: Path | None = None
    train_meta_file: Path | None = None
    is_one_object: bool = False
    may_begin_later: bool = False
    judges_last: bool = False

    def names(self) -> list[str]:
        """Names of the clips, in a fixed order.

        Raises:
            MissingDataError: The set is not here.
            ValueError: No clip is listed, or one twice.
        """
        if not self.frame_root.is_dir():
            raise MissingDataError(f"{self.frame_root} does not exist; {HINT}")
        if self.list_file is None:
            return sorted(path.name for path in self.frame_root.iterdir() if path.is_dir())
        require_file(self.list_file, HINT)
        names = self.list_file.read_text(encoding="utf-8").split()
        twins = sorted({name for name in names if names.count(name) > 1})
        if twins or not names:
            found = f"lists {twins[0]} twice" if twins else "lists no clip"
            raise ValueError(f"{self.list_file} {found}")
        return names


def register_clips(root: Path) -> None:
    """Register the sets under `root`.

    They are davis_{2016,2017}_{train,val}, youtube_vos_{2018,2019}_{train,valid} and
    mose_{train,valid}.
    """
    davis = root / "DAVIS"
    frames, masks = davis / "JPEGImages/480p", davis / "Annotations/480p"
    sets = {
        f"davis_{year}_{split}": ClipFiles(
            frames, masks, davis / f"ImageSets/{year}/{split}.txt", is_one_object=year == "2016"
        )
        for year in ("2016", "2017")
        for split in ("train", "val")
    }
    for split in ("train", "valid"):
        for year in ("2018", "2019"):
            sets[f"youtube_vos_{year}_{split}"] = _youtube_vos(root / f"youtube_vos/{year}", split)
        folder = root / "MOSE" / split
        sets[f"mose_{split}"] = ClipFiles(folder / "JPEGImages", folder / "Annotations")
    for name, files in sets.items():
        register_clip_set(name, files)


def _youtube_vos(root: Path, split: str) -> ClipFiles:
    folder, train = root / split, root / "train/meta.json"
    return ClipFiles(
        folder / "JPEGImages",
        folder / "Annotations",
        meta_file=folder / "meta.json",
        train_meta_file=train if split != "train" else None,
        judges_last=True,
    )


def register_own_clips(name: str, list_file: Path, frame_root: Path, mask_root: Path) -> None:
    """Register a user's clips in DAVIS's layout; objects may begin on any frame."""
    register_clip_set(name, ClipFiles(frame_root, mask_root, list_file, may_begin_later=True))


def register_clip_set(name: str, files: ClipFiles) -> None:
    """Register a set of clips; nothing is read."""
    values: dict[str, Any] = {
        "image_root": str(files.frame_root),
        "mask_root": str(files.mask_root),
        "evaluator_type": CLIPS,
    }
    register(name, lambda problems: load_clips(files, problems), values)


def load_clips(files: ClipFiles, problems: Problems) -> Records:
    """A record for every clip, whose "file_name" is its first frame.

    Args:
        files: Of the set.
        problems: Gets a line for everything that is missing or wrong.

    Raises:
        MissingDataError: The set is not here.
        ValueError: Its list of clips or of objects is none.
    """
    listed: Mapping[str, list[ListedObject]] | None = None
    if files.meta_file is not None:
        require_file(files.meta_file, HINT)
        listed = listed_objects(files.meta_file, problems)
    names = files.names() if listed is None else sorted(listed)
    seen = seen_categories(files.train_meta_file)
    records: Records = []
    collecting = problems.collecting("clips")
    for name in names:
        with collecting:
            objects = None if listed is None else listed[name]
            records.append(_record(_clip(name, files, objects, seen)))
    if not records and not problems.errors:
        raise MissingDataError(f"{files.frame_root} has no clips; {HINT}")
    return records


def _record(clip: Clip) -> dict[str, Any]:
    height, width = clip.size
    return {
        "file_name": clip.frames[0],
        "image_id": clip.name,
        "height": height,
        "width": width,
        CLIP_KEY: clip,
    }


def _clip(
    name: str,
    files: ClipFiles,
    objects: Sequence[ListedObject] | None,
    seen: frozenset[str] | None,
) -> Clip:
    """A clip of a set.

    Raises:
        ValueError: There are no frames, no masks, or they do not belong together.
        OSError: A file cannot be read.
    """
    if Path(name).name != name:  # results are written into a folder of this name
        raise ValueError(f"{name!r} is no name of a clip, which is a folder's")
    frames = _by_stem(files.frame_root / name, IMAGE_SUFFIXES, "frames")
    stems = {stem: number for number, stem in enumerate(frames)}
    masks = _masks(_by_stem(files.mask_root / name, frozenset({".png"}), "masks"), stems, name)
    paths = tuple(map(str, frames.values()))
    header = read_header(paths[0])
    if header is None:
        raise ValueError(f"{paths[0]} is no picture that can be read")
    values: dict[str, Any] = {
        "name": name,
        "frames": paths,
        "masks": masks,
        "size": header.upright_size,
        "is_one_object": files.is_one_object,
        "judges_last": files.judges_last,
    }
    if objects is not None:
        begins = {one.number: _begin_of(one, name, stems, masks, files) for one in objects}
        known = {
            one.number: one.category in seen
            for one in objects
            if seen is not None and one.category is not None
        }
        return Clip(**values, begins=begins, is_seen=known or None)
    void = _void_of(masks[min(masks)]) if files.is_one_object else VOID
    begins = _begins(name, masks, void, files)
    return Clip(**values, begins=begins, void=void)


def _by_stem(folder: Path, suffixes: frozenset[str], what: str) -> dict[str, Path]:
    """Files of a folder by their names without suffix, in order.

    Raises:
        ValueError: There are none, or two of one name.
    """
    found: dict[str, Path] = {}
    if not folder.is_dir():
        raise ValueError(f"{folder} with the {what} of a clip does not exist")
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if path.suffix.lower() in suffixes and not name.startswith("."):
            if path.stem in found:
                raise ValueError(f"{folder}: {found[path.stem].name} and {name} have one name")
            found[path.stem] = path
    if not found:
        raise ValueError(f"{folder} has no {what}")
    return found


def _masks(files: Mapping[str, Path], stems: Mapping[str, int], name: str) -> dict[int, str]:
    """Files of masks by the number of their frame.

    Raises:
        ValueError: One has no frame.
    """
    for stem, file in files.items():
        if stem not in stems:
            raise ValueError(f"{file}: the clip {name} has no frame {stem}")
    return {stems[stem]: str(file) for stem, file in files.items()}


def _begin_of(
    one: ListedObject,
    name: str,
    stems: Mapping[str, int],
    masks: Mapping[int, str],
    files: ClipFiles,
) -> int:
    """The frame where an object of a list begins.

    Raises:
        ValueError: It is not there, or has no masks.
    """
    for stem in one.frames:
        if stem not in stems:
            raise ValueError(
                f"{files.meta_file}: object {one.number} of {name} has no frame {stem}"
            )
    begin = min(stems[stem] for stem in one.frames)
    if begin not in masks:
        raise ValueError(
            f"{files.mask_root / name} has no masks of the frame where object {one.number} begins, "
            f"{min(one.frames)}"
        )
    return begin


def _void_of(file: str) -> int | None:
    """What is void in the clip of a first mask that marks one object: nothing where 255 is it.

    DAVIS 2016 came with grey masks of 0 and 255, those of 2017 have a palette and numbers.
    """
    return None if np.unique(read_mask(file)).tolist() in ([0, VOID], [VOID]) else VOID


def _begins(
    name: str, masks: Mapping[int, str], void: int | None, files: ClipFiles
) -> dict[int, int]:
    """The frame where each object of a clip begins.

    Those of DAVIS all begin on the first frame, and are numbered up to the largest there: one that
    is missing is there and empty.

    Raises:
        ValueError: No object begins, or the first frame has no masks.
    """
    first = min(masks)
    if files.may_begin_later:
        begins: dict[int, int] = {}
        for frame in sorted(masks):
            begins.update(dict.fromkeys(_present(masks[frame], void) - set(begins), frame))
        if not begins:
            raise ValueError(f"{files.mask_root / name}: no mask has an object, 0 and 255 are none")
        return dict(sorted(begins.items()))
    if first != 0:
        raise ValueError(f"{files.mask_root / name} has no masks of the first frame of the clip")
    present = _present(masks[first], void)
    if not present:
        raise ValueError(f"{masks[first]} has no object, 0 and 255 are none")
    count = 1 if files.is_one_object else max(present)
    return dict.fromkeys(range(1, count + 1), 0)


def _present(file: str, void: int | None) -> set[int]:
    return set(np.unique(read_mask(file)).tolist()) - {0, void}
