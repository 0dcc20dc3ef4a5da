"""`freeseg edit`: what words name goes out of a photo, or something else comes in its place."""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from freeseg.cli.model_choice import load_segmenter
from freeseg.composition import find_from
from freeseg.data.photos import unique_stems
from freeseg.editing import (
    Found,
    PaintingError,
    check_painter,
    find,
    load_painter,
    read_question,
    remove,
    replace,
)
from freeseg.files import WriteError, write_bytes
from freeseg.images import ImageError, LoadedSource, RgbImage, is_web_address, load_source
from freeseg.inference import is_out_of_memory
from freeseg.systems import GroundedSAM
from freeseg_command import __version__
from freeseg_command.messages import (
    DONE,
    SOME_FAILED,
    complain,
    make_folder,
    printable,
    say,
    say_json,
)
from freeseg_command.names import DEFAULT_PAINTER

OUT = Path("output/edit")
_MIN_SCORE, _COMPOSED_MIN_SCORE = 0.5, 0.3  # the latter of the boxes of Grounded-SAM's demos


@dataclass(frozen=True)
class _Change:
    """What becomes of what is found.

    Attributes:
        prompt: What is painted there; None: nothing.
        grow: Pixels by which masks grow.
        painter: Its name or folder.
        seed: Of the first painting.
        steps: Of the painter; None: its own number.
    """

    prompt: str | None
    grow: int
    painter: str
    seed: int
    steps: int | None

    def apply(self, found: Found, device: Any) -> RgbImage:
        """The changed photo."""
        if self.prompt is None:
            return remove(found.image, found.masks, grow=self.grow)
        painter = load_painter(self.painter, device)
        return replace(
            found.image,
            found.masks,
            self.prompt,
            painter,
            grow=self.grow,
            seed=self.seed,
            steps=self.steps,
        )


def run(args: argparse.Namespace) -> int:
    """Changes a photo as the arguments say."""
    target, change = _target(args), _read_change(args)
    segmenter = load_segmenter(args)
    if args.min_score is None:
        is_composed = isinstance(segmenter.model, GroundedSAM)
        args.min_score = _COMPOSED_MIN_SCORE if is_composed else _MIN_SCORE
    find_from(segmenter, args.min_score)
    question = read_question(segmenter, args.text, args.among)
    make_folder(target.parent, "--out")
    try:
        photo = load_source(args.photo)
        found = find(segmenter, photo, question, min_score=args.min_score, best=args.best)
        if not len(found):
            complain(printable(f"{args.photo}: {_nothing(args, found)}"))
            return SOME_FAILED
        image = change.apply(found, next(segmenter.model.parameters()).device)
        write_bytes(target, _png(image, photo))
    except (ImageError, PaintingError, WriteError) as error:
        complain(printable(str(error)))
        return SOME_FAILED
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        complain(printable(f"{args.photo}: too large for the memory of this machine"))
        return SOME_FAILED
    _report(args, found, target)
    return DONE


def _target(args: argparse.Namespace) -> Path:
    """The file that is written.

    Raises:
        ValueError: It is no PNG, a folder, or the photo.
    """
    is_file = not is_web_address(args.photo)
    photo = Path(args.photo) if is_file else args.photo
    target = Path(args.out) if args.out else OUT / f"{unique_stems([photo])[0]}.png"
    if target.suffix.lower() != ".png":
        raise ValueError(
            f"--out {target}: wanted a .png file; JPEG and the like would change all other pixels"
        )
    if target.is_dir():
        raise ValueError(f"--out {target} is a folder: name a file in it")
    if is_file and target.exists() and Path(args.photo).exists() and target.samefile(args.photo):
        raise ValueError(f"{target} is the photo itself: name another file with --out")
    return target


def _read_change(args: argparse.Namespace) -> _Change:
    if args.replace is None:
        given = [name for name in ("painter", "seed", "steps") if getattr(args, name) is not None]
        if given:
            raise ValueError(f"--{given[0]} is of --replace: nothing is painted with --remove")
    elif not args.replace.strip():
        raise ValueError("--replace: wanted words for what is to be painted, got none")
    painter = args.painter or DEFAULT_PAINTER
    if args.replace is not None:
        check_painter(painter)
        _quiet_where_nobody_looks()
    return _Change(args.replace, args.grow, painter, args.seed or 0, args.steps)


def _quiet_where_nobody_looks() -> None:
    """No progress bars of what loads a painter in a file of messages."""
    if not sys.stderr.isatty():
        import diffusers.utils.logging
        import transformers.utils.logging

        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()


def _nothing(args: argparse.Namespace, found: Found) -> str:
    missing = f"nothing found of {args.text} with a score from {args.min_score:g} on"
    if not found.others:
        return missing
    return f"{missing}, but {', '.join(found.others)}: words compete with those of --among"


def _png(image: RgbImage, photo: LoadedSource) -> bytes:
    """A PNG with the photo's colour profile, without which viewers show other colours."""
    profile = None
    if isinstance(photo.content, bytes):
        with Image.open(io.BytesIO(photo.content)) as stored:
            is_rgb = stored.mode in ("RGB", "RGBA")  # that of CMYK is of no use to RGB
            profile = stored.info.get("icc_profile") if is_rgb else None
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", icc_profile=profile)
    return buffer.getvalue()


def _report(args: argparse.Namespace, found: Found, target: Path) -> None:
    rows = [_row(found, index) for index in range(len(found))]
    change = "removed" if args.replace is None else f"replaced by {args.replace}"
    if args.json:
        height, width = found.image.shape[:2]
        summary = {"photo": args.photo, "height": height, "width": width, "change": change}
        say_json({"version": __version__, **summary, "found": rows, "file": str(target)})
        return
    shown = [
        row["name"] if row["score"] is None else f"{row['name']} {row['score']:.2f}" for row in rows
    ]
    say(printable(f"{args.photo}: {', '.join(shown)} {change} -> {target}"))


def _row(found: Found, index: int) -> dict[str, Any]:
    score, mask = float(found.scores[index]), found.masks[index]
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return {
        "name": found.names[index],
        "score": None if np.isnan(score) else score,
        "box": [left, top, left + width, top + height],
        "area": int(np.count_nonzero(mask)),
    }
