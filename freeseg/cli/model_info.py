"""`freeseg info` and `freeseg convert`: what a checkpoint is, and the same in another form."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from freeseg.checkpoints import KEY_MAPS
from freeseg.zoo import convert_model, describe_model
from freeseg_command.messages import DONE, say, say_json
from freeseg_command.table import figures


def add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `freeseg convert` to its parser."""
    parser.description = (
        "With an output that ends with .pth or .safetensors, writes the weights under this "
        "package's names. With any other, writes a folder that needs nothing else: configuration, "
        "weights, class names; `--model FOLDER` and Segmenter.from_pretrained read it."
    )
    parser.epilog = "systems: " + ", ".join(KEY_MAPS)
    parser.set_defaults(run="freeseg.cli.model_info:convert")
    add = parser.add_argument
    add("source", metavar="MODEL", help="name, folder, or checkpoint")
    add("--output", required=True, metavar="PATH", help=".pth or .safetensors file, or folder")
    add("--from", dest="system", choices=sorted(KEY_MAPS), help="default: seen from the names")
    add("--half", action="store_true", help="half-precision values, in half the room")
    keep = "only weights whose new names begin so: backbone. sem_seg_head.pixel_decoder."
    add("--keep", nargs="+", default=[], metavar="PREFIX", help=keep)
    add("--json", action="store_true", help="print what was done as JSON, with all names")


def show_info(args: argparse.Namespace) -> int:
    """Prints what is known of a model."""
    about = describe_model(args.model)
    weights = about["weights"]
    if weights and not args.keys:
        weights.pop("keys")
    if args.json:
        say_json(about)
        return DONE
    lines: dict[str, str | None] = {
        "model": about["model"],
        **(_weights_lines(weights) if weights else {"weights": _fetch_hint(about["model"])}),
        **{key: about.get(key) for key in ("system", "backbone", "data", "licence", "source")},
        "knows": about.get("knows"),
        "takes": "any words" if about.get("takes_text") else None,
        "unsure": f"below {about['unsure_below']:g}" if about.get("unsure_below") else None,
        **_settings_lines(about.get("settings", {})),
        "figures": figures(about.get("metrics", {})),
        "parity": about.get("parity"),
        "remark": about.get("remark"),
    }
    for key, value in lines.items():
        if value:
            say(f"{key:<11} {value}")
    for part, count in (weights or {}).get("parts", {}).items():
        say(f"{'part':<11} {part}: {count:,} values")
    for key, shape in (weights or {}).get("keys", {}).items():
        say(f"  {key} {shape}")
    return DONE


def _settings_lines(settings: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What the configuration says, with where it says it."""
    shown = {key: one["value"] for key, one in settings.items()}
    if "classes" in shown:
        count = len(shown["classes"])
        shown["things"] = f"{shown['things'] or 'none'} of the {count} classes"
        if settings["things"]["value"] == count:
            shown["things"] = f"all {count} classes"
        shown["classes"] = ", ".join(shown["classes"])
    return {key: f"{value} ({settings[key]['from']})" for key, value in shown.items()}


def _weights_lines(weights: dict[str, Any]) -> dict[str, str]:
    return {
        "file": f"{weights['file']} ({weights['bytes'] / 1e6:.1f} MB)",
        "sha256": weights["sha256"],
        "names as in": weights["release"] or "this package, or unknown",
        "tensors": f"{weights['tensors']:,} with {weights['parameters']:,} values"
        f" ({', '.join(weights['dtypes'])})",
        "problem": weights["problem"],
    }


def _fetch_hint(model: str) -> str:
    return f"not on this machine; freeseg models --fetch {model} downloads them or says how"


def convert(args: argparse.Namespace) -> int:
    """Writes the model."""
    output = Path(args.output)
    done = convert_model(args.source, output, args.system, half=args.half, keep=args.keep)
    if args.json:
        say_json(done)
        return DONE
    changed = ""
    if "renamed" in done:
        changed = f", {len(done['renamed'])} renamed, {len(done['left_out'])} left out"
    say(f"{done['output']}: {done['tensors']} tensors{changed}")
    return DONE
