"""From class logits and masks to all three segmentations."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch.nn import functional as F

from benchmark_rows.contest import Contest, Row
from freeseg.inference import Resizing, Thresholds, assemble_in_tiles
from freeseg.structures import JUDGED_TASKS, Vocabulary

NUM_QUERIES = NUM_CLASSES = 150
NUM_SHAPES = 60  # queries that found something; the others say "no object"
MASK, OUTPUT = (256, 256), (1024, 1024)
THRESHOLDS = Thresholds(min_score=0.8, min_visible_share=0.8, max_instances=NUM_QUERIES)
AGREEMENT = 0.99  # of pixels: the port sums and resizes in another order, which moves borders
MASK_IOU = 0.9  # of instances: the port cuts them out at 384 pixels and repeats these


def _prediction() -> tuple[torch.Tensor, torch.Tensor]:
    """Discs with soft, wavy borders: class logits [Q, K+1] and mask logits [Q, h, w]."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(*(torch.linspace(0, 1, side) for side in MASK), indexing="ij")
    centre = torch.rand(NUM_QUERIES, 2, 1, 1, generator=generator)
    radius = torch.rand(NUM_QUERIES, 1, 1, generator=generator) * 0.25 + 0.02
    distance = ((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2).sqrt()
    waves = torch.randn(1, NUM_QUERIES, 32, 32, generator=generator)
    masks = (80 * (radius - distance)).clamp(-12, 12) + F.interpolate(waves, MASK, mode="bilinear")[
        0
    ]
    classes = torch.randn(NUM_QUERIES, NUM_CLASSES + 1, generator=generator)
    best = torch.randint(0, NUM_CLASSES, (NUM_QUERIES,), generator=generator)
    best[NUM_SHAPES:] = NUM_CLASSES
    classes[torch.arange(NUM_QUERIES), best] += 12
    return classes, masks


def _three_segmentations() -> Contest:
    from transformers import Mask2FormerImageProcessor

    classes, masks = _prediction()
    is_thing = tuple(index % 2 == 0 for index in range(NUM_CLASSES))
    vocabulary = Vocabulary(tuple(map(str, range(NUM_CLASSES))), is_thing)
    port = Mask2FormerImageProcessor()
    stuff = {index for index, thing in enumerate(is_thing) if not thing}
    outputs = SimpleNamespace(class_queries_logits=classes[None], masks_queries_logits=masks[None])

    @torch.inference_mode()
    def ours():
        resizing = Resizing.of(MASK, OUTPUT, OUTPUT, OUTPUT)
        return assemble_in_tiles(JUDGED_TASKS, classes, masks, resizing, vocabulary, THRESHOLDS)

    @torch.inference_mode()
    def theirs():
        sizes = {"target_sizes": [OUTPUT]}
        return (
            port.post_process_semantic_segmentation(outputs, **sizes)[0],
            port.post_process_instance_segmentation(outputs, return_binary_maps=True, **sizes)[0],
            port.post_process_panoptic_segmentation(
                outputs, threshold=THRESHOLDS.min_score, label_ids_to_fuse=stuff, **sizes
            )[0],
        )

    def check(ours, theirs):
        semantic, instances, panoptic = theirs
        assert _agree(ours.semantic.values, semantic)
        found = [segment.category_id for segment in ours.panoptic.segments]
        ids = [segment["label_id"] for segment in panoptic["segments_info"]]
        assert sorted(found) == sorted(ids)
        assert _agree(
            _classes(ours.panoptic.segment_ids, found), _classes(panoptic["segmentation"], ids)
        )
        labels = [segment["label_id"] for segment in instances["segments_info"]]
        things = [index for index, label in enumerate(labels) if is_thing[label]]
        assert len(things) > 10
        for index in things:
            same = ours.instances.masks[ours.instances.labels == labels[index]]
            mask = instances["segmentation"][index].bool()
            shared, either = (same & mask).flatten(1).sum(1), (same | mask).flatten(1).sum(1)
            assert float((shared / either).max()) >= MASK_IOU

    return Contest(ours, theirs, check)


def _agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    return float((one == other).float().mean()) >= AGREEMENT


def _classes(ids: torch.Tensor, labels: list[int]) -> torch.Tensor:
    return torch.tensor([-1, *labels])[ids.clamp(min=0).long()]


ROWS = (
    Row(
        "postprocessing",
        f"three segmentations of {NUM_QUERIES} queries, {NUM_CLASSES} classes, "
        f"{OUTPUT[0]}x{OUTPUT[1]}",
        "Hugging Face's image processor",
        5,
        _three_segmentations,
        memory_bar=4,
    ),
)
