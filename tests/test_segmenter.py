"""`Segmenter` equals the evaluation path, names things rightly, and refuses with one clear line."""

from __future__ import annotations

import io
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg import build_model
from freeseg.config import add_freeseg_config
from freeseg.data import SegmentationMapper, build_test_loader
from freeseg.images import ImageError
from freeseg.modeling import fuse_for_inference
from freeseg.segmenter import Segmenter
from freeseg.session import choose_tasks
from freeseg.structures import LABEL_MAP_KEY, Vocabulary

sys.path.insert(0, str(Path(__file__).parent))
from fixed_model import (
    BLUE_SCORE,
    CATEGORY_IDS,
    NAMES,
    RED_SCORE,
    write_config,
    write_weights,
)

REPOSITORY = Path(__file__).resolve().parents[1]


def color_blocks(height: int = 30, width: int = 60) -> np.ndarray:
    """Left third red, middle green, right blue."""
    picture = np.full((height, width, 3), 20, dtype=np.uint8)
    for channel in range(3):
        picture[:, channel * width // 3 : (channel + 1) * width // 3, channel] = 220
    return picture


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return Segmenter.from_config(write_config(tmp_path), write_weights(tmp_path))


def test_result_has_classes_masks_and_names(segmenter: Segmenter) -> None:
    picture = color_blocks()
    result = segmenter(picture, "all")
    np.testing.assert_array_equal(result.image, picture)
    assert result.vocabulary == Vocabulary(NAMES, (False, True, False))
    assert result.category_ids == CATEGORY_IDS
    assert result.semantic.dtype == np.int64
    np.testing.assert_array_equal(result.semantic[15, [5, 30, 55]], [1, 0, 2])
    ids, segments = result.panoptic
    np.testing.assert_array_equal(ids, result.semantic + 300)
    assert [(s.id, s.label, s.name, s.is_thing, s.score) for s in segments] == [
        (300, 0, "green field", False, 0.5),
        (301, 1, "red ball", True, 0.5),
        (302, 2, "blue sky", False, 0.5),
    ]
    assert [s.area for s in segments] == [int((ids == s.id).sum()) for s in segments]
    np.testing.assert_array_equal(result.instances.masks[0], result.semantic == 1)
    np.testing.assert_array_equal(result.instances.scores, np.float32([RED_SCORE, BLUE_SCORE]))
    np.testing.assert_array_equal(result.instances.boxes, [[0, 0, 60, 30]] * 2)
    assert result.instances.names == ("red ball", "red ball")


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
def test_only_the_task_asked_for_is_answered(segmenter: Segmenter, task: str) -> None:
    assert segmenter(color_blocks(), task).tasks == (task,)


def test_panoptic_is_the_default(segmenter: Segmenter) -> None:
    assert segmenter(color_blocks()).tasks == ("panoptic",)


def test_channel_order_of_the_configuration_is_obeyed(tmp_path: Path) -> None:
    weights = write_weights(tmp_path)
    rgb = Segmenter.from_config(write_config(tmp_path), weights)(color_blocks(), "semantic")
    config = write_config(tmp_path, INPUT="{FORMAT: BGR, MIN_SIZE_TEST: 40}")
    bgr = Segmenter.from_config(config, weights)(color_blocks(), "semantic")
    np.testing.assert_array_equal(rgb.semantic, bgr.semantic)


def test_weights_are_really_loaded(tmp_path: Path) -> None:
    weights = write_weights(tmp_path, gain=(0.0, 0.0, 1.0))
    result = Segmenter.from_config(write_config(tmp_path), weights)(color_blocks(), "semantic")
    assert (result.semantic == 2).all()


@pytest.mark.parametrize("many", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_several_photos_give_a_list_in_their_order(segmenter: Segmenter, many) -> None:
    buffer = io.BytesIO()
    Image.fromarray(color_blocks(20, 30)).save(buffer, "PNG")
    sources = [color_blocks(), buffer.getvalue(), Image.fromarray(color_blocks(12, 24))]
    results = segmenter(many(sources), "semantic")
    assert [result.image.shape[:2] for result in results] == [(30, 60), (20, 30), (12, 24)]
    assert segmenter([], "semantic") == []


def test_one_photo_of_any_kind_is_not_taken_for_a_list(segmenter: Segmenter, tmp_path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(color_blocks()).save(path)
    with path.open("rb") as opened:
        for source in (path, str(path), path.read_bytes(), opened, Image.open(path)):
            assert segmenter(source, "semantic").image.shape == (30, 60, 3)
    for wrong in (torch.zeros(3, 4, 4), None, 7):
        with pytest.raises(ImageError, match="wanted a path"):
            segmenter(wrong)


def test_threads_get_the_same_results(segmenter: Segmenter) -> None:
    pictures = [np.roll(color_blocks(), shift, axis=1) for shift in range(12)]
    serial = [segmenter(picture, "semantic").semantic for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda picture: segmenter(picture, "semantic"), pictures))
    for one, other in zip(serial, parallel):
        np.testing.assert_array_equal(one, other.semantic)


def test_the_model_stays_in_evaluation_mode_and_records_no_gradients(segmenter: Segmenter) -> None:
    segmenter(color_blocks())
    assert not segmenter.model.training
    assert segmenter.model.gain.grad is None


@pytest.mark.parametrize("wrong", ["panoptics", "", "Semantic"])
def test_a_wrong_task_is_named_with_the_known_ones(segmenter: Segmenter, wrong) -> None:
    with pytest.raises(
        ValueError, match="wanted the task panoptic, instance, semantic, object or all"
    ):
        segmenter(color_blocks(), wrong)


def test_all_means_the_three_tasks() -> None:
    assert choose_tasks("all") == ("panoptic", "instance", "semantic")


def test_without_a_task_it_is_the_first_that_the_model_has(segmenter: Segmenter) -> None:
    assert segmenter(color_blocks()).tasks == ("panoptic",)
    segmenter.model.answered_tasks = ("semantic",)
    assert segmenter(color_blocks()).tasks == segmenter(color_blocks(), "all").tasks
    assert segmenter(color_blocks()).tasks == segmenter.tasks == ("semantic",)
    with pytest.raises(ValueError, match="does not have the task 'panoptic', only semantic"):
        segmenter(color_blocks(), "panoptic")


def test_a_task_without_a_result_is_an_error(segmenter: Segmenter) -> None:
    forward = segmenter.model.forward
    segmenter.model.forward = lambda inputs: [{"sem_seg": forward(inputs)[0]["sem_seg"]}]
    with pytest.raises(ValueError, match="gave no result for the task 'panoptic', only sem_seg"):
        segmenter(color_blocks(), "all")


def test_a_channel_order_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"INPUT\.FORMAT must be RGB or BGR, got 'L'"):
        Segmenter.from_config(write_config(tmp_path, INPUT="{FORMAT: L}"), "")


def test_a_line_of_pixels_is_refused_when_it_cannot_be_resized(segmenter: Segmenter) -> None:
    with pytest.raises(ImageError, match=r"is too elongated to resize \(9000x1\)"):
        segmenter(np.zeros((1, 9000, 3), dtype=np.uint8))


def test_the_first_bad_photo_of_a_list_is_named(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"absent\.jpg: no such file"):
        segmenter([color_blocks(), tmp_path / "absent.jpg"])


def test_what_cannot_be_set_up_says_so_in_one_line(tmp_path: Path) -> None:
    config, weights = write_config(tmp_path), write_weights(tmp_path)
    broken_yaml = tmp_path / "broken.yaml"
    broken_yaml.write_text("MODEL: [unclosed\n  - x: {")
    empty_weights = tmp_path / "empty.pth"
    empty_weights.write_bytes(b"")
    text_weights = tmp_path / "text.pth"
    text_weights.write_text("not a checkpoint")
    other_weights = tmp_path / "other.pth"
    torch.save({"model": {"backbone.weight": torch.zeros(2)}}, other_weights)
    misshapen = tmp_path / "misshapen.pth"
    torch.save({"model": {"gain": torch.zeros(4)}}, misshapen)
    cases = [
        ((tmp_path / "no.yaml", weights), FileNotFoundError, "configuration file .* not exist"),
        ((tmp_path, weights), FileNotFoundError, "configuration file .* is a folder"),
        ((broken_yaml, weights), ValueError, r"cannot use .*broken\.yaml"),
        (
            (config, tmp_path / "no.pth"),
            FileNotFoundError,
            r"weights file .*no\.pth does not exist",
        ),
        ((config, tmp_path), FileNotFoundError, "has no model.safetensors or "),
        ((config, empty_weights), ValueError, r"cannot load weights .*empty\.pth"),
        ((config, text_weights), ValueError, r"cannot load weights .*text\.pth"),
        ((config, other_weights), ValueError, "1 of its 1 weights are missing.* gain"),
        ((config, misshapen), ValueError, "1 of its 1 weights are missing.* gain"),
        ((config, None), ValueError, "no weights"),
        ((config, weights, "toaster"), ValueError, "cannot use .*toaster"),
        ((config, weights, None, ["MODEL.NO_SUCH_KEY", "1"]), ValueError, "NO_SUCH_KEY"),
        ((config, weights, None, ["INPUT.MIN_SIZE_TEST"]), ValueError, "pairs of KEY VALUE"),
        ((config, weights, None, ["MODEL.META_ARCHITECTURE", "Nix"]), ValueError, "Nix"),
    ]
    for arguments, kind, reason in cases:
        with pytest.raises(kind, match=reason) as caught:
            Segmenter.from_config(*arguments)
        assert "\n" not in str(caught.value), arguments


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_asked_for_in_vain_but_not_needed(tmp_path: Path) -> None:
    config, weights = write_config(tmp_path), write_weights(tmp_path)
    with pytest.raises(ValueError, match="device cuda was asked for, but there is no CUDA"):
        Segmenter.from_config(config, weights, device="cuda")
    by_config = Segmenter.from_config(config, weights, opts=["MODEL.DEVICE", "cuda"])
    assert by_config.model.gain.device.type == "cpu"


def test_an_explicitly_untrained_model_is_warned_about(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        Segmenter.from_config(write_config(tmp_path), "")
    assert "untrained" in caplog.text


def test_a_config_node_is_taken_and_not_changed(tmp_path: Path) -> None:
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(write_config(tmp_path)))
    cfg.freeze()
    before = cfg.dump()
    segmenter = Segmenter.from_config(
        cfg, write_weights(tmp_path), device="cpu", opts=["INPUT.MIN_SIZE_TEST", 24]
    )
    assert cfg.dump() == before
    assert segmenter.read(color_blocks()).pixels.shape == (3, 24, 48)


def test_classes_without_known_names_are_numbered(tmp_path: Path, caplog) -> None:
    config = write_config(tmp_path, DATASETS="{TEST: ['nowhere_val'], TRAIN: []}")
    with caplog.at_level(logging.WARNING):
        segmenter = Segmenter.from_config(config, write_weights(tmp_path))
    assert segmenter.vocabulary.names == ("class 0", "class 1", "class 2")
    assert "no names for 3 classes (nowhere_val)" in caplog.text
    assert segmenter(color_blocks()).category_ids == (0, 1, 2)


def test_names_come_from_the_training_set_when_there_is_no_test_set(tmp_path: Path) -> None:
    config = write_config(tmp_path, DATASETS="{TEST: [], TRAIN: ['fixed_colors_val']}")
    assert Segmenter.from_config(config, "").vocabulary.names == NAMES


def test_results_know_the_file_they_are_of(segmenter: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "red house.png"
    Image.fromarray(color_blocks()).save(path)
    assert segmenter(path).file_name == "red house.png"
    assert segmenter(str(path)).file_name == "red house.png"
    assert segmenter(Image.open(path)).file_name == "red house.png"
    assert segmenter(color_blocks()).file_name is None
    assert segmenter(path.read_bytes()).file_name is None


@pytest.mark.parametrize("kind", ["array", "png", "file object"])
@pytest.mark.parametrize(
    ("brightest", "bits"), [(200, 8), (1000, 10), (4095, 12), (9000, 14), (16383, 14)]
)
def test_16_bit_photos_that_look_like_fewer_bits_are_named(
    segmenter: Segmenter, tmp_path: Path, caplog, brightest: int, bits: int, kind: str
) -> None:
    levels = np.linspace(0, brightest, 30 * 60).astype(np.uint16).reshape(30, 60)
    path = tmp_path / "x ray.png"
    Image.fromarray(levels).save(path)
    name = "array [30, 60] uint16" if kind == "array" else str(path)
    with path.open("rb") as file, caplog.at_level(logging.WARNING):
        segmenter({"array": levels, "png": path, "file object": file}[kind], "semantic")
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{name}: the brightest of its 16-bit pixels is {brightest}, ")
    assert f"a camera of {bits} bits" in line
    assert f"INPUT.WHITE_LEVEL {2**bits - 1} " in line


@pytest.mark.parametrize(
    "photo",
    [
        np.full((30, 60), 16384, np.uint16),
        np.zeros((30, 60), np.uint16),
        np.full((30, 60, 3), 3, np.uint8),
    ],
    ids=["16 bits", "black", "8 bits"],
)
def test_other_dark_photos_cost_no_warning(segmenter: Segmenter, caplog, photo) -> None:
    with caplog.at_level(logging.WARNING):
        segmenter(photo, "semantic")
    assert caplog.records == []


def test_photos_are_as_bright_as_the_model_was_trained_on(tmp_path: Path, caplog) -> None:
    colors = color_blocks()
    for factor, white_level in ((4, 1023), (16, 4095)):
        segmenter = Segmenter.from_config(
            write_config(tmp_path), write_weights(tmp_path), opts=["INPUT.WHITE_LEVEL", white_level]
        )
        levels = colors.astype(np.uint16) * factor
        expected = (levels * (255 / white_level) + 0.5).astype(np.uint8)
        with caplog.at_level(logging.WARNING):
            result = segmenter(levels, "semantic")
        np.testing.assert_array_equal(result.image, expected)
        np.testing.assert_array_equal(segmenter(colors).image, colors)
    assert "freeseg.segmenter" not in {record.name for record in caplog.records}


PHOTO_SIZES = {
    **{"landscape.jpg": (100, 150), "portrait.jpg": (150, 100)},
    **{"transparent.png": (100, 150), "deep.png": (100, 150)},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    """Landscape; portrait, stored lying down with its EXIF orientation; transparent; 16 bit."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((150, 100), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[274] = 6
    picture.save(folder / "landscape.jpg")
    picture.save(folder / "portrait.jpg", exif=exif)
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(folder / "transparent.png")
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    return [folder / name for name in PHOTO_SIZES]


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_every_pixel_equals_the_evaluation_path(photos, image_format: str, tmp_path: Path) -> None:
    """A randomly initialised Mask2Former: nothing but equal input gives equal output."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(REPOSITORY / "configs/camvid/mask2former_regnetx_002.yaml"))
    cfg.merge_from_list(["INPUT.MIN_SIZE_TEST", 80, "INPUT.MAX_SIZE_TEST", 110])
    cfg.merge_from_list(["INPUT.FORMAT", image_format, "DATALOADER.NUM_WORKERS", 0])
    # untrained scores are low: let them pass, so that there is something to compare
    cfg.merge_from_list(["MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD", 0.0])
    cfg.merge_from_list(["MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD", 0.0])
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    DetectionCheckpointer(model, str(tmp_path)).save("model")
    fuse_for_inference(model)  # as the predictor does: equal up to rounding, see test_fused.py

    name = f"predictor_parity_{image_format}"
    records = [
        {"file_name": str(path), "image_id": index, "height": size[0], "width": size[1]}
        for index, (path, size) in enumerate(zip(photos, PHOTO_SIZES.values()))
    ]
    DatasetCatalog.register(name, lambda: records)
    try:
        loader = build_test_loader(cfg, name)
        with torch.no_grad():
            wanted = {LABEL_MAP_KEY: True}  # as for photos: labels instead of scores
            expected = [model([{**inputs[0], **wanted}])[0] for inputs in loader]
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)

    results = Segmenter.from_config(cfg, tmp_path / "model.pth")(photos, "all")
    for result, output in zip(results, expected):
        np.testing.assert_array_equal(result.semantic, output["sem_seg"])
        ids, infos = output["panoptic_seg"]
        assert len(infos) > 0
        np.testing.assert_array_equal(result.panoptic.segment_ids, ids)
        assert [(s.id, s.label) for s in result.panoptic.segments] == [
            (info["id"], info["category_id"]) for info in infos
        ]
        assert len(result.instances) > 0
        np.testing.assert_array_equal(result.instances.masks, output["instances"].pred_masks)
        np.testing.assert_array_equal(result.instances.scores, output["instances"].scores)
        np.testing.assert_array_equal(result.instances.labels, output["instances"].pred_classes)


def test_the_model_sees_the_very_tensor_of_the_test_mapper(photos, tmp_path: Path) -> None:
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(write_config(tmp_path)))
    mapper = SegmentationMapper(cfg, is_train=False)
    segmenter = Segmenter.from_config(cfg, "")
    seen = []
    forward = segmenter.model.forward
    segmenter.model.forward = lambda inputs: (seen.extend(inputs), forward(inputs))[1]
    for path in photos:
        segmenter(path)
        expected = mapper({"file_name": str(path)})
        assert torch.equal(seen[-1]["image"], expected["image"])
        assert seen[-1]["image"].dtype == expected["image"].dtype
        assert (seen[-1]["height"], seen[-1]["width"]) == (expected["height"], expected["width"])


def test_an_open_vocabulary_model_predicts_all_classes_of_the_dataset(tmp_path):
    """The number of classes in its configuration is that of training."""
    config = write_config(tmp_path, MODEL="{META_ARCHITECTURE: EchoedVocabulary}")
    segmenter = Segmenter.from_config(config, write_weights(tmp_path))
    assert segmenter.vocabulary.names == NAMES
    result = segmenter(np.zeros((20, 30, 3), dtype=np.uint8), task="semantic")
    assert result.vocabulary.names == NAMES
    assert segmenter.model.asked_for.names == NAMES


def test_a_model_is_called_as_its_release_calls_the_system():
    segmenter = Segmenter.from_pretrained("camvid-mask2former")
    assert repr(segmenter).startswith("Segmenter(Mask2Former, ")
    with pytest.raises(ValueError, match=r"^Mask2Former knows its 11 classes only"):
        segmenter.read_classes("car")


def test_a_segmenter_is_short_in_a_console(tmp_path):
    segmenter = Segmenter.from_config(write_config(tmp_path), write_weights(tmp_path))
    shown = "Segmenter(StrongestChannel, panoptic, instance, semantic, 3 classes, its own classes)"
    assert repr(segmenter) == shown
