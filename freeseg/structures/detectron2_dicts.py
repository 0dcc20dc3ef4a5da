"""The border: what Detectron2's dicts mean, in and out. No other module knows their keys.

Shapes: N instances, K classes, h w image size, H W padded size or output size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from detectron2.structures import Boxes, Instances
from freeseg.structures.examples import Example
from freeseg.structures.frame import Frame
from freeseg.structures.requests import Prompt, Request, Wants, read_tasks
from freeseg.structures.results import (
    InstanceSet,
    PanopticMap,
    Segment,
    SegmentationResult,
    SemanticMap,
)
from freeseg.structures.targets import SegmentationTarget, labels_in
from freeseg.structures.vocabulary import Vocabulary
from freeseg_command.tasks import Task

# keys beyond Detectron2's
DATASET_KEY = "dataset_name"  # of a training input: whose label list it is judged by
LABEL_MAP_KEY = "label_map"  # of a test input: True asks for semantic labels [H, W], not scores
CERTAINTY_KEY = "certainty"  # of a test input: True asks how sure the model is; of an output: that
ALTERNATIVES_KEY = "alternatives"  # of a test input: False asks for answers to marks alone
CAPTION_KEY = "caption"  # of a training input: what was said about the image
PHRASES_KEY = "phrases"  # of one with a caption: for every instance its (first, behind) in it
EXAMPLES_KEY = "examples"  # of a training input: `Example`s that it is to be read by
IDS_KEY = "gt_ids"  # field of its instances: which mask of an example each is
VOID_KEY = "void"  # of one: pixels of it and of its examples without annotation
PROMPT_KEY = "prompt"  # of a test input: a `Prompt`, whose marks are in its height x width pixels

# task -> what a model's output calls its result
OUTPUT_KEYS = {
    Task.SEMANTIC: "sem_seg",
    Task.INSTANCE: "instances",
    Task.PANOPTIC: "panoptic_seg",
    Task.OBJECT: "objects",
}


@dataclass(frozen=True, eq=False)
class Sample:
    """One annotated image.

    Attributes:
        image: [3, h, w], 0..255.
        task: That its instances were derived for; None where nobody said.
        dataset: Whose label list it is judged by; None: that of the first training set.
        instances: Detectron2's, with ``gt_classes`` and ``gt_masks``; else None.
        label_map: int64 [h, w], where there are no instances.
        ignore_label: Of pixels without annotation in it.
        caption: What was said about its objects; None: their labels are of a class list.
        phrases: For every instance the characters (first, behind) of the caption that mean it.
        examples: K pictures with masks, all h x w, that the image is to be read by.
        ids: int64 [N], those of the examples' masks that its instances follow; None: of nobody's.
        void: Bool [1 + K, h, w], pixels without annotation, the image's and then the examples';
            None: nobody said.
    """

    image: Tensor
    task: str | None
    dataset: str | None
    instances: Instances | None
    label_map: Tensor | None
    ignore_label: int
    caption: str | None = None
    phrases: tuple[tuple[tuple[int, int], ...], ...] | None = None
    examples: tuple[Example, ...] = ()
    ids: Tensor | None = None
    void: Tensor | None = None

    def labels(self) -> Tensor:
        """Labels int64 [N] of its targets."""
        if self.instances is not None:
            return self.instances.gt_classes
        assert self.label_map is not None
        return labels_in(self.label_map, self.ignore_label)

    def target(self, padded_size: tuple[int, int], device: torch.device) -> SegmentationTarget:
        """Ground truth at the padded size.

        Raises:
            ValueError: The instances have no masks.
            TypeError: Their masks are of an unknown kind.
        """
        if self.instances is not None:
            return SegmentationTarget.from_instances(self.instances.to(device), padded_size)
        assert self.label_map is not None
        label_map = self.label_map.to(device)
        return SegmentationTarget.from_label_map(label_map, padded_size, self.ignore_label)


def read_sample(annotated: Mapping[str, Any], ignore_label: int) -> Sample:
    """An input of training.

    Raises:
        ValueError: It has neither instances nor a label map.
    """
    instances = annotated.get("instances")
    if instances is None and "sem_seg" not in annotated:
        raise ValueError(
            f"training needs inputs with instances or sem_seg, got {', '.join(sorted(annotated))}: "
            "has the record annotation, and was its mapper built for training?"
        )
    return Sample(
        annotated["image"],
        annotated.get("task"),
        annotated.get(DATASET_KEY),
        instances,
        None if instances is not None else annotated["sem_seg"],
        ignore_label,
        annotated[CAPTION_KEY] if PHRASES_KEY in annotated else None,
        annotated.get(PHRASES_KEY),
        tuple(annotated.get(EXAMPLES_KEY, ())),
        instances.get(IDS_KEY) if instances is not None and instances.has(IDS_KEY) else None,
        annotated.get(VOID_KEY),
    )


def read_frame(wanted: Mapping[str, Any]) -> Frame:
    """How an input's image lies in its photo, without padding."""
    height, width = wanted["image"].shape[-2:]
    photo_size = int(wanted.get("height", height)), int(wanted.get("width", width))
    return Frame.of_whole(photo_size, (int(height), int(width)))


