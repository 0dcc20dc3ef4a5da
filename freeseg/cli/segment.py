"""`freeseg segment`: photos, folders of photos, patterns and videos."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from freeseg.cli.annotations import FolderAnnotations
from freeseg.cli.examples import Question, read_example_options
from freeseg.cli.model_choice import load_segmenter
from freeseg.cli.photos import find_photos, is_video, what_is_nested
from freeseg.cli.video import segment_video, video_target
from freeseg.data.examples import AnyExample
from freeseg.data.photos import Photo, unique_stems
from freeseg.images import ImageError
from freeseg.segmenter import Segmenter
from freeseg.session import choose_tasks
from freeseg.visualization import Segmentation
from freeseg.visualization.export import picture_keys
from freeseg.visualization.summary import describe, summarize
from freeseg.zoo import DEFAULT_MODEL
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
from freeseg_command.names import ALL_FORMATS, ANNOTATIONS, choose_formats
from freeseg_command.tasks import Task


@dataclass
class _Outcome:
    """What became of the photos, in their order."""

    done: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


def run(args: argparse.Namespace) -> int:
    """Segments what the arguments name."""
    out, photos = Path(args.out), find_photos(args.photos)
    examples = _examples(args)
    segmenter = load_segmenter(args)
    enrolled = segmenter.enroll(examples) if examples else None
    _require_examples(segmenter, examples)
    tasks = (Task.OBJECT,) if examples else choose_tasks(args.task, segmenter.tasks)
    args.task = args.task or tasks[0]
    formats = choose_formats(args.format, tasks, ALL_FORMATS)
    annotations = None
    if ANNOTATIONS in formats:
        annotations = FolderAnnotations(args.photos, out, args.min_score)
        formats = tuple(name for name in formats if name != ANNOTATIONS)
        args.format = formats
        photos = annotations.leave_out(photos, has_other_formats=bool(formats))
    targets = _targets(photos, out, formats, picture_keys(formats, tasks))
    _refuse_replacing(photos, targets + (annotations.targets(photos) if annotations else []))
    make_folder(out, "--out")
    if args.text is not None:  # a list that cannot be used is no photo's fault
        segmenter.vocabulary = args.text
    if segmenter.knows and not args.json:
        say(f"{args.model or args.config_file or DEFAULT_MODEL} knows {segmenter.knows}")
    question = Question(segmenter, args.task, enrolled)
    outcome = _segment_all(photos, question, out, args, annotations)
    _say_outcome(outcome, out, args, annotations.save() if annotations else {})
    return SOME_FAILED if outcome.failed else DONE


def _examples(args: argparse.Namespace) -> tuple[AnyExample, ...]:
    """What --example shows.

    Raises:
        ValueError: It cannot be read, or something else is asked for beside it.
    """
    if not args.example:
        if args.names is not None:
            raise ValueError("--names are of the masks of --example PHOTO:MASK, and there is none")
        return ()
    for option in ("task", "text"):
        if getattr(args, option) is not None:
            raise ValueError(f"--example asks for the objects that it shows, without --{option}")
    return read_example_options(args.example, args.names)


def _require_examples(segmenter: Segmenter, examples: Sequence[AnyExample]) -> None:
    """Refuses to ask a model nothing that has to be shown examples."""
    answers = getattr(segmenter.model, "answers", None) or {}
    if not examples and any("examples" in takes.needs for takes in answers.values()):
        raise ValueError(
            f"{type(segmenter.model).__name__} follows examples: show some by --example PHOTO:MASK"
        )


def _say_outcome(
    outcome: _Outcome, out: Path, args: argparse.Namespace, annotations: dict[str, Any]
) -> None:
    if args.json:
        summary = {"version": __version__, "task": args.task, "results": outcome.done}
        more = {"annotations": annotations} if annotations else {}
        say_json({**summary, **more, "failed": outcome.failed})
    else:
        say(f"{_counted(outcome.done)} segmented into {out}")
        for path in annotations.get("files", {}).values():
            say(f"{path}: one annotation file, of photos in {annotations['image_root']}")
    if outcome.failed:
        complain(f"{len(outcome.failed)} of {len(outcome.done) + len(outcome.failed)} failed")


def _targets(
    photos: Sequence[Photo], out: Path, formats: Sequence[str], pictures: Sequence[str]
) -> list[Path]:
    """The pictures and videos that are written."""
    targets: list[Path] = []
    for photo, stem in zip(photos, unique_stems(photos)):
        if is_video(photo):
            targets += [video_target(out / stem)] if "overlay" in formats else []
        else:
            targets += [out / f"{stem}_{key}.png" for key in pictures]
    return targets


def _refuse_replacing(photos: Sequence[Photo], targets: Sequence[Path]) -> None:
    """Refuses a folder in which what is written would replace a photo or a video that is read."""
    sources = {photo.resolve() for photo in photos if isinstance(photo, Path)}
    for target in targets:
        if target.resolve() in sources:
            raise ValueError(f"{target} would be replaced: name another folder with --out")


def _segment_all(
    photos: Sequence[Photo],
    question: Question,
    out: Path,
    args: argparse.Namespace,
    annotations: FolderAnnotations | None,
) -> _Outcome:
    outcome = _Outcome()
    stems = unique_stems(photos)
    progress = tqdm(photos, unit="file", disable=None, leave=False)  # None: not into a file
    for number, (photo, stem) in enumerate(zip(progress, stems), start=1):
        try:
            if is_video(photo):
                entry = segment_video(Path(photo), question, out / stem, args)
            else:
                result = question.ask(photo)
                entry = _saved(result, photo, out, stem, number, args)
                if annotations is not None:
                    annotations.add(photo, result)
        except (ImageError, OSError, MemoryError, RuntimeError) as error:
            line = _failure(photo, error)
            outcome.failed.append({"photo": str(photo), "error": line})
            with tqdm.external_write_mode(file=sys.stderr):
                complain(printable(line))
            continue
        shown = entry.pop("shown")
        outcome.done.append(entry)
        if not args.json:
            tqdm.write(printable(f"{photo}: {shown}"), sys.stdout)
    return outcome


def _counted(done: Sequence[dict[str, Any]]) -> str:
    """Says how many photos and how many videos there are; of neither, how many photos."""
    num_videos = sum("frames" in entry for entry in done)
    counts = {"photo": len(done) - num_videos, "video": num_videos}
    parts = [f"{count} {kind}{'s' * (count != 1)}" for kind, count in counts.items() if count]
    return " and ".join(parts) or "0 photos"


def _saved(
    result: Segmentation, photo: Photo, out: Path, stem: str, number: int, args: argparse.Namespace
) -> dict[str, Any]:
    """What the summary says of a photo, after its files are written."""
    paths: dict[str, Path] = {}
    if args.format != ():  # with nothing but annotations of all
        paths = result.save(
            out, stem, image_id=number, min_score=args.min_score, formats=args.format
        )
    shown = describe(result, args.min_score)
    if paths:
        first, *others = paths.values()
        shown += f" -> {', '.join([str(first), *(path.name for path in others)])}"
    return {
        "photo": str(photo),
        "height": result.image.shape[0],
        "width": result.image.shape[1],
        "image_id": number,
        "knows": result.knows,
        "certainty": result.certainty,
        "unsure": result.is_unsure,
        "found": summarize(result, args.min_score),
        "files": {key: str(path) for key, path in paths.items()},
        "shown": shown,
    }


def _failure(photo: Photo, error: Exception) -> str:
    """Returns the line that says why a photo failed; what is no fault of it is raised again."""
    if isinstance(error, ImageError):
        is_pattern = isinstance(photo, Path) and glob.has_magic(str(photo))
        if is_pattern and not Path(photo).exists():
            return f"{photo}: no file matches this pattern"
        # a folder that holds images was replaced by them
        if not Path(photo).is_dir():
            return str(error)
        return f"{photo}: holds no image files{what_is_nested(Path(photo))}"
    if isinstance(error, OSError):
        return f"{photo}: its results cannot be written ({error.strerror or error})"
    # PyTorch has a class of its own for a full GPU and none for a full main memory
    is_full = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    if is_full or "allocate memory" in str(error):
        return f"{photo}: too large for the memory of this machine"
    raise error
