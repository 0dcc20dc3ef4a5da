"""The `freeseg` command: segments photos, folders of photos, and patterns."""

from __future__ import annotations

import argparse
import glob
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from freeseg import __version__
from freeseg.images import IMAGE_SUFFIXES, ImageError
from freeseg.predictor import Segmenter
from freeseg.visualization import TASKS
from freeseg.visualization.summary import describe, summarize

SOME_FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130  # exit codes

_EPILOG = """examples:
  freeseg segment photo.jpg --config-file configs/camvid/mask2former_regnetx_002.yaml \\
      --weights weights/camvid_mask2former_regnetx_002.pth --out results
  freeseg segment holiday/ 'more/**/*.png' --task all --config-file CONFIG --weights WEIGHTS
  freeseg segment photo.jpg --classes 'car|automobile, cyclist, sky: stuff' \\
      --config-file CONFIG --weights WEIGHTS
  freeseg segment photo.jpg --json --config-file CONFIG --weights WEIGHTS > summary.json
  freeseg segment photo.jpg --config-file CONFIG --weights WEIGHTS \\
      --opts MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD 0.3 INPUT.MIN_SIZE_TEST 512

exit codes: 0 all photos were segmented, 1 some could not be (one line each says why, the rest
are done), 2 the command, the configuration or the weights cannot be used.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line (sys.argv when None) and returns its exit code."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said what is wrong, or has printed the help
        return int(stop.code or 0)
    logging.basicConfig(level=logging.WARNING, format="freeseg: %(levelname)s: %(message)s")
    try:
        return _segment(args)
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED


@dataclass
class _Outcome:
    """What became of the photos, in their order."""

    done: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


def _segment(args: argparse.Namespace) -> int:
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        segmenter = Segmenter.from_config(
            args.config_file, args.weights, args.device, args.opts or ()
        )
        if args.classes is not None:  # a list that cannot be used is no photo's fault
            args.classes = segmenter.read_classes(args.classes)
    except (OSError, ValueError) as error:
        _complain(f"error: {error}")
        return USAGE_ERROR
    outcome = _segment_all(find_photos(args.photos), segmenter, out, args)
    if args.json:
        summary = {"version": __version__, "task": args.task, "results": outcome.done}
        sys.stdout.write(json.dumps({**summary, "failed": outcome.failed}, indent=2) + "\n")
    else:
        count = len(outcome.done)
        sys.stdout.write(f"{count} photo{'s' * (count != 1)} segmented into {out}\n")
    if outcome.failed:
        _complain(f"{len(outcome.failed)} of {len(outcome.done) + len(outcome.failed)} failed")
    return SOME_FAILED if outcome.failed else 0


def _segment_all(
    photos: Sequence[Path], segmenter: Segmenter, out: Path, args: argparse.Namespace
) -> _Outcome:
    outcome = _Outcome()
    stems = unique_stems(photos)
    progress = tqdm(photos, unit="photo", disable=None, leave=False)  # None: not into a file
    for number, photo in enumerate(progress, start=1):
        try:
            result = segmenter(photo, args.task, args.classes)
            stem = stems[number - 1]
            paths = result.save(out, stem, image_id=number, min_score=args.min_score)
        except (ImageError, OSError, MemoryError, RuntimeError) as error:
            line = _failure(photo, error)
            outcome.failed.append({"photo": str(photo), "error": line})
            with tqdm.external_write_mode(file=sys.stderr):
                _complain(line)
            continue
        outcome.done.append(
            {
                "photo": str(photo),
                "height": result.image.shape[0],
                "width": result.image.shape[1],
                "image_id": number,
                "found": summarize(result, args.min_score),
                "files": {key: str(path) for key, path in paths.items()},
            }
        )
        if not args.json:
            shown = paths[f"{result.tasks[0]}_overlay"]
            tqdm.write(f"{photo}: {describe(result, args.min_score)} -> {shown}", sys.stdout)
    return outcome


def find_photos(arguments: Sequence[str]) -> list[Path]:
    """Returns the photos that files, folders and patterns name, each once, in their order.

    A folder stands for the image files directly in it, sorted. A name that nothing matches is
    returned as it is, so that reading it says what is wrong.
    """
    photos: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        found = [path]
        if path.is_dir():
            found = sorted(_images_in(path)) or [path]
        elif not path.exists() and glob.has_magic(argument):
            matches = (Path(match) for match in sorted(glob.glob(argument, recursive=True)))
            found = [match for match in matches if match.is_file()] or [path]
        photos.update(dict.fromkeys(found))
    return list(photos)


def unique_stems(photos: Sequence[Path]) -> list[str]:
    """Returns one file name stem per photo; where two are the same, later ones get a number."""
    stems: list[str] = []
    taken: set[str] = set()
    for photo in photos:
        stem, number = photo.stem, 1
        while stem.lower() in taken:  # file systems may ignore the case
            number += 1
            stem = f"{photo.stem}_{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def _images_in(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]


def _failure(photo: Path, error: Exception) -> str:
    """Returns the line that says why a photo failed; what is no fault of it is raised again."""
    if isinstance(error, ImageError):
        # a folder that holds images was replaced by them
        return f"{photo}: holds no image files" if photo.is_dir() else str(error)
    if isinstance(error, OSError):
        return f"{photo}: its results cannot be written ({error.strerror or error})"
    # PyTorch has a class of its own for a full GPU and none for a full main memory
    is_full = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    if is_full or "allocate memory" in str(error):
        return f"{photo}: too large for the memory of this machine"
    raise error


def _complain(message: str) -> None:
    sys.stderr.write(f"freeseg: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="freeseg", description="Segments photos with a trained model."
    )
    parser.add_argument("--version", action="version", version=f"freeseg {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    segment = commands.add_parser(
        "segment",
        help="segment photos and write overlays, label maps and COCO files",
        description="Segments photos and writes, for each, an overlay with a legend, label maps "
        "and COCO JSON. EXIF orientation is applied, transparency is composited on white.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = segment.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="photo, folder of photos, or quoted pattern")
    add("--config-file", required=True, metavar="FILE", help="configuration of the model")
    add("--weights", metavar="FILE", help="trained weights (default: the configuration's)")
    add("--task", default="panoptic", choices=(*TASKS, "all"), help="default: %(default)s")
    add("--classes", metavar="LIST", help=_CLASSES_HELP)
    add("--out", default="output/segment", metavar="DIR", help="default: %(default)s")
    add("--device", help="cpu, cuda, cuda:1 (default: the configuration's, cpu without CUDA)")
    add("--min-score", default=0.5, type=_share, metavar="S", help=_MIN_SCORE_HELP)
    add("--json", action="store_true", help="print a summary as JSON to standard output")
    add("--opts", nargs="+", metavar="KEY VALUE", help="overrides of the configuration")
    return parser


_MIN_SCORE_HELP = (
    "draw and list instances from this score on; files have all (default: %(default)s)"
)

_CLASSES_HELP = (
    'what to look for, of open-vocabulary models: "car|automobile, sky: stuff", a text or JSON '
    "file, or a dataset's name (default: the model's own classes)"
)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"wanted a number from 0 to 1, got {text}")
    return value
