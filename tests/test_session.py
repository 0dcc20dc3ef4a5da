"""Sessions as a user meets them: one photo, any number of questions, errors that help."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from freeseg.data import SegmentationMapper
from freeseg.images import ImageError
from freeseg.inference import segment_in_tiles
from freeseg.inference.tiles import MIN_TILE
from freeseg.segmenter import Segmenter
from freeseg.structures import LABEL_MAP_KEY, Task
from freeseg.visualization import Segmentation

sys.path.insert(0, str(Path(__file__).parent))
from fixed_model import NAMES, EchoedVocabulary, write_config, write_weights
from lseg_parts import lseg_config, tiny_lseg
from tiny_systems import SHORT_SIDE, tiny, unprompted_tasks

SYSTEMS = sorted({name for name, _ in unprompted_tasks()})
OPEN = [name for name in SYSTEMS if tiny(name).class_lists]
CLOSED = [name for name in SYSTEMS if not tiny(name).class_lists]
SIZE = (57, 83)
FULL = {
    "main memory": MemoryError("9 GB are wanted"),
    "of CUDA": torch.cuda.OutOfMemoryError("CUDA out of memory"),
    "as PyTorch says it": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
}


def photo(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def models():
    """Of all systems; nobody changes them."""
    return {name: tiny(name).build(tiny(name).seed) for name in SYSTEMS}


@pytest.fixture
def foreign(tmp_path) -> Segmenter:
    """A model of somebody's own, which keeps Detectron2's contract alone."""
    return Segmenter.from_config(write_config(tmp_path), write_weights(tmp_path))


def assert_same(first: Segmentation, second: Segmentation) -> None:
    assert first.vocabulary == second.vocabulary
    assert first.category_ids == second.category_ids
    assert first.file_name == second.file_name
    assert first.tasks == second.tasks
    np.testing.assert_array_equal(first.image, second.image)
    if first.semantic is not None:
        np.testing.assert_array_equal(first.semantic, second.semantic)
    if first.panoptic is not None:
        (ids, segments), (other_ids, other_segments) = first.panoptic, second.panoptic
        np.testing.assert_array_equal(ids, other_ids)
        assert segments == other_segments
    if first.instances is not None:
        for name in ("masks", "boxes", "scores", "labels"):
            one, other = getattr(first.instances, name), getattr(second.instances, name)
            np.testing.assert_array_equal(one, other)


def counted(monkeypatch, model, name: str) -> list[str]:
    """Notes the calls of a model's method."""
    calls: list[str] = []
    method = getattr(model, name)

    def call(*arguments):
        calls.append(name)
        return method(*arguments)

    monkeypatch.setattr(model, name, call)
    return calls


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_answer_is_that_of_a_segmenter(models, name, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo()).save(path)
    segmenter = Segmenter(models[name])
    with segmenter.open(path) as session:
        for task in (*segmenter.tasks, "all", None):
            assert_same(session(task), segmenter(path, task))
    assert session("semantic").file_name == "photo.png"


def test_a_session_that_was_closed_encodes_anew(models, monkeypatch):
    calls = counted(monkeypatch, models["freeseg"], "encode")
    session = Segmenter(models["freeseg"]).open(photo())
    empty = session.nbytes
    with session as entered:
        assert entered is session
        first = session("semantic")
        session("panoptic")
        assert session.nbytes > empty
    assert (session.nbytes, len(calls)) == (empty, 1)
    assert_same(first, session("semantic"))
    assert len(calls) == 2
    session.close()
    session.close()
    assert session.nbytes == empty


def test_a_session_is_closed_when_its_block_fails(models):
    session = Segmenter(models["lseg"]).open(photo())
    empty = session.nbytes
    session.encode()
    with pytest.raises(ValueError, match="depth"), session:
        session("depth")
    assert session.nbytes == empty


