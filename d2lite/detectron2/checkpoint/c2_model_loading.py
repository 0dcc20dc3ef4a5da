"""Matching of weight names between checkpoints and models, Caffe2's names included."""

from __future__ import annotations

import logging
import re
from collections import defaultdict

import torch

__all__ = [
    "align_and_update_state_dicts",
    "convert_basic_c2_names",
    "convert_c2_detectron_names",
]

# (pattern, replacement), applied one after the other. First what backbones have:
_BASIC_NAMES = (
    (r"^pred_(?=[bw]$)", "linear_"),
    (r"_", "."),
    (r"\.b$", ".bias"),
    (r"\.w$", ".weight"),
    (r"bn\.(s|gamma)$", "norm.weight"),
    (r"bn\.(bias|beta)$", "norm.bias"),
    (r"bn\.(rm|running\.mean$)", "norm.running_mean"),
    (r"bn\.(riv|running\.var)$", "norm.running_var"),
    (r"gn\.s$", "norm.weight"),
    (r"gn\.bias$", "norm.bias"),
    (r"^res\.conv1\.norm\.", "conv1.norm."),
    (r"^conv1\.", "stem.conv1."),
    (r"\.branch1\.", ".shortcut."),
    (r"\.branch2a\.", ".conv1."),
    (r"\.branch2b\.", ".conv2."),
    (r"\.branch2c\.", ".conv3."),
    # DensePose
    (r"^body.conv.fcn", "body_conv_fcn"),
    (r"AnnIndex\.lowres", "ann_index_lowres"),
    (r"Index\.UV\.lowres", "index_uv_lowres"),
    (r"([UV])\.lowres", lambda match: f"{match[1].lower()}_lowres"),
)
# Then what detectors have; with FPN, Caffe2 names what all levels share after level 2.
_DETECTOR_NAMES = (
    (r"conv\.rpn(\.fpn2)?", "proposal_generator.rpn_head.conv"),
    (r"rpn\.bbox\.pred(\.fpn2)?", "proposal_generator.rpn_head.anchor_deltas"),
    (r"rpn\.cls\.logits(\.fpn2)?", "proposal_generator.rpn_head.objectness_logits"),
    (r"^bbox\.pred", "bbox_pred"),
    (r"^cls\.score", "cls_score"),
    (r"^fc6\.", "box_head.fc1."),
    (r"^fc7\.", "box_head.fc2."),
    (r"^head\.conv", "box_head.conv"),
    (r"^fpn\.inner\.res(\d+)\..*?(\.norm)?\.(\w+)$", r"fpn_lateral\1\2.\3"),
    (r"^fpn\.res(\d+)\..*?(\.norm)?\.(\w+)$", r"fpn_output\1\2.\3"),
    (r"\.\[mask\]\.fcn", "mask_head.mask_fcn"),
    (r"^\.mask\.fcn", "mask_head.mask_fcn"),
    (r"mask\.fcn\.logits", "mask_head.predictor"),
    (r"conv5\.mask", "mask_head.deconv"),
    (r"conv\.fcn", "roi_heads.keypoint_head.conv_fcn"),
    (r"kps\.score\.lowres", "roi_heads.keypoint_head.score_lowres"),
    (r"kps\.score\.", "roi_heads.keypoint_head.score."),
)


def convert_basic_c2_names(original_keys):
    """Return the Detectron2 names for Caffe2's names of a backbone's weights, in order."""
    return [_rename(key, _BASIC_NAMES) for key in original_keys]


def convert_c2_detectron_names(weights):
    """Rename Caffe2's weights and put the background class where Detectron2 has it, or drop it.

    Args:
        weights: ``{Caffe2's name: tensor}``.

    Returns:
        ``{Detectron2's name: tensor}`` and ``{Detectron2's name: Caffe2's name}``.
    """
    logging.getLogger(__name__).info("Renaming Caffe2 weights ......")
    original_names = {}
    for original, basic in zip(sorted(weights), convert_basic_c2_names(sorted(weights))):
        name = _rename(basic, _DETECTOR_NAMES)
        assert name not in original_names, f"{original} and {original_names[name]} become {name}"
        original_names[name] = original
    converted = {
        name: _without_first_background(name, weights[original])
        for name, original in original_names.items()
    }
    return converted, original_names


