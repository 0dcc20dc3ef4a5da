"""Batches, generators, threads and class lists: what they give is what single calls give."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from detectron2.config import get_cfg
from freeseg import ImageError, Segmenter, add_freeseg_config

sys.path.insert(0, str(Path(__file__).parent))
from fixed_model import StrongestChannel, write_config, write_weights

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return Segmenter.from_config(write_config(tmp_path), write_weights(tmp_path))


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that the model got."""
    sizes: list[int] = []
    plain = StrongestChannel.forward

    def forward(self, inputs):
        sizes.append(len(inputs))
        return plain(self, inputs)

    monkeypatch.setattr(StrongestChannel, "forward", forward)
    return sizes


def photos(*sizes: tuple[int, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]


def test_only_neighbours_of_one_size_share_a_batch(segmenter, batches) -> None:
    sources = photos((20, 30), (20, 30), (20, 30), (30, 20), (20, 30), (20, 30))
    results = segmenter(sources, "semantic", batch_size=2)
    assert batches == [2, 1, 1, 2]
    for source, result in zip(sources, results):
        np.testing.assert_array_equal(result.image, source)
        np.testing.assert_array_equal(result.semantic, segmenter(source, "semantic").semantic)


def test_a_generator_is_read_as_results_are_asked_for(segmenter) -> None:
    given = []

    def source():
        for photo in photos((8, 8), (8, 8), (8, 8)):
            given.append(photo)
            yield photo

    stream = segmenter.stream(source())
    assert not given
    next(stream)
    assert len(given) == 1
    assert len(list(stream)) == 2


def test_wrong_arguments_of_a_stream_are_said_before_the_first_photo(segmenter) -> None:
    for arguments in ({"task": "x"}, {"text": "car"}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=r"wanted|classes only"):
            segmenter.stream([], **arguments)


def test_a_broken_photo_ends_a_stream_after_what_came_before(segmenter, tmp_path) -> None:
    stream = segmenter.stream([*photos((8, 8)), tmp_path / "absent.png"])
    next(stream)
    with pytest.raises(ImageError, match="no such file"):
        next(stream)


def test_a_batch_of_a_real_model_equals_single_photos() -> None:
    segmenter = Segmenter.from_pretrained("camvid-mask2former", opts=["INPUT.MIN_SIZE_TEST", "96"])
    sources = photos((60, 80), (60, 80))
    together = segmenter(sources, "all", batch_size=2)
    for source, result in zip(sources, together):
        alone = segmenter(source, "all")
        assert (alone.semantic == result.semantic).mean() > 0.999  # ties aside
        np.testing.assert_allclose(alone.instances.scores, result.instances.scores, atol=1e-5)


def open_model() -> Segmenter:
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(ROOT / "configs/freeseg/shapes/full.yaml"))
    cfg.MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT = ""
    cfg.MODEL.TEXT_ENCODER.CACHE = False
    cfg.INPUT.MIN_SIZE_TEST = cfg.INPUT.MAX_SIZE_TEST = 64
    cfg.TEST.PROMPT_TUNING.ENABLED = False
    torch.manual_seed(0)
    return Segmenter.from_config(cfg, "", device="cpu")


def test_an_assigned_class_list_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = open_model()
    encoder = segmenter.model.clip_adapter.clip_model
    encoded: list[int] = []
    plain = type(encoder).encode_embeddings

    def encode_embeddings(self, embeddings, *rest):
        encoded.append(len(embeddings))
        return plain(self, embeddings, *rest)

    monkeypatch.setattr(type(encoder), "encode_embeddings", encode_embeddings)
    photo = photos((64, 64))[0]
    segmenter.vocabulary = ["red disc", "sky: stuff"]
    assert segmenter.vocabulary.is_thing == (True, False)
    results = segmenter([photo] * 3, "semantic")
    assert sum(encoded) == 2, "two texts, once"
    assert all(result.vocabulary.names == ("red disc", "sky") for result in results)
    assert segmenter(photo, "semantic", text="blue ring").vocabulary.names == ("blue ring",)
    assert segmenter(photo, "semantic").vocabulary.names == ("red disc", "sky")


def test_threads_with_lists_of_their_own_do_not_mix() -> None:
    segmenter = open_model()
    photo = photos((48, 64))[0]
    lists = [["red disc", "sky: stuff"], ["blue ring"]] * 2
    serial = [segmenter(photo, "all", text=names) for names in lists]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda names: segmenter(photo, "all", text=names), lists))
    for one, other in zip(serial, parallel):
        assert one.vocabulary == other.vocabulary
        np.testing.assert_array_equal(one.semantic, other.semantic)
        np.testing.assert_allclose(one.instances.scores, other.instances.scores, atol=1e-6)
