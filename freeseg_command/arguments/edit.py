"""`freeseg edit`: what words name goes out of a photo, or something else comes in its place."""

from __future__ import annotations

import argparse

from freeseg_command.arguments.model_choice import add_model_options
from freeseg_command.messages import EXIT_CODES, natural, positive, share
from freeseg_command.names import DEFAULT_PAINTER

_EPILOG = f"""examples:
  freeseg edit photo.jpg --text car --remove
  freeseg edit photo.jpg --text car --replace 'a red tractor' --seed 3 --out tractor.png
  freeseg edit photo.jpg --model grounding-dino-swin-t+sam-vit-b \\
      --text dog --best --replace 'a cat'
  freeseg edit photo.jpg --text automobile --among 'road: stuff, tree: stuff, bus' --remove

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Takes what words name out of a photo, or paints something else there. All other pixels "
        "are the photo's: it is written as PNG, upright, in 8 bits, transparency composited on "
        "white."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.edit:run")
    add = parser.add_argument
    add("photo", metavar="PHOTO", help="a file or a web address")
    add("--text", required=True, metavar="LIST", help=_TEXT_HELP)
    change = parser.add_mutually_exclusive_group(required=True)
    change.add_argument("--remove", action="store_true", help=_REMOVE_HELP)
    change.add_argument("--replace", metavar="WORDS", help=_REPLACE_HELP)
    add("--out", metavar="FILE", help="a .png file (default: output/edit/ and the photo's name)")
    add("--among", metavar="LIST", help=_AMONG_HELP)
    add("--min-score", type=share, metavar="S", help=_MIN_SCORE_HELP)
    add("--best", action="store_true", help="of each name only what has the highest score")
    add("--grow", type=natural, default=8, metavar="N", help=_GROW_HELP)
    add_model_options(parser)
    painting = parser.add_argument_group("of --replace")
    painting.add_argument("--painter", metavar="NAME", help=_PAINTER_HELP)
    painting.add_argument("--seed", type=natural, metavar="N", help=_SEED_HELP)
    painting.add_argument("--steps", type=positive, metavar="N", help=_STEPS_HELP)
    add("--json", action="store_true", help="print a summary as JSON to standard output")


_TEXT_HELP = (
    'what to change: "car|automobile, sky: stuff", a text or JSON file, or a dataset\'s name; of '
    "models with classes of their own some of these"
)
_REMOVE_HELP = "fill its place from around it (OpenCV's inpainting; nothing is downloaded)"
_REPLACE_HELP = (
    "paint these words there, once for each object (needs: pip install 'freeseg[diffusers]')"
)
_AMONG_HELP = (
    "what else may be in the photo, of open-vocabulary models: classes of a list compete for "
    "pixels (default: the model's own classes, where it has any)"
)
_MIN_SCORE_HELP = "change what has this score (default: 0.5, of two models 0.3)"
_GROW_HELP = "pixels by which masks grow (default: %(default)s)"
_PAINTER_HELP = (
    "an inpainting pipeline of diffusers: owner/name on Hugging Face's hub, or a folder, which "
    f"never touches the net (default: {DEFAULT_PAINTER}, whose weights, about 5.5 GB, are "
    "downloaded once)"
)
_SEED_HELP = "another number paints something else (default: 0)"
_STEPS_HELP = "of the painter's schedule: fewer are faster and rougher (default: the painter's own)"
