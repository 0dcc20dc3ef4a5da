"""`freeseg segment`: photos, folders of photos, patterns and videos."""

from __future__ import annotations

import argparse

from freeseg_command.arguments.model_choice import add_model_options
from freeseg_command.messages import EXIT_CODES, positive
from freeseg_command.messages import share as share_of_one
from freeseg_command.names import ALL_FORMATS, USUAL_FORMATS, choose_formats
from freeseg_command.tasks import SHOWN_TASKS

_EPILOG = f"""examples:
  freeseg segment photo.jpg --out results
  freeseg segment holiday/ 'more/**/*.png' --task all --format overlay,coco,html
  freeseg segment photo.jpg --model MODEL --text 'car|automobile, cyclist, sky: stuff'
  freeseg segment drive.mp4 --every 2
  freeseg segment photos/ --model MODEL --example other.jpg:mask.png --names 'mug, plate'
  freeseg segment photo.jpg --json > summary.json
  freeseg segment photos/ --task instance --format annotations --out predicted
  freeseg segment photo.jpg --config-file CONFIG --weights WEIGHTS \\
      --opts MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD 0.3 INPUT.MIN_SIZE_TEST 512

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Segments photos and writes, for each, an overlay with a legend, label maps and COCO JSON, "
        "or one COCO annotation file for all. EXIF orientation is applied, transparency is "
        "composited on white. Of a video, one with the segments drawn in is written."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.segment:run")
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help=_PHOTO_HELP)
    add_model_options(parser)
    add("--task", choices=(*SHOWN_TASKS, "all"), help="default: panoptic, or the first that it has")
    add("--text", "--classes", metavar="LIST", help=_TEXT_HELP)
    add("--example", action="append", default=[], metavar="PHOTO:MASK", help=_EXAMPLE_HELP)
    add("--names", metavar="LIST", help=_NAMES_HELP)
    add("--out", default="output/segment", metavar="DIR", help="default: %(default)s")
    add("--format", type=_formats, metavar="LIST", help=_FORMAT_HELP)
    add("--min-score", default=0.5, type=share_of_one, metavar="S", help=_MIN_SCORE_HELP)
    add("--every", default=1, type=positive, metavar="N", help="of a video, every N-th frame")
    add("--json", action="store_true", help="print a summary as JSON to standard output")


def _formats(text: str) -> tuple[str, ...]:
    try:
        return choose_formats(text, known=ALL_FORMATS)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_PHOTO_HELP = "photo, video, folder of them, quoted pattern, web address of a photo"
_EXAMPLE_HELP = (
    "of models that follow examples: another photo and its mask, whose pixels are numbers of "
    "objects, or one is white; or a tuned prompt *.safetensors; may come again"
)
_NAMES_HELP = "what the numbers 1, 2, ... in the masks of --example are called"
_FORMAT_HELP = (
    f"what to write, of {','.join(ALL_FORMATS)} (default: of a photo {','.join(USUAL_FORMATS)}, "
    "of a video overlay); annotations: one COCO file per task for all photos, to correct and train "
    "on, with instances from --min-score on"
)
_MIN_SCORE_HELP = (
    "draw and list instances from this score on; files have all (default: %(default)s)"
)
_TEXT_HELP = (
    'what to look for, of open-vocabulary models: "car|automobile, sky: stuff", a text or JSON '
    "file, or a dataset's name (default: the model's own classes)"
)
