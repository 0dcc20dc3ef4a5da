"""From logits to segmentations, without a model."""

from freeseg.inference.assemble import Thresholds, assemble, semantic_scores
from freeseg.inference.augmented import AugmentedSemantic
from freeseg.inference.batching import groups_by_size
from freeseg.inference.certainty import dense_certainty, photo_certainty
from freeseg.inference.class_map import assemble_by_class_map
from freeseg.inference.input_size import InputSize, build_resize
from freeseg.inference.mask_answers import MaskAnswers
from freeseg.inference.painting import Resizing
from freeseg.inference.photo_input import PhotoInput
from freeseg.inference.resize import crop_and_resize, resize_result, to_padded_size, upsample
from freeseg.inference.sliding import SlidingWindow
from freeseg.inference.tiled_assembly import assemble_in_tiles, best_labels, class_scores
from freeseg.inference.tiles import is_out_of_memory, segment_in_tiles, segment_within_memory
from freeseg.ops import mask_boxes

__all__ = [
    "AugmentedSemantic",
    "InputSize",
    "MaskAnswers",
    "PhotoInput",
    "Resizing",
    "SlidingWindow",
    "Thresholds",
    "assemble",
    "assemble_by_class_map",
    "assemble_in_tiles",
    "best_labels",
    "build_resize",
    "class_scores",
    "crop_and_resize",
    "dense_certainty",
    "groups_by_size",
    "is_out_of_memory",
    "mask_boxes",
    "photo_certainty",
    "resize_result",
    "segment_in_tiles",
    "segment_within_memory",
    "semantic_scores",
    "to_padded_size",
    "upsample",
]