def _rename(name, rules):
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _without_first_background(name, weight):
    """Caffe2 has the background as class 0; Detectron2 has it last or not at all."""
    if name.startswith("bbox_pred."):
        return weight[4:]
    if name.startswith("mask_head.predictor."):
        return weight[1:]
    if name.startswith("cls_score."):
        return torch.cat([weight[1:], weight[:1]])
    return weight


def align_and_update_state_dicts(model_state_dict, ckpt_state_dict, c2_conversion=True):
    """Rename a checkpoint's weights to the names of a model.

    A weight belongs to the model's names that are equal to its own or end in a dot and its own;
    where several weights would fit, the longest name wins. Weights of another shape are left out.

    Args:
        model_state_dict: state dict of the model.
        ckpt_state_dict: that of the checkpoint.
        c2_conversion: the checkpoint has Caffe2's names.

    Returns:
        The checkpoint's weights under the model's names, and unmatched ones under their own.
    """
    logger = logging.getLogger(__name__)
    original_names = {name: name for name in ckpt_state_dict}
    if c2_conversion:
        ckpt_state_dict, original_names = convert_c2_detectron_names(ckpt_state_dict)

    matches = {}  # name in the checkpoint: name in the model
    for model_name in sorted(model_state_dict):
        name = _longest_suffix(model_name, ckpt_state_dict)
        if name is None:
            continue
        shape, wanted = ckpt_state_dict[name].shape, model_state_dict[model_name].shape
        if shape != wanted:
            logger.warning(
                f"{name} of shape {tuple(shape)} in the checkpoint is not loaded: "
                f"{model_name} has shape {tuple(wanted)} in the model"
            )
            continue
        if name in matches:
            logger.error(
                f"{name} of the checkpoint fits both {matches[name]} and {model_name} of the model"
            )
            raise ValueError("Cannot match one checkpoint key to multiple keys in the model.")
        matches[name] = model_name

    if not matches:
        logger.warning("No weights in checkpoint matched with model.")
        return ckpt_state_dict
    _log_matches(logger, matches, original_names, model_state_dict)
    aligned = {model_name: ckpt_state_dict[name] for name, model_name in matches.items()}
    for name in sorted(ckpt_state_dict):
        if name not in matches:
            aligned[name] = ckpt_state_dict[name]
    return aligned


def _longest_suffix(name, names):
    """Return the longest of ``names`` that is ``name`` or its end behind a dot."""
    parts = name.split(".")
    candidates = (".".join(parts[i:]) for i in range(len(parts)))
    return next((c for c in candidates if c in names), None)


def _log_matches(logger, matches, original_names, model_state_dict):
    """Log one line per module: its parameters, their names in the checkpoint, their shapes."""
    prefix = _longest_common_prefix(list(matches.values()))
    modules = defaultdict(list)
    for name, model_name in matches.items():
        modules[model_name.rpartition(".")[0]].append((name, model_name))
    rows = []
    for module, pairs in sorted(modules.items()):
        leaves = ",".join(model_name.rpartition(".")[2] for _, model_name in pairs)
        sources = _group_str([original_names[name] for name, _ in pairs])
        shapes = " ".join(
            str(tuple(model_state_dict[model_name].shape)).replace(" ", "")
            for _, model_name in pairs
        )
        rows.append(f"  {f'{module}.'[len(prefix) :]}{{{leaves}}} <- {sources} {shapes}")
    logger.info(
        f"Following weights matched with submodule {prefix[:-1] or 'model'} - "
        f"Total num: {len(matches)}\n" + "\n".join(rows)
    )


def _longest_common_prefix(names):
    """Return the leading modules that all names share, with a dot: ["a.b", "a.c"] -> "a."."""
    modules = _common_start([name.split(".") for name in names])
    return ".".join(modules) + "." if modules else ""


def _longest_common_prefix_str(names):
    """Return the leading characters that all names share."""
    return _common_start(names)


def _common_start(sequences):
    first, last = min(sequences), max(sequences)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


def _group_str(names):
    """Write names with a common start once: ["x_a", "x_b"] -> "x_{a,b}"."""
    start = _longest_common_prefix_str(names)
    return f"{start}{{{','.join(name[len(start) :] for name in names)}}}"
