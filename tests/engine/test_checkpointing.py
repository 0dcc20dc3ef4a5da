from __future__ import annotations

import pytest
import torch
from torch import nn

from freeseg.checkpoints import write_atomically
from freeseg.engine import AtomicCheckpointer
from freeseg.engine import checkpointing as module
from freeseg.structures import CLASSES_KEY


def model_of(value):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def loaded(folder):
    model = model_of(0.0)
    AtomicCheckpointer(model, str(folder)).resume_or_load("", resume=True)
    return model.weight.item()


def test_saved_state_is_resumed(tmp_path):
    optimizer = torch.optim.SGD(model_of(0.0).parameters(), lr=0.3)
    AtomicCheckpointer(model_of(5.0), str(tmp_path), optimizer=optimizer).save("a", iteration=7)
    other = torch.optim.SGD(model_of(0.0).parameters(), lr=0.1)
    model = model_of(0.0)
    extra = AtomicCheckpointer(model, str(tmp_path), optimizer=other).resume_or_load("")
    assert (model.weight.item(), other.param_groups[0]["lr"]) == (5.0, 0.3)
    assert extra["iteration"] == 7


def test_interrupted_save_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    checkpointer = AtomicCheckpointer(model_of(1.0), str(tmp_path))
    checkpointer.save("same_name")

    def half_save(content, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half_save)
    for name in ("same_name", "next_name"):
        with pytest.raises(KeyboardInterrupt):
            AtomicCheckpointer(model_of(2.0), str(tmp_path)).save(name)
    assert loaded(tmp_path) == 1.0
    monkeypatch.undo()
    AtomicCheckpointer(model_of(3.0), str(tmp_path)).save("next_name")
    assert loaded(tmp_path) == 3.0


def test_interrupted_tag_leaves_the_last_tag(tmp_path):
    checkpointer = AtomicCheckpointer(model_of(1.0), str(tmp_path))
    checkpointer.save("first")
    tag = tmp_path / "last_checkpoint"
    with pytest.raises(OSError, match="disk"):
        write_atomically(tag, lambda file: (_ for _ in ()).throw(OSError("disk full")))
    assert tag.read_text() == "first.pth"


def test_best_model_is_not_what_a_run_resumes_from(tmp_path):
    AtomicCheckpointer(model_of(1.0), str(tmp_path)).save("model_0000001")
    AtomicCheckpointer(model_of(2.0), str(tmp_path), is_resumable=False).save("model_best")
    assert loaded(tmp_path) == 1.0
    assert (tmp_path / "model_best.pth").exists()


@pytest.mark.parametrize("options", [{"save_to_disk": False}, {"save_dir": ""}], ids=["off", "dir"])
def test_nothing_is_written_when_saving_is_off(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    AtomicCheckpointer(model_of(1.0), **{"save_dir": str(tmp_path), **options}).save("a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("saves", [True, False])
def test_resuming_clears_what_a_kill_has_left(tmp_path, saves):
    AtomicCheckpointer(model_of(1.0), str(tmp_path)).save("a")
    partial = tmp_path / ".b.77-0.partial.pth"
    partial.touch()
    checkpointer = AtomicCheckpointer(model_of(0.0), str(tmp_path), save_to_disk=saves)
    checkpointer.resume_or_load("", resume=True)
    assert partial.exists() is not saves, "another process may write"


def test_without_a_checkpoint_or_resume_the_given_weights_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "weights_path", {"a name": str(tmp_path / "w.pth")}.__getitem__)
    torch.save({"model": model_of(3.0).state_dict()}, tmp_path / "w.pth")
    for resume, others in ((True, ()), (False, ("b",))):
        folder = tmp_path / f"run{resume}"
        folder.mkdir()
        for name in others:
            AtomicCheckpointer(model_of(5.0), str(folder)).save(name)
        model = model_of(0.0)
        AtomicCheckpointer(model, str(folder)).resume_or_load("a name", resume=resume)
        assert model.weight.item() == 3.0


def test_a_checkpoint_that_cannot_be_resumed_names_the_way_out(tmp_path):
    AtomicCheckpointer(model_of(1.0), str(tmp_path)).save("older")
    AtomicCheckpointer(nn.Linear(2, 3), str(tmp_path)).save("newer")
    tag = tmp_path / "last_checkpoint"
    with pytest.raises(ValueError, match=f"cannot resume: .*write its name into {tag}$"):
        loaded(tmp_path)
    tag.write_text("older.pth")
    assert loaded(tmp_path) == 1.0


@pytest.mark.parametrize("classes", [None, [{"id": 7, "name": "cup", "isthing": 1}]])
def test_a_file_holds_the_model_what_is_beside_it_and_its_classes(tmp_path, classes):
    model = model_of(4.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    checkpointer = AtomicCheckpointer(model, str(tmp_path), classes=classes, optimizer=optimizer)
    checkpointer.save("a", iteration=3)
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    own = set() if classes is None else {CLASSES_KEY}
    assert content.keys() == {"model", "optimizer", "iteration", *own}
    assert content["model"]["weight"].item() == 4.0
    assert (content["iteration"], content.get(CLASSES_KEY)) == (3, classes)
    assert content["optimizer"]["param_groups"][0]["lr"] == 0.25
    assert {path.name for path in tmp_path.iterdir()} == {"a.pth", "last_checkpoint"}
