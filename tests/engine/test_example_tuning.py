"""Tuned prompts of a data set: classes in colours, void without weight, one file for one run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freeseg.data import register_custom
from freeseg.data.examples import load_example, read_example, save_example
from freeseg.engine.example_tuning import ClassQueries, TuningJob
from freeseg.segmenter import Segmenter
from freeseg.systems.seggpt.tuner import TuningSettings

sys.path.insert(0, str(Path(__file__).parents[1]))
from seggpt_files import kite, photo, write_set
from tiny_systems import tiny_seggpt, tiny_seggpt_config

SHORT = TuningSettings(steps=12, queries=2, learning_rate=0.3)
MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    row = write_set(tmp_path_factory.mktemp("kites"), "kites_to_tune")
    register_custom([row])
    return row[0]


@pytest.fixture(scope="module")
def model():
    return tiny_seggpt(3)


@pytest.fixture(scope="module")
def cfg():
    config = tiny_seggpt_config()
    config.INPUT.CONTEXT.JITTER_PROBABILITY = 0.0
    config.DATALOADER.NUM_WORKERS = 0
    return config


def colours_of(pictures: torch.Tensor) -> torch.Tensor:
    """Normalised [..., 3, S, S] as whole numbers [..., S, S, 3]."""
    return (pictures.movedim(-3, -1) * STD + MEAN).round().long()


def test_a_query_is_painted_where_its_photo_is_red_and_void_weighs_nothing(cfg, model, dataset):
    cfg = cfg.clone()
    cfg.INPUT.CONTEXT.SCALE = [1.0, 1.0]  # views are whole photos, which may be turned over
    model_background = model.context_training.background_weight
    (batch,) = ClassQueries(cfg, TuningJob(dataset, ("kite",), settings=SHORT), model).batches(0, 2)
    assert batch.pictures.shape == batch.truth.shape == batch.weights.shape == (2, 3, 32, 32)
    pixels, painted = colours_of(batch.pictures), colours_of(batch.truth)
    is_red = pixels[..., 0] > pixels[..., 2] + 60
    is_blue = pixels[..., 2] > pixels[..., 0] + 60
    white = painted.eq(255).all(-1)
    assert white.any()
    assert (white | painted.eq(0).all(-1)).all()  # a single class is white on black
    assert (white[is_red]).float().mean() > 0.95  # but for blends at the edges
    assert not white[is_blue].float().mean() > 0.05
    known = batch.weights[:, 0] > 0
    assert batch.weights[:, 0][white].unique().tolist() == [1.0]
    assert batch.weights.unique().tolist() == [0.0, model_background]
    assert 0.1 < 1 - known.float().mean() < 0.3  # eight rows of forty


def test_the_start_is_the_mean_of_photos_and_of_their_paintings(cfg, model, dataset):
    one, four = (
        ClassQueries(cfg, TuningJob(dataset, start=count, settings=SHORT), model).start()
        for count in (1, 4)
    )
    seen = colours_of(one.target).flatten(0, 1).unique(dim=0).tolist()
    assert sorted(seen) == sorted([[0, 0, 0], *one.colours.tolist()])
    assert four.vocabulary.names == ("kite", "sky")
    assert four.vocabulary.is_thing == (True, False)
    levels = colours_of(four.target).flatten(0, 1).unique(dim=0)
    assert len(levels) > len(seen)  # kites lie in other places: edges are mixed
    assert one.ids is None
    assert one.labels.tolist() == [0, 1]


def test_a_tuned_prompt_has_a_smaller_loss_and_the_same_run_gives_the_same(
    cfg, model, dataset, tmp_path
):
    job = TuningJob(dataset, ("kite",), settings=SHORT)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    tuned, again = (job.run(cfg, model) for _ in range(2))
    assert tuned.after < tuned.before - 0.005
    assert (again.before, again.after) == (tuned.before, tuned.after)
    for name, each in (("one", tuned), ("two", again)):
        save_example(each.example, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()
    other = replace(job, settings=replace(SHORT, seed=1)).run(cfg, model).example
    assert not torch.equal(other.image, tuned.example.image)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_the_file_is_an_example_like_any_other(cfg, model, dataset, tmp_path):
    path = tmp_path / "key.safetensors"
    start = ClassQueries(cfg, TuningJob(dataset, settings=SHORT), model).start()
    save_example(start, path)
    loaded = load_example(path)
    assert torch.equal(loaded.image, start.image)
    assert torch.equal(loaded.colours, start.colours)
    assert loaded.vocabulary == start.vocabulary
    session = Segmenter(model).open(photo(5))
    alone = session(examples=str(path))
    assert [alone.vocabulary.names[n] for n in alone.objects.labels] == ["kite", "sky"]
    ordinary = read_example(photo(0), {"sky": ~kite(0), "kite": kite(0)})
    beside = session(examples=[ordinary, loaded])  # its classes are in another order
    assert beside.vocabulary.names == ("sky", "kite")
    turned = session(examples=[loaded, ordinary])
    found = dict(zip(("sky", "kite"), beside.objects.masks))
    for name, mask in zip(("kite", "sky"), turned.objects.masks):
        assert (found[name] == mask).mean() > 0.999  # the order of examples says nothing
    with pytest.raises(ValueError, match="objects that the learned one does not know"):
        session(examples=[loaded, read_example(photo(0), {"dog": kite(0)})])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ("kite", "dog")}, "no class 'dog'; there are kite, sky"),
        ({"start": 17}, "start must be from 1 to 16, got 17"),
    ],
)
def test_a_job_that_cannot_be_done_is_refused(cfg, model, dataset, changes, said):
    with pytest.raises(ValueError, match=said):
        TuningJob(dataset, **changes).run(cfg, model)


def test_more_classes_than_are_painted_at_once_are_refused(cfg, dataset):
    small = tiny_seggpt(3, ["MODEL.SEGGPT.MAX_COLOURS", 1])
    with pytest.raises(ValueError, match=r"2 classes of .*, and the model paints 1 at once"):
        TuningJob(dataset).run(cfg, small)
