"""From logits to segmentations, without a model."""

from freeseg.inference.assemble import Thresholds, assemble, check_tasks, semantic_scores
from freeseg.inference.augmented import AugmentedSemantic
from freeseg.inference.batching import groups_by_padded_size
from freeseg.inference.certainty import dense_certainty, photo_certainty, without_padding
from freeseg.inference.class_map import assemble_by_class_map
from freeseg.inference.ensemble import RegionEnsemble, binary_masks, geometric_ensemble
from freeseg.inference.label_map import label_map, to_size, upsample
from freeseg.inference.painting import Resizing
from freeseg.inference.prompt_tuning import PromptTuner, TuningSettings, tune_class_tokens
from freeseg.inference.resize import crop_and_resize, resize_result
from freeseg.inference.sliding import SlidingWindow
from freeseg.inference.tiled_assembly import assemble_in_tiles, best_labels, class_scores
from freeseg.inference.tiles import is_out_of_memory, segment_in_tiles, segment_within_memory
from freeseg.ops import mask_boxes

__all__ = [
    "AugmentedSemantic",
    "PromptTuner",
    "RegionEnsemble",
    "Resizing",
    "SlidingWindow",
    "Thresholds",
    "TuningSettings",
    "assemble",
    "assemble_by_class_map",
    "assemble_in_tiles",
    "best_labels",
    "binary_masks",
    "check_tasks",
    "class_scores",
    "crop_and_resize",
    "dense_certainty",
    "geometric_ensemble",
    "groups_by_padded_size",
    "is_out_of_memory",
    "label_map",
    "mask_boxes",
    "photo_certainty",
    "resize_result",
    "segment_in_tiles",
    "segment_within_memory",
    "semantic_scores",
    "to_size",
    "tune_class_tokens",
    "upsample",
    "without_padding",
]