def read_request(
    wanted: Mapping[str, Any], index: int, default: Sequence[str], *, takes_classes: bool = True
) -> Request:
    """What an input of inference asks for.

    Args:
        wanted: The input.
        index: Its place in the batch.
        default: Tasks where it names none.
        takes_classes: False: its ``vocabulary``, that of its data set, is not for a closed set.

    Raises:
        ValueError: A task is unknown, the class list is empty, or there are two; the prompt is no
            `Prompt`, or its marks lie in a photo of another size.
    """
    listed = wanted.get("vocabulary") if takes_classes else None
    prompt = _read_prompt(wanted.get(PROMPT_KEY), listed)
    if prompt.marks is not None and prompt.marks.size != read_frame(wanted).photo_size:
        raise ValueError(
            "marks lie in a photo of (height, width) "
            f"{prompt.marks.size}, the input's is {read_frame(wanted).photo_size}"
        )
    return Request(
        index,
        read_tasks(wanted.get("tasks", tuple(default))),
        prompt,
        under=wanted.get("task"),
        wants=Wants(
            labels=bool(wanted.get(LABEL_MAP_KEY)),
            certainty=bool(wanted.get(CERTAINTY_KEY)),
            alternatives=bool(wanted.get(ALTERNATIVES_KEY, True)),
        ),
    )


def _read_prompt(prompt: Any, vocabulary: Vocabulary | None) -> Prompt:
    """A prompt with the class list that stands beside it in an input."""
    if prompt is None:
        return Prompt(vocabulary=vocabulary)
    if not isinstance(prompt, Prompt):
        raise ValueError(f"an input's {PROMPT_KEY} is a Prompt, got {type(prompt).__name__}")
    if vocabulary is None:
        return prompt
    if prompt.vocabulary is not None and prompt.vocabulary != vocabulary:
        raise ValueError(f"an input's {PROMPT_KEY} has another class list than its vocabulary")
    return replace(prompt, vocabulary=vocabulary)


def refuse_prompt(wanted: Mapping[str, Any], where: str) -> None:
    """Refuses a prompt that is about the photo, where a model sees parts or copies of it.

    Args:
        wanted: An input.
        where: What the model sees instead, for the message.

    Raises:
        ValueError: It says more than a class list.
    """
    prompt = wanted.get(PROMPT_KEY)
    if isinstance(prompt, Prompt) and prompt.kinds - {"classes"}:
        said = " and ".join(sorted(prompt.kinds - {"classes"}))
        raise ValueError(f"{said} of a photo cannot be answered in {where}")


def write_result(result: SegmentationResult) -> dict[str, Any]:
    """The dict that Detectron2's evaluators read, with ``objects`` and the certainty beside it."""
    output: dict[str, Any] = {}
    if result.semantic is not None:
        output["sem_seg"] = result.semantic.values
    if result.panoptic is not None:
        info = [asdict(segment) for segment in result.panoptic.segments]
        output["panoptic_seg"] = (result.panoptic.segment_ids, info)
    for key, found in (("instances", result.instances), ("objects", result.objects)):
        if found is not None:
            output[key] = _write_instances(found)
    if result.certainty is not None:
        output[CERTAINTY_KEY] = result.certainty
    return output


def _write_instances(found: InstanceSet) -> Instances:
    fields = {
        "pred_masks": found.masks,
        "pred_boxes": Boxes(found.boxes),
        "scores": found.scores,
        "pred_classes": found.labels,
        "pred_qualities": found.qualities,
        "pred_owners": found.owners,
        "pred_choices": found.choices,
        "pred_stabilities": found.stabilities,
        "pred_points": found.points,
        "pred_windows": found.windows,
        "pred_asked_boxes": found.asked_boxes,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    return Instances(found.image_size, **known)


def read_output(output: Mapping[str, Any]) -> SegmentationResult:
    """The result in any Detectron2 model's output for one image."""
    return SegmentationResult(
        semantic=_read_semantic(output.get("sem_seg")),
        panoptic=_read_panoptic(output.get("panoptic_seg")),
        instances=_read_instances(output.get("instances")),
        objects=_read_instances(output.get("objects")),
        certainty=output.get(CERTAINTY_KEY),
    )


def _read_semantic(found: Tensor | None) -> SemanticMap | None:
    if found is None:
        return None
    return SemanticMap(labels=found) if found.dim() == 2 else SemanticMap(scores=found)


def _read_panoptic(found: tuple[Tensor, list[dict[str, Any]]] | None) -> PanopticMap | None:
    if found is None:
        return None
    segment_ids, infos = found
    segments = [
        Segment(
            int(info["id"]),
            int(info["category_id"]),
            bool(info["isthing"]),
            info.get("score"),
            int((segment_ids == int(info["id"])).sum()),
        )
        for info in infos
    ]
    return PanopticMap(segment_ids, tuple(segments))


def _read_instances(found: Instances | None) -> InstanceSet | None:
    if found is None:
        return None
    known = found.get_fields()
    return InstanceSet(
        known.get("pred_masks"),
        found.pred_boxes.tensor,
        known.get("pred_classes"),
        found.scores,
        known.get("pred_qualities"),
        known.get("pred_owners"),
        known.get("pred_choices"),
        size=found.image_size,
        stabilities=known.get("pred_stabilities"),
        points=known.get("pred_points"),
        windows=known.get("pred_windows"),
        asked_boxes=known.get("pred_asked_boxes"),
    )
