"""How well CLIP names annotated segments: what FreeSeg's prompts are trained for.

Shapes: N segments, K classes, D feature width, H W image size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from freeseg.modeling import class_logits
from freeseg.structures import JUDGED_TASKS, Vocabulary
from freeseg.systems.freeseg.crops import MaskCrops, crop_features, require_image_tower
from freeseg.text import ClipAdapter


def measure_naming(
    adapter: ClipAdapter,
    crops: MaskCrops,
    photos: Iterable[tuple[Tensor, Tensor, Tensor]],
    vocabulary: Vocabulary,
) -> dict[str, dict[str, float]]:
    """Percentages of segments whose best text is their own class's, by group and task.

    Args:
        adapter: With an image tower.
        crops: How segments are shown to it.
        photos: Of each: image RGB [3, H, W], 0..255, bool masks [N, H, W] and classes int64 [N].
        vocabulary: The K classes; unless they are flagged, all are seen.

    Returns:
        For "seen things", "seen stuff", "unseen things" and "unseen stuff", those that have any:
        the number of ``regions``, and per task the percentage, whose texts may differ.
    """
    tower = require_image_tower(adapter.clip_model)
    features, classes = [], []
    for image, masks, labels in photos:
        found, is_shown = crop_features(tower, image, masks, crops)
        features.append(found)
        classes.append(labels[is_shown])
    segments, truth = torch.cat(features), torch.cat(classes)
    is_right = {}
    for task in JUDGED_TASKS:
        text = adapter.class_features(vocabulary.texts, task)
        is_right[task] = class_logits(vocabulary, segments, text).argmax(-1) == truth
    return {
        name: {
            "regions": int(chosen.sum()),
            **{task: 100 * float(right[chosen].float().mean()) for task, right in is_right.items()},
        }
        for name, chosen in _groups(vocabulary, truth).items()
        if chosen.any()
    }


def naming_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown table, a row per group."""
    lines = [
        f"| | regions | {' | '.join(JUDGED_TASKS)} |",
        "| --- " + "| ---: " * (len(JUDGED_TASKS) + 1) + "|",
    ]
    for name, row in results.items():
        shares = " | ".join(f"{row[task]:.1f}" for task in JUDGED_TASKS)
        lines.append(f"| {name} | {row['regions']} | {shares} |")
    return "\n".join(lines)


def _groups(vocabulary: Vocabulary, truth: Tensor) -> dict[str, Tensor]:
    """Which segments [N] belong to which group of classes."""
    is_seen = vocabulary.is_seen or [True] * len(vocabulary)
    seen, thing = (
        torch.tensor(each, device=truth.device)[truth] for each in (is_seen, vocabulary.is_thing)
    )
    return {
        f"{known} {kind}": (seen if known == "seen" else ~seen)
        & (thing if kind == "things" else ~thing)
        for known in ("seen", "unseen")
        for kind in ("things", "stuff")
    }