def test_a_session_keeps_the_classes_under_which_it_was_opened(models):
    segmenter = Segmenter(models["freeseg"])
    before = segmenter.open(photo())
    trained = segmenter.vocabulary
    segmenter.vocabulary = "tree, cat, road: stuff"
    after = segmenter.open(photo())
    assert before("semantic").vocabulary == trained
    assert after("semantic").vocabulary.names == ("tree", "cat", "road")
    assert_same(after("all"), before("all", "tree, cat, road: stuff"))
    assert segmenter(photo()).vocabulary.names == ("tree", "cat", "road")


def test_one_photo_that_was_read_serves_many_sessions(models):
    segmenter = Segmenter(models["mask2former"])
    read = segmenter.read(photo())
    assert (read.size, read.model_size) == (SIZE, (SHORT_SIDE, round(83 * SHORT_SIDE / 57)))
    assert segmenter.open(read).photo is read
    assert_same(segmenter.open(read)("all"), segmenter(photo(), "all"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_unknown_tasks_are_refused_with_the_known_ones(models, monkeypatch, name):
    calls = counted(monkeypatch, models[name], "encode")
    session = Segmenter(models[name]).open(photo())
    with pytest.raises(
        ValueError, match="wanted the task panoptic, instance, semantic, object or all"
    ):
        session("depth")
    for task in {Task.PANOPTIC, Task.INSTANCE, Task.SEMANTIC} - models[name].answers.keys():
        with pytest.raises(ValueError, match=f"does not have the task '{task}', only semantic"):
            session(task)
    assert calls == []


@pytest.mark.parametrize("name", CLOSED)
def test_words_for_a_model_of_trained_classes_are_refused(models, monkeypatch, name):
    calls = counted(monkeypatch, models[name], "encode")
    kind = {"mask2former": "Mask2Former", "oneformer": "OneFormer"}[name]
    with pytest.raises(ValueError, match=f"{kind} knows its 3 classes only"):
        Segmenter(models[name]).open(photo())("semantic", "cat, dog")
    assert calls == []


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("nothing", ["", " , ", []], ids=["empty", "commas", "list"])
def test_class_lists_without_a_class_are_refused(models, monkeypatch, name, nothing):
    calls = counted(monkeypatch, models[name], "encode")
    with pytest.raises(ValueError, match="class"):
        Segmenter(models[name]).open(photo())("semantic", nothing)
    assert calls == []


MARKS = {
    "points": {"points": [(20, 30)], "signs": [1]},
    "boxes": {"boxes": [1, 2, 30, 40]},
    "masks": {"masks": np.ones(SIZE)},
    "strokes": {"strokes": np.ones(SIZE)},
}


@pytest.mark.parametrize("name", [*SYSTEMS, "foreign"])
@pytest.mark.parametrize("kind", MARKS)
def test_marks_for_a_system_that_takes_none_are_refused_by_kind(
    models, monkeypatch, foreign, name, kind
):
    segmenter = foreign if name == "foreign" else Segmenter(models[name])
    method = "forward" if name == "foreign" else "encode"
    calls = counted(monkeypatch, segmenter.model, method)
    wanted = {
        "foreign": "StrongestChannel takes nothing but class lists",
        **dict.fromkeys(OPEN, f"does not take {kind} for semantic; it takes classes"),
        **dict.fromkeys(CLOSED, f"does not take {kind} for semantic; it takes nothing but the"),
    }
    with pytest.raises(ValueError, match=wanted[name]):
        segmenter.open(photo())("semantic", **MARKS[kind])
    assert calls == []


@pytest.mark.parametrize("name", [*SYSTEMS, "foreign"])
def test_a_system_that_is_not_pointed_at_does_not_look_for_everything(
    models, monkeypatch, foreign, name
):
    segmenter = foreign if name == "foreign" else Segmenter(models[name])
    calls = counted(monkeypatch, segmenter.model, "forward" if name == "foreign" else "encode")
    message = "takes nothing but class lists" if name == "foreign" else "not object"
    with pytest.raises(ValueError, match=message):
        segmenter.open(photo()).everything(crop_layers=1)
    assert calls == []


@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        ({"points": [(20, 30), (84, 3)]}, "is outside the photo of 83 x 57"),
        ({"points": [(20, -1)]}, "is outside the photo of 83 x 57"),
        ({"boxes": [1, 2, 30, 58]}, "is outside the photo of 83 x 57"),
        ({"masks": np.ones((5, 5))}, "wanted masks of .57, 83., the photo's"),
        ({"signs": [1]}, "signs"),
    ],
    ids=["right of it", "above it", "box", "mask", "signs alone"],
)
def test_marks_outside_the_photo_are_refused_by_place(models, monkeypatch, marks, reason):
    calls = counted(monkeypatch, models["mask2former"], "encode")
    with pytest.raises(ValueError, match=reason):
        Segmenter(models["mask2former"]).open(photo())("semantic", **marks)
    assert calls == []


