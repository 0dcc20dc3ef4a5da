"""`freeseg track`: objects through a video or a folder of frames."""

from __future__ import annotations

import argparse
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

from tqdm import tqdm

from freeseg.cli.examples import read_example_options
from freeseg.cli.model_choice import load_segmenter
from freeseg.data.photos import images_in
from freeseg.tracking.frames import RATE
from freeseg.tracking.tracker import MEMORY, MIN_SCORE
from freeseg.videos import Video
from freeseg.visualization.tracks import (
    COCO,
    COCO_FILE,
    FORMATS,
    PNG,
    VIDEO,
    VIDEO_FILE,
    TrackWriter,
)
from freeseg_command import __version__
from freeseg_command.arguments.model_choice import add_model_options
from freeseg_command.messages import (
    DONE,
    EXIT_CODES,
    make_folder,
    natural,
    positive,
    say,
    say_json,
    share,
)

_EPILOG = f"""examples:
  freeseg track drive.mp4 --mask first.png --model MODEL --output tracks
  freeseg track frames/ --mask 00000.png --mask 25:00025.png --model MODEL --output tracks
  freeseg track drive.mp4 --example key.safetensors --format overlay --model MODEL --output tracks

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Follows objects through a video, or a folder of frames in the order of their names, with "
        "a model that follows examples. An object begins where a mask is given, or is shown by "
        "examples, and keeps its number throughout."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.track:run")
    add = parser.add_argument
    add("source", type=Path, metavar="VIDEO", help="video, or folder of frames")
    add("--mask", action="append", default=[], type=_mask, metavar="[FRAME:]PNG", help=_MASK_HELP)
    add("--example", action="append", default=[], metavar="PHOTO:MASK", help=_EXAMPLE_HELP)
    add_model_options(parser)
    add("--output", required=True, type=Path, metavar="FOLDER", help="made where it is needed")
    add("--format", default=FORMATS, type=_formats, metavar="LIST", help=_FORMAT_HELP)
    add("--memory", default=MEMORY, type=natural, metavar="K", help=_MEMORY_HELP)
    add("--min-score", default=MIN_SCORE, type=share, metavar="S", help=_MIN_SCORE_HELP)
    add("--every", default=1, type=positive, metavar="N", help="take every N-th frame")
    add("--json", action="store_true", help="print a summary as JSON to standard output")


def run(args: argparse.Namespace) -> int:
    """Follows what the masks and examples show.

    Raises:
        ValueError: There are neither, two masks of one frame, or frames would be replaced.
    """
    masks = _by_frame(args)
    rate, total = _about(args.source, args.every)
    is_folder = args.source.is_dir()
    if is_folder and args.output.resolve() == args.source.resolve():
        raise ValueError(f"frames of {args.source} would be replaced: name another --output")
    examples = read_example_options(args.example, None) or None
    segmenter = load_segmenter(args)
    frames = segmenter.track(
        args.source,
        masks or None,
        examples=examples,
        memory=args.memory,
        min_score=args.min_score,
        every=args.every,
    )
    make_folder(args.output, "--output")
    seen: Counter[int] = Counter()
    names: dict[int, str] = {}
    count = 0
    sound = None if is_folder else args.source
    with TrackWriter(args.output, args.format, rate=rate / args.every, source=sound) as writer:
        for tracked in tqdm(frames, total=total, unit="frame", disable=None, leave=False):
            writer.add(tracked)
            names.update(tracked.objects.names)
            seen.update(number for number in tracked.objects.labels.unique().tolist() if number)
            count += 1
    _say(args, count, [{"id": n, "name": name, "frames": seen[n]} for n, name in names.items()])
    return DONE


def _say(args: argparse.Namespace, count: int, objects: list[dict[str, Any]]) -> None:
    if args.json:
        files = {PNG: args.output, COCO: args.output / COCO_FILE, VIDEO: args.output / VIDEO_FILE}
        about = {"version": __version__, "source": str(args.source), "frames": count}
        written = {name: str(files[name]) for name in args.format}
        say_json({**about, "objects": objects, "files": written})
        return
    say(f"{count} frames followed into {args.output}")
    for each in objects:
        say(f"{each['id']:>4}  {each['name']}: seen on {each['frames']}")


def _by_frame(args: argparse.Namespace) -> dict[int, Path]:
    masks: dict[int, Path] = {}
    for number, path in args.mask:
        if number in masks:
            raise ValueError(f"--mask: {masks[number]} and {path} are both of frame {number}")
        if not path.is_file():
            raise ValueError(f"--mask: {path} does not exist")
        masks[number] = path
    if not masks and not args.example:
        raise ValueError("say what to follow by --mask PNG or --example PHOTO:MASK")
    return masks


def _about(source: Path, every: int) -> tuple[Fraction, int | None]:
    """Frames per second, and how many are taken where it is known.

    Raises:
        ImageError: It is no video.
    """
    if source.is_dir():
        return RATE, -(-len(list(images_in(source))) // every)
    with Video(source) as video:
        return video.rate, video.num_frames and -(-video.num_frames // every)


def _mask(text: str) -> tuple[int, Path]:
    """A frame's number, 0 where none is said, and a file."""
    number, colon, path = text.partition(":")
    if colon and number.isdecimal():
        return int(number), Path(path).expanduser()
    return 0, Path(text).expanduser()


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names or set(names) - set(FORMATS):
        raise argparse.ArgumentTypeError(f"wanted some of {','.join(FORMATS)}, got {text}")
    return names


_MASK_HELP = (
    "objects on a frame (default: on the first, 0), whose numbers are the pixels' values; or one "
    "object in white; FRAME counts those of --every"
)
_EXAMPLE_HELP = "another photo and its mask, or a tuned prompt *.safetensors; may come again"
_FORMAT_HELP = (
    "png: a map of numbers for each frame; coco: tracks.json; overlay: overlay.mp4 (default: all)"
)
_MEMORY_HELP = "earlier frames that are looked at, beside those of masks (default: %(default)s)"
_MIN_SCORE_HELP = "frames that are less sure are not remembered (default: %(default)s)"
