"""Small data classes at the boundaries between parts."""

from freeseg.structures.class_list import ClassEntry, read_classes
from freeseg.structures.class_rows import (
    CLASSES_FILE,
    CLASSES_KEY,
    class_rows,
    read_class_rows,
    vocabulary_of_rows,
)
from freeseg.structures.features import ImageFeatures, sizes_of
from freeseg.structures.frame import Frame
from freeseg.structures.marks import Marks
from freeseg.structures.predictions import (
    DecoderOutput,
    EmbeddedMasks,
    LayerPrediction,
    MaskPrediction,
)
from freeseg.structures.queries import ANYONE, QueryGroup, QuerySet, TokenGroup
from freeseg.structures.results import InstanceSet, PanopticMap, Segment, SegmentationResult
from freeseg.structures.targets import SegmentationTarget, labels_in
from freeseg.structures.tasks import CERTAINTY_KEY, DATASET_KEY, LABEL_MAP_KEY, TASKS
from freeseg.structures.vocabulary import Vocabulary

__all__ = [
    "ANYONE",
    "CERTAINTY_KEY",
    "CLASSES_FILE",
    "CLASSES_KEY",
    "DATASET_KEY",
    "LABEL_MAP_KEY",
    "TASKS",
    "ClassEntry",
    "DecoderOutput",
    "EmbeddedMasks",
    "Frame",
    "ImageFeatures",
    "InstanceSet",
    "LayerPrediction",
    "Marks",
    "MaskPrediction",
    "PanopticMap",
    "QueryGroup",
    "QuerySet",
    "Segment",
    "SegmentationResult",
    "SegmentationTarget",
    "TokenGroup",
    "Vocabulary",
    "class_rows",
    "labels_in",
    "read_class_rows",
    "read_classes",
    "sizes_of",
    "vocabulary_of_rows",
]