def test_a_photo_that_cannot_be_read_is_named(models, tmp_path):
    segmenter = Segmenter(models["lseg"])
    with pytest.raises(ImageError, match=r"gone\.png"):
        segmenter.open(tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"too elongated to resize \(4000x1\)"):
        segmenter.open(photo(size=(1, 4000)))


def asked(segmenter: Segmenter, task: str) -> dict:
    """The dict of a photo, as a loader of test images would make it."""
    height, width = SIZE
    pixels = segmenter.read(photo()).pixels
    size = {"image": pixels, "height": height, "width": width}
    return {**size, "tasks": (task,), LABEL_MAP_KEY: True}


def shown(segmenter: Segmenter, output: dict) -> Segmentation:
    return Segmentation.from_detectron2(photo(), output, segmenter.vocabulary)


def failing(monkeypatch, model, name: str, error: BaseException, times: int) -> list[str]:
    """Lets a model's method fail so often; notes the calls."""
    calls: list[str] = []
    method = getattr(model, name)

    def call(*arguments):
        calls.append(name)
        if len(calls) <= times:
            raise error
        return method(*arguments)

    monkeypatch.setattr(model, name, call)
    return calls


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("place", ["encode", "answer"])
@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_what_memory_does_not_suffice_for_goes_by_detectron2s_dicts(
    models, monkeypatch, name, place, error
):
    model = models[name]
    segmenter = Segmenter(model)
    task = segmenter.tasks[0]
    with torch.inference_mode():
        expected = shown(segmenter, model([asked(segmenter, task)])[0])
    calls = failing(monkeypatch, model, place, error, times=1)
    assert_same(segmenter.open(photo())(task), expected)
    assert len(calls) == 2


