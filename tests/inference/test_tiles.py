"""An image in tiles is segmented as the whole is, where a model sees no farther than a pixel."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from detectron2.structures import Boxes, Instances
from freeseg.inference import is_out_of_memory, segment_in_tiles, segment_within_memory
from freeseg.inference.tiles import spans
from freeseg.segmenter import Segmenter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fixed_model import BLUE_SCORE, RED_SCORE, write_config, write_weights

THING, OTHER_THING, STUFF = 0, 1, 2


class PixelModel:
    """Classes are the strongest channel; things are connected by construction of the picture."""

    def __init__(self, max_pixels=10**9, error=torch.OutOfMemoryError):
        self.max_pixels = max_pixels
        self.error = error
        self.largest = 0

    def __call__(self, batch):
        if len(batch) > 1:
            raise self.error("CUDA out of memory. Tried to allocate 80 GiB")
        (one,) = batch
        size = one["height"], one["width"]
        if one["image"].shape[-2] * one["image"].shape[-1] > self.max_pixels:
            raise self.error("CUDA out of memory. Tried to allocate 80 GiB")
        self.largest = max(self.largest, one["image"][0].numel())
        scores = F.interpolate(one["image"][None].float(), size, mode="nearest")[0]
        labels = scores.argmax(0)
        ids = (labels + 10).int()
        infos = [
            {"id": c + 10, "category_id": c, "isthing": c != STUFF, "score": 0.5, "area": 0}
            for c in labels.unique().tolist()
        ]
        masks = torch.stack([labels == THING, labels == OTHER_THING])
        instances = Instances(
            size,
            pred_masks=masks,
            pred_boxes=Boxes(torch.zeros(2, 4)),
            scores=torch.tensor([0.9, 0.25]),
            pred_classes=torch.tensor([THING, OTHER_THING]),
        )
        return [{"sem_seg": scores, "panoptic_seg": (ids, infos), "instances": instances}]


def picture(height=200, width=300):
    """Stuff with a wide cross, a thing, and a disc, the other thing, in its lower right quarter."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    labels = torch.full((height, width), STUFF)
    labels[(rows - height // 2).abs() < height // 8] = THING
    labels[(columns - width // 3).abs() < width // 8] = THING
    disc = ((rows - 0.8 * height) / height) ** 2 + ((columns - 0.8 * width) / width) ** 2 < 0.02
    labels[disc] = OTHER_THING
    return F.one_hot(labels, 3).permute(2, 0, 1).to(torch.uint8) * 200, labels


@pytest.fixture
def wanted():
    image, labels = picture()
    return {"image": image, "height": 200, "width": 300}, labels


def assert_right(output, labels):
    assert torch.equal(output["sem_seg"], labels)
    ids, infos = output["panoptic_seg"]
    assert sorted(info["category_id"] for info in infos) == [THING, OTHER_THING, STUFF]
    for info in infos:
        mask = labels == info["category_id"]
        assert torch.equal(ids == info["id"], mask)
        assert info["area"] == mask.sum()
    instances = output["instances"]
    assert instances.pred_classes.tolist() == [THING, OTHER_THING]
    assert instances.scores.tolist() == pytest.approx([0.9, 0.25])
    for label, mask, box in zip(
        instances.pred_classes, instances.pred_masks, instances.pred_boxes.tensor
    ):
        assert torch.equal(mask, labels == label)
        rows, columns = mask.nonzero().unbind(1)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == [float(side) for side in expected]


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_tiles_equal_the_whole(wanted, parts):
    inputs, labels = wanted
    assert_right(segment_in_tiles(PixelModel(), inputs, parts), labels)


def test_output_of_another_size_equals_the_whole(wanted):
    inputs, labels = wanted
    twice = labels.repeat_interleave(2, 0).repeat_interleave(2, 1)
    output = segment_in_tiles(PixelModel(), {**inputs, "height": 400, "width": 600}, 3)
    assert_right(output, twice)


def test_what_fits_is_the_models_own_answer(wanted, caplog):
    inputs, _ = wanted
    output = segment_within_memory(PixelModel(), [inputs])[0]
    assert output["sem_seg"].shape == (3, 200, 300)
    assert caplog.records == []


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError, MemoryError, lambda _: RuntimeError("can't allocate memory")]
)
def test_what_does_not_fit_is_tiled_down_with_a_warning(wanted, caplog, error):
    inputs, labels = wanted
    model = PixelModel(max_pixels=60 * 80, error=error)
    with caplog.at_level(logging.WARNING):
        assert_right(segment_within_memory(model, [inputs])[0], labels)
    assert 0 < model.largest <= 60 * 80
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[0].startswith("an image of 300x200 pixels does not fit into memory: trying 2 x 2")


def test_images_that_are_too_many_go_one_by_one(wanted, caplog):
    inputs, labels = wanted
    for output in segment_within_memory(PixelModel(), [inputs, inputs]):
        assert torch.equal(output["sem_seg"].argmax(0), labels)
    assert caplog.records == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_a_photo_in_tiles_has_as_many_instances_as_its_configuration_allows(tmp_path, limit):
    """A red patch in each of two tiles, of which neither has three instances, and blue around."""
    options = ["TEST.DETECTIONS_PER_IMAGE", str(limit), "INPUT.MIN_SIZE_TEST", "100"]
    files = write_config(tmp_path), write_weights(tmp_path)
    segmenter = Segmenter.from_config(*files, opts=options)
    whole = segmenter.model
    photo = np.full((100, 120, 3), (0, 0, 200), dtype=np.uint8)
    photo[10:20, 5:30] = photo[80:90, 90:115] = (200, 0, 0)

    def little(inputs):
        if inputs[0]["image"].shape[-1] > 80:
            raise MemoryError
        return whole(inputs)

    segmenter.model = little
    found = segmenter(photo, "instance").instances
    assert found.scores.tolist() == [RED_SCORE, RED_SCORE, BLUE_SCORE][:limit]


def test_when_nothing_fits_it_says_so(wanted):
    inputs, _ = wanted
    with pytest.raises(MemoryError, match="300x200 pixels does not fit into memory, not even"):
        segment_within_memory(PixelModel(max_pixels=10), [inputs])


def test_other_errors_are_not_taken_for_a_full_memory(wanted):
    def broken(_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        segment_within_memory(broken, [wanted[0]])
    assert not is_out_of_memory(ValueError("x"))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 16))
def test_spans_cover_every_pixel_and_own_each_once(source, target, parts):
    found = spans(source, target, parts)
    assert found[0].source.start == found[0].target.start == found[0].own_start == 0
    assert found[-1].source.stop == source
    assert found[-1].target.stop == target
    owned = [*(one.own_start for one in found), target]
    assert owned == sorted(owned)
    for one, end in zip(found, owned[1:]):
        assert one.target.start <= one.own_start <= end <= one.target.stop
        assert one.source.start < one.source.stop
        assert one.target.start < one.target.stop
