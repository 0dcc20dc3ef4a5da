"""All there is in a photo equals what the original finds, and its clicks those of the decoder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as rle_codec
from safetensors.torch import load_file

from freeseg import Segmenter
from freeseg.inference.everything import look_at_window
from freeseg.names import build_model
from freeseg.structures import PROMPT_KEY, EverythingSettings, Prompt, Request, Task
from freeseg.systems.sam.click_decoder import ClickDecoder
from freeseg.systems.sam.parity import config_of
from freeseg.systems.sam.prompts import PADDING, PointPrompts

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
GOLDEN = SHARED / "golden/sam_tiny"
SIZES = {
    "image_encoder": {
        "type": "ImageEncoderViT",
        "img_size": 96,
        "patch_size": 16,
        "embed_dim": 16,
        "depth": 1,
        "num_heads": 2,
        "mlp_ratio": 2.0,
        "global_attn_indexes": [0],
        "window_size": 3,
        "qkv_bias": True,
    },
    "prompt_encoder": {"mask_in_chans": 8},
    "mask_decoder": {
        "transformer": {
            "depth": 3,
            "num_heads": 2,
            "mlp_dim": 24,
            "attention_downsample_rate": 2,
        },
        "transformer_dim": 32,
        "iou_head_depth": 2,
        "iou_head_hidden_dim": 12,
    },
    "pixel_mean": [120.0, 110.0, 100.0],
    "pixel_std": [60.0, 50.0, 55.0],
    "image_format": "RGB",
}
NAMES = {
    "points_per_side": "points_per_side",
    "points_per_batch": "points_per_batch",
    "pred_iou_thresh": "min_quality",
    "stability_score_thresh": "min_stability",
    "stability_score_offset": "stability_margin",
    "box_nms_thresh": "max_overlap",
    "crop_n_layers": "crop_layers",
    "crop_nms_thresh": "max_crop_overlap",
    "crop_overlap_ratio": "crop_overlap",
    "crop_n_points_downscale_factor": "points_divisor",
    "point_grids": "point_grids",
    "min_mask_region_area": "min_region_area",
}


@pytest.fixture(scope="module")
def model():
    """The original's small model under our code."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no stored outputs of the original at {GOLDEN}")
    model = build_model(config_of(json.loads((GOLDEN / "config.json").read_text()))).eval()
    model.load_state_dict(load_file(GOLDEN / "model.safetensors"))
    return model


@pytest.fixture(scope="module")
def photo(model):
    return load_file(GOLDEN / "io.safetensors")["everything.photo"].numpy()