@pytest.mark.parametrize("place", ["encode", "answer"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_what_never_fits_whole_goes_in_the_tiles_of_the_dict_path(models, monkeypatch, name, place):
    """Twice it fails: for the session, and for the whole photo in the dict path."""
    model = models[name]
    segmenter = Segmenter(model)
    task = segmenter.tasks[0]
    wanted = asked(segmenter, task)
    assert max(wanted["image"].shape[1:]) >= 2 * MIN_TILE
    with torch.inference_mode():
        expected = shown(segmenter, segment_in_tiles(model, wanted, 2))
    failing(monkeypatch, model, place, MemoryError("full"), times=2)
    assert_same(segmenter.open(photo())(task), expected)


def test_features_that_did_not_fit_are_not_kept(models, monkeypatch):
    model = models["lseg"]
    calls = failing(monkeypatch, model, "encode", MemoryError("full"), times=1)
    session = Segmenter(model).open(photo())
    empty = session.nbytes
    first = session("semantic")
    assert session.encode() is None
    assert session.nbytes == empty
    assert_same(first, session("semantic"))
    assert len(calls) == 3  # every question sees the photo anew
    session.close()
    session("semantic")
    session("semantic")
    assert len(calls) == 4  # another try, which fits


@pytest.mark.parametrize("place", ["encode", "answer"])
def test_other_failures_are_not_taken_for_a_full_memory(models, monkeypatch, place):
    calls = failing(monkeypatch, models["lseg"], place, RuntimeError("a fault"), times=1)
    session = Segmenter(models["lseg"]).open(photo())
    with pytest.raises(RuntimeError, match="a fault"):
        session("semantic")
    session("semantic")
    assert len(calls) == 2


def test_a_model_of_another_kind_sees_the_photo_at_every_question(foreign, monkeypatch):
    calls = counted(monkeypatch, foreign.model, "forward")
    with foreign.open(photo()) as session:
        assert session.encode() is None
        found = [session(task) for task in ("panoptic", "instance", "semantic")]
        assert session.nbytes == photo().nbytes + session.photo.pixels.nbytes
    assert len(calls) == 3
    for one in found:
        assert one.vocabulary.names == NAMES
        assert_same(one, foreign(photo(), *one.tasks))


def test_a_model_of_another_kind_is_asked_for_words_where_it_takes_them(tmp_path):
    config = write_config(
        tmp_path, MODEL="{META_ARCHITECTURE: EchoedVocabulary, SEM_SEG_HEAD: {NUM_CLASSES: 3}}"
    )
    segmenter = Segmenter.from_config(config, write_weights(tmp_path))
    assert isinstance(segmenter.model, EchoedVocabulary)
    result = segmenter.open(photo())("semantic", "a, b, c")
    assert segmenter.model.asked_for.names == result.vocabulary.names == ("a", "b", "c")


def test_words_for_a_model_of_another_kind_without_words_are_refused(foreign, monkeypatch):
    calls = counted(monkeypatch, foreign.model, "forward")
    with pytest.raises(ValueError, match="StrongestChannel knows its 3 classes only"):
        foreign.open(photo())("semantic", "a, b, c")
    assert calls == []


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_a_system_alone_knows_what_a_mapper_and_a_vocabulary_say(image_format):
    changes = {"INPUT__FORMAT": image_format, "INPUT__MIN_SIZE_TEST": SHORT_SIDE}
    model = tiny_lseg(**changes)
    mapper = SegmentationMapper(lseg_config(**changes), is_train=False)
    alone = Segmenter(model)
    told = Segmenter(model, mapper=mapper, vocabulary=model.vocabulary)
    assert repr(alone) == repr(told)
    assert torch.equal(alone.read(photo()).pixels, told.read(photo()).pixels)
    for text in (None, "tree, cat"):
        assert_same(alone.open(photo())("all", text), told.open(photo())("all", text))


def test_a_model_that_does_not_know_itself_is_refused_by_what_is_missing(foreign):
    with pytest.raises(ValueError, match="StrongestChannel has no photo_input of its own"):
        Segmenter(foreign.model)


def test_what_a_segmenter_says_of_its_model_is_in_every_answer(models):
    segmenter = Segmenter(models["lseg"], knows="streets", unsure_below=1.0)
    result = segmenter.open(photo())("semantic")
    assert (result.knows, result.unsure_below, result.is_unsure) == ("streets", 1.0, True)
    assert 0 <= result.certainty < 1
    assert Segmenter(models["lseg"]).open(photo())("semantic").certainty is None


def test_sessions_and_segmenters_are_short_in_a_console(models, foreign):
    segmenter = Segmenter(models["freeseg"])
    assert repr(segmenter) == (
        "Segmenter(FreeSeg, panoptic, instance, semantic, 4 classes, any words)"
    )
    assert repr(segmenter.open(photo())) == "Session(FreeSeg, 83x57 pixels)"
    assert repr(foreign.open(photo())) == "Session(StrongestChannel, 83x57 pixels)"
