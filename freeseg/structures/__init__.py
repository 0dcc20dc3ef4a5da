"""Small data classes at the boundaries between parts."""

from freeseg.structures.class_list import ClassEntry, read_class_entries
from freeseg.structures.class_rows import (
    CLASSES_FILE,
    CLASSES_KEY,
    class_rows,
    read_class_rows,
    vocabulary_of_rows,
)
from freeseg.structures.detectron2_dicts import (
    ALTERNATIVES_KEY,
    CAPTION_KEY,
    CERTAINTY_KEY,
    DATASET_KEY,
    EXAMPLES_KEY,
    IDS_KEY,
    LABEL_MAP_KEY,
    OUTPUT_KEYS,
    PHRASES_KEY,
    PROMPT_KEY,
    VOID_KEY,
    Sample,
    read_frame,
    read_output,
    read_request,
    read_sample,
    refuse_prompt,
    write_result,
)
from freeseg.structures.everything import EverythingSettings
from freeseg.structures.examples import Enrolled, Example, LearnedExample
from freeseg.structures.features import ImageFeatures, PyramidFeatures, sizes_of
from freeseg.structures.frame import Frame, Size
from freeseg.structures.marks import Marks
from freeseg.structures.predictions import (
    DecoderOutput,
    EmbeddedMasks,
    LayerPrediction,
    MaskPrediction,
)
from freeseg.structures.queries import ANYONE, QueryGroup, QuerySet, TokenGroup
from freeseg.structures.requests import (
    Prompt,
    Request,
    Takes,
    Wants,
    answered_tasks,
    read_tasks,
    refuse_unanswered,
    takes_classes,
)
from freeseg.structures.results import (
    InstanceSet,
    PanopticMap,
    Segment,
    SegmentationResult,
    SemanticMap,
)
from freeseg.structures.runs import Runs, Window
from freeseg.structures.targets import SegmentationTarget, labels_in
from freeseg.structures.vocabulary import Vocabulary
from freeseg_command.tasks import JUDGED_TASKS, Task

__all__ = [
    "ALTERNATIVES_KEY",
    "ANYONE",
    "CAPTION_KEY",
    "CERTAINTY_KEY",
    "CLASSES_FILE",
    "CLASSES_KEY",
    "DATASET_KEY",
    "EXAMPLES_KEY",
    "IDS_KEY",
    "JUDGED_TASKS",
    "LABEL_MAP_KEY",
    "OUTPUT_KEYS",
    "PHRASES_KEY",
    "PROMPT_KEY",
    "VOID_KEY",
    "ClassEntry",
    "DecoderOutput",
    "EmbeddedMasks",
    "Enrolled",
    "EverythingSettings",
    "Example",
    "Frame",
    "ImageFeatures",
    "InstanceSet",
    "LayerPrediction",
    "LearnedExample",
    "Marks",
    "MaskPrediction",
    "PanopticMap",
    "Prompt",
    "PyramidFeatures",
    "QueryGroup",
    "QuerySet",
    "Request",
    "Runs",
    "Sample",
    "Segment",
    "SegmentationResult",
    "SegmentationTarget",
    "SemanticMap",
    "Size",
    "Takes",
    "Task",
    "TokenGroup",
    "Vocabulary",
    "Wants",
    "Window",
    "answered_tasks",
    "class_rows",
    "labels_in",
    "read_class_entries",
    "read_class_rows",
    "read_frame",
    "read_output",
    "read_request",
    "read_sample",
    "read_tasks",
    "refuse_prompt",
    "refuse_unanswered",
    "sizes_of",
    "takes_classes",
    "vocabulary_of_rows",
    "write_result",
]