@pytest.fixture(scope="module")
def untrained():
    """A model of other sizes, with three blocks, whose biases are not zero."""
    torch.manual_seed(3)
    model = build_model(config_of(SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def stored_list(name):
    stored = json.loads((GOLDEN / f"everything_{name}.json").read_text())
    given = {NAMES[key]: value for key, value in stored["parameters"].items() if value is not None}
    return EverythingSettings(**given), stored["records"]


@pytest.mark.golden
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_masks_scores_and_order_are_the_originals(model, photo, name):
    settings, records = stored_list(name)
    result = Segmenter(model).open(photo).everything(settings)
    found = result.objects
    assert len(found) == len(records)
    for number, record in enumerate(records):
        expected = rle_codec.decode(record["segmentation"]).astype(bool)
        assert np.count_nonzero(found.masks[number] != expected) <= 3
        left, top, right, bottom = found.boxes[number]
        width = right - left - 1 if right else 0  # of boxes whose last column is inside
        height = bottom - top - 1 if bottom else 0
        assert np.abs(np.subtract([left, top, width, height], record["bbox"])).max() <= 1
        assert found.qualities[number] == pytest.approx(record["predicted_iou"], abs=1e-4)
        assert found.stabilities[number] == pytest.approx(record["stability_score"], abs=2e-3)
        assert [found.points[number].tolist()] == record["point_coords"]
        left, top, right, bottom = found.windows[number].tolist()
        assert [left, top, right - left, bottom - top] == record["crop_box"]


@pytest.mark.golden
def test_results_are_written_and_drawn(model, photo, tmp_path):
    settings, records = stored_list("a")
    result = Segmenter(model).open(photo).everything(settings)
    rows = result.to_rle()
    for row, record in zip(rows, records, strict=True):
        decoded = rle_codec.decode(row["segmentation"]).astype(bool)
        assert row["area"] == np.count_nonzero(decoded) == pytest.approx(record["area"], abs=3)
        assert row["segmentation"]["size"] == record["segmentation"]["size"]
        assert row["point"] == record["point_coords"][0]
        assert row["window"] == record["crop_box"]
        assert row["quality"] == pytest.approx(record["predicted_iou"], abs=1e-4)
        assert row["stability"] == pytest.approx(record["stability_score"], abs=2e-3)
    coco = result.to_coco()["objects"]
    assert [row["segmentation"] for row in coco] == [row["segmentation"] for row in rows]
    numbers = result.number_map()
    masks = np.asarray(result.masks)
    areas = masks.sum((1, 2))
    for y, x in np.random.default_rng(0).integers(0, photo.shape[:2], (200, 2)):
        there = np.nonzero(masks[:, y, x])[0]
        smallest = there[areas[there] == areas[there].min(initial=photo.size)]
        assert numbers[y, x] in (smallest + 1 if len(there) else [0])
    assert (result.picture() != photo).any(-1)[numbers > 0].mean() > 0.9
    assert set(result.save(tmp_path, "photo")) == {"object_overlay", "objects_json"}


@pytest.mark.golden
def test_a_session_goes_on_after_windows_with_its_own_features(model, photo):
    settings, _ = stored_list("b")
    session = Segmenter(model).open(photo)
    before = session(points=[(60, 60)]).masks
    assert len(session.everything(settings, crop_layers=0).objects) > 0
    session.everything(settings)
    np.testing.assert_array_equal(session(points=[(60, 60)]).masks, before)


def tiny(model, seed=0, size=(64, 96)):
    """Features of noise in the tiny model, and a generator."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 255, (3, *size), generator=generator, dtype=torch.uint8)
    with torch.inference_mode():
        return model.encode(model.prepare([image])), generator


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(("many", "used"), [(3, slice(1, 4)), (0, slice(1))], ids=["three", "one"])
def test_clicks_are_decoded_as_by_the_decoder(untrained, monkeypatch, count, many, used):
    monkeypatch.setattr(untrained.mask_decoder, "many_prompts", many)
    features, generator = tiny(untrained)
    points = torch.rand(count, 1, 2, generator=generator) * 96
    prompts = PointPrompts.of_marks(
        points, torch.ones(count, 1, dtype=torch.int64), torch.full((count, 4), torch.nan)
    )
    chosen = torch.rand(count, 3, generator=generator) < 0.6
    chosen[0] = torch.tensor([True, False, True])
    chosen = chosen[:, : 3 if many else 1]
    encoder = untrained.prompt_encoder
    with torch.inference_mode():
        expected = untrained.decode(features, [0] * count, prompts)
        encoded = encoder(prompts, features.padded_size[0], features.maps)
        is_token = (prompts.labels != PADDING).all(0)
        positions = encoder.positions(features.embedding.shape[-2:])
        decoder = ClickDecoder(untrained.mask_decoder, features.embedding, positions, encoded.dense)
        found = decoder(encoded.tokens[:, is_token])
        logits = torch.cat(list(decoder.masks(found, chosen)))
    torch.testing.assert_close(found.qualities, expected.qualities[:, used], atol=1e-5, rtol=1e-5)
    wanted = expected.mask_logits[:, used][chosen]
    torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-4)


def test_an_answer_looks_at_what_was_encoded_alone(untrained):
    features, _ = tiny(untrained)
    settings = EverythingSettings(points_per_side=3, min_quality=0.0, min_stability=0.0)
    request = Request(0, (Task.OBJECT,), Prompt(everything=settings))
    with torch.inference_mode():
        (result,) = untrained.answer(features, [request])
        direct = look_at_window(untrained.pointed(features, 0), settings)
    assert len(result.objects) == len(direct) > 0
    assert torch.equal(result.objects.masks.spans, direct.masks.spans)
    crops = replace(settings, crop_layers=1)
    with pytest.raises(ValueError, match="1 crop_layers are windows of the photo itself"):
        untrained.check([Request(0, (Task.OBJECT,), Prompt(everything=crops))])


def test_an_input_is_answered_as_in_a_session(untrained):
    photo = np.random.default_rng(2).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    settings = EverythingSettings(points_per_side=4, min_quality=0.0, min_stability=0.0)
    prompt = Prompt(everything=settings)
    image = torch.from_numpy(photo).permute(2, 0, 1)
    other = torch.zeros(3, 96, 60, dtype=torch.uint8)
    with torch.inference_mode():
        outputs = untrained([{"image": each, PROMPT_KEY: prompt} for each in (image, other)])
    found = Segmenter(untrained).open(photo).everything(settings).objects
    first, second = (output["objects"] for output in outputs)
    assert len(found) == len(first) > 0
    np.testing.assert_array_equal(np.asarray(found.masks), first.pred_masks.masks())
    np.testing.assert_array_equal(found.points, first.pred_points)
    assert second.image_size == (96, 60) == second.pred_masks.size


def test_settings_that_there_are_none_of_are_refused(untrained):
    session = Segmenter(untrained).open(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(TypeError, match="points_per_row"):
        session.everything(points_per_row=3)
    with pytest.raises(ValueError, match="points_per_side must be"):
        session.everything(points_per_side=0)


def test_nothing_found_is_an_empty_result(untrained):
    photo = np.zeros((70, 96, 3), dtype=np.uint8)
    result = (
        Segmenter(untrained)
        .open(photo)
        .everything(
            points_per_side=4, points_divisor=2, min_quality=50.0, crop_layers=1, min_region_area=9
        )
    )
    assert len(result.objects) == 0
    assert result.masks.shape == (0, *photo.shape[:2])
    assert result.to_rle() == []
    assert not result.number_map().any()
