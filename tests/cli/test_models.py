"""`freeseg models`, `info`, `convert`, `doctor`, `evaluate`, and the shell's completion."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import detectron2
from freeseg import Segmenter
from freeseg.cli import doctor, jobs, main
from freeseg.engine import load_config
from freeseg.ops import available
from freeseg.systems.building import load_config as load_cfg
from freeseg.zoo import load_catalog
from freeseg_command.table import figures

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import CATEGORY_IDS, NAMES, write_config, write_weights
from hugging_face_ports import mask2former_pair

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "weights" / "camvid_mask2former_regnetx_002.pth"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a training leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder).rename(folder / "config.yaml")
    write_weights(folder, gain=(1.0, 2.0, 3.0)).rename(folder / "model_final.pth")
    return folder


def run(*command: str) -> int:
    return main(list(command))


def test_models_are_listed_and_sought_by_words(capsys) -> None:
    assert run("models") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(load_catalog())
    assert run("models", "coco", "Swin-L", "oneformer", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == {
        "oneformer-coco-swin-l",
        "shi-labs/oneformer_coco_swin_large",
    }
    assert rows[0]["metrics"] == {
        "COCO val2017": {"PQ": 57.9, "PQ_th": 64.4, "PQ_st": 48.0, "AP": 49.0, "mIoU": 67.4}
    }
    assert run("models", "nothing-like-this") == 1
    assert "no model has the words" in capsys.readouterr().err


def test_a_model_is_fetched_by_name(capsys) -> None:
    assert run("models", "--fetch", "camvid-mask2former") == 0
    assert capsys.readouterr().out == f"camvid-mask2former: {WEIGHTS}\n"
    assert run("models", "--fetch", "camvid-mask2former", "--json") == 0
    fetched = json.loads(capsys.readouterr().out)
    assert fetched == {"name": "camvid-mask2former", "weights": str(WEIGHTS)}


def test_info_of_a_bundled_model_is_of_its_file(capsys) -> None:
    state = torch.load(WEIGHTS, weights_only=True)["model"]
    for name in ("camvid-mask2former", str(WEIGHTS)):
        assert run("info", name, "--json", "--keys") == 0
        about = json.loads(capsys.readouterr().out)
        assert about["licence"] == "CC BY-NC 4.0"
        assert about["metrics"]["CamVid val"]["mIoU"] == 55.1
        weights = about["weights"]
        assert weights["sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
        assert weights["tensors"] == len(state)
        assert weights["parameters"] == sum(value.numel() for value in state.values())
        assert weights["keys"] == {key: list(value.shape) for key, value in state.items()}
        assert sum(weights["parts"].values()) == weights["parameters"]
        assert weights["release"].startswith("mask2former")
    assert run("info", "camvid-mask2former") == 0
    shown = capsys.readouterr().out
    assert "PQ 46.1, AP 8.4, mIoU 55.1" in shown
    assert "classes     car, pedestrian" in shown


def test_info_of_what_is_no_checkpoint_is_one_line(tmp_path, capsys) -> None:
    (tmp_path / "x.pth").write_bytes(b"nothing")
    assert run("info", str(tmp_path / "x.pth")) == 2
    assert capsys.readouterr().err.startswith("freeseg: error: ")
    Image.new("RGB", (9, 9)).save(tmp_path / "x.jpg")
    (tmp_path / "x.yaml").write_text("MODEL: {}")
    for name in ("x.jpg", "x.yaml"):
        assert run("info", str(tmp_path / name)) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "holds no weights" in line
        assert "weights_only" not in line
    assert run("info", "no_such_model") == 2
    assert "there is no model 'no_such_model'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mask2former-coco-panoptic-r50", "lseg-fss-rn101"])
def test_info_of_a_model_that_is_not_here_is_its_card(name, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path))
    card = load_catalog()[name]
    assert run("info", name) == 0
    shown = capsys.readouterr().out
    assert f"not on this machine; freeseg models --fetch {name}" in shown
    assert card.licence in shown
    assert card.source in shown
    assert figures(card.metrics) in shown
    assert run("info", name, "--json", "--keys") == 0
    assert json.loads(capsys.readouterr().out)["weights"] is None


def test_names_as_in_a_release_are_not_called_its_weights(capsys) -> None:
    assert run("info", "toy") == 0
    assert "names as in freeseg (" in capsys.readouterr().out


def test_a_packed_model_needs_neither_the_training_nor_the_dataset(folder, tmp_path) -> None:
    packed = tmp_path / "packed"
    with (folder / "config.yaml").open("a") as file:
        file.write("OUTPUT_DIR: /home/maker/output\n")
    assert run("convert", str(folder), "--output", str(packed)) == 0
    assert {path.name for path in packed.iterdir()} == {
        "config.yaml",
        "model.safetensors",
        "classes.json",
    }
    assert run("convert", str(folder), "--output", str(tmp_path / "small"), "--half") == 0
    assert load_file(tmp_path / "small" / "model.safetensors")["gain"].dtype == torch.float16
    shutil.rmtree(folder)
    assert load_cfg(packed / "config.yaml").OUTPUT_DIR == "./output", "not its maker's"
    segmenter = Segmenter.from_pretrained(packed)
    assert segmenter.vocabulary.names == NAMES
    assert segmenter.vocabulary.is_thing == (False, True, False)
    assert torch.equal(segmenter.model.gain.data, torch.tensor([1.0, 2.0, 3.0]))
    rows = json.loads((packed / "classes.json").read_text())
    assert tuple(row["id"] for row in rows) == CATEGORY_IDS


def test_weights_of_a_release_are_renamed(tmp_path, capsys) -> None:
    state = {"sem_seg_head.predictor.static_query.weight": torch.ones(2)}
    torch.save({"model": state}, tmp_path / "release.pth")
    output = tmp_path / "ours.safetensors"
    assert run("convert", str(tmp_path / "release.pth"), "--output", str(output)) == 0
    assert set(load_file(output)) == {"sem_seg_head.predictor.query_feat.weight"}
    assert capsys.readouterr().out == f"{output}: 1 tensors, 1 renamed, 0 left out\n"
    assert run("convert", str(tmp_path / "release.pth"), "--output", str(output), "--json") == 0
    [renamed] = json.loads(capsys.readouterr().out)["renamed"].items()
    assert renamed == (*state, "sem_seg_head.predictor.query_feat.weight")
    torch.save({"model": {"x": torch.ones(2)}}, tmp_path / "other.pth")
    assert run("convert", str(tmp_path / "other.pth"), "--output", str(output)) == 2
    assert "no known release" in capsys.readouterr().err


def test_the_doctor_looks_at_everything(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path))
    code = run("doctor", "--json")
    findings = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert findings["torch"]["detail"] == metadata.version("torch")
    assert findings["cache"]["detail"] == str(tmp_path)
    assert findings["ms_deform_attn reference"]["state"] == "ok"
    assert findings["model camvid-mask2former"]["detail"] == str(WEIGHTS)
    assert code == any(row["state"] == "problem" for row in findings.values())
    assert all(row["advice"] for row in findings.values() if row["state"] == "problem")


def findings_of(capsys) -> dict[str, dict[str, str]]:
    run("doctor", "--json")
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_the_doctor_says_which_detectron2_and_operator_are_in_use(capsys, monkeypatch) -> None:
    monkeypatch.delenv("FREESEG_MSDA", raising=False)
    is_usable = available()["cpp"].is_usable
    findings = findings_of(capsys)
    lite, real = "(d2lite, this project's own)", "(the real one)"
    wanted = lite if detectron2.__version__.endswith("lite") else real
    assert wanted in findings["detectron2"]["detail"]
    used = findings["ms_deform_attn on cpu"]
    assert used["detail"].startswith("cpp is used: the fastest" if is_usable else "reference, ")
    assert bool(used["advice"]) is not is_usable
    monkeypatch.setenv("FREESEG_MSDA", "reference")
    used = findings_of(capsys)["ms_deform_attn on cpu"]
    assert used["detail"] == "reference is used: FREESEG_MSDA asks for it"
    monkeypatch.setenv("FREESEG_MSDA", "none")
    used = findings_of(capsys)["ms_deform_attn on cpu"]
    assert (used["state"], used["advice"]) == ("problem", "unset FREESEG_MSDA")


@pytest.mark.parametrize(("cuda", "advice"), [(None, "pytorch.org"), ("12.1", "nvidia-smi")])
def test_the_doctor_says_what_to_do_about_no_gpu(capsys, monkeypatch, cuda, advice) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    finding = findings_of(capsys)["gpu"]
    assert "models run on the CPU" in finding["detail"]
    assert advice in finding["advice"]


def test_the_doctor_says_what_to_do(capsys, monkeypatch, tmp_path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(doctor, "_PACKAGES", ("torch", "no-such-package"))
    assert run("doctor") == 1
    shown = capsys.readouterr().out
    assert "-> pip install no-such-package" in shown
    assert "-> set FREESEG_CACHE" in shown


def test_evaluation_and_training_get_their_arguments(monkeypatch, folder) -> None:
    given = []
    monkeypatch.setattr(jobs, "start_job", given.append)
    config = str(folder / "config.yaml")
    assert run("train", "--config-file", config, "--resume", "SEED", "3") == 0
    assert (given[0].config_file, given[0].resume, given[0].opts) == (config, True, ["SEED", "3"])
    assert not given[0].eval_only
    assert run("evaluate", "--model", str(folder), "SEED", "3") == 0
    assert given[1].eval_only
    assert given[1].config_file == config
    assert given[1].opts == ["MODEL.WEIGHTS", str(folder / "model_final.pth"), "SEED", "3"]


def test_a_folder_of_hugging_faces_is_evaluated_as_it_says(monkeypatch, tmp_path, capsys) -> None:
    mask2former_pair(tmp_path, "swin")
    size = {"size": {"height": 64, "width": 96}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(size))
    begun = []
    monkeypatch.setattr(jobs, "start_job", lambda args: begun.append(load_config(args)))
    command = ["evaluate", "--model", str(tmp_path)]
    packed = str(tmp_path / "packed")
    assert run("convert", str(tmp_path), "--output", packed) == 0
    for model in (str(tmp_path), packed):
        capsys.readouterr()
        assert run("evaluate", "--model", model) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("freeseg: error: the model has classes of its own, ")
        assert line.endswith("DATASETS.TEST \"('mine',)\"")
    config = f"{packed}/config.yaml"
    assert run("train", "--config-file", config, "DATASETS.TEST", "('shapes_val_panoptic',)") == 2
    assert "DATASETS.TRAIN \"('mine',)\"" in capsys.readouterr().err
    assert run(*command, "DATASETS.TEST", "('camvid_val_panoptic',)") == 0
    (cfg,) = begun
    assert cfg.INPUT.TEST_RESIZE.SIZE == [64, 96]
    assert cfg.DATASETS.TEST == ("camvid_val_panoptic",)
    assert str(tmp_path) == cfg.MODEL.WEIGHTS
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 7


@pytest.mark.parametrize(
    "command",
    [
        "info {}",
        "convert {} --output {}/new.pth",
        "convert {} --output {}/new",
        "segment {}/photo.jpg --model {}",
        "segment {}/photo.jpg --config-file {}",
        "analyze-model --model {}",
        "evaluate --model {}",
    ],
)
def test_a_folder_without_weights_is_one_line_of_all_commands(command, tmp_path, capsys) -> None:
    mask2former_pair(tmp_path, "swin")
    (tmp_path / "model.safetensors").unlink()
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.jpg")
    capsys.readouterr()
    assert run(*command.replace("{}", str(tmp_path)).split()) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    wanted = f"{tmp_path} has no model.safetensors or pytorch_model.bin: "
    assert line.startswith(f"freeseg: error: {wanted}")


@pytest.mark.parametrize(
    "command",
    [
        "export-model x.pt2",
        "segment {0}/photo.jpg",
        "segment-dataset {0}/photo.jpg --out {0}/out --workers 0",
        "analyze-model",
        "train",
    ],
)
def test_a_folder_that_is_no_configuration_says_what_to_name(command, folder, capsys) -> None:
    Image.new("RGB", (32, 32)).save(folder / "photo.jpg")
    assert run(*command.format(folder).split(), "--config-file", str(folder)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"configuration file {folder} is a folder: name it as a model (--model" in line


UNUSABLE_JOBS = {
    "nothing to evaluate": (["evaluate"], "name what to evaluate by --model or by --config-file"),
    "nothing to train": (["train"], "name what to train by --config-file"),
    "two models": (["evaluate", "--model", "x", "--config-file", "y"], "not by both"),
    "no such model": (["evaluate", "--model", "bogus"], "there is no model 'bogus'"),
    "no such file": (["train", "--config-file", "/no/x.yaml"], "/no/x.yaml does not exist"),
    "no yaml": (["train", "--config-file", "wrong.yaml"], "cannot use wrong.yaml: "),
    "no such key": (
        ["train", "--config-file", "config.yaml", "SEEED", "3"],
        "cannot use the overrides: there is no key SEEED; did you mean SEED?",
    ),
    "no such key in the file": (
        ["train", "--config-file", "misspelt.yaml"],
        "cannot use misspelt.yaml: there is no key SOLVER.MAX_ITERS; did you mean SOLVER.MAX_ITER?",
    ),
    "a text for a number": (
        ["train", "--config-file", "config.yaml", "SOLVER.MAX_ITER", "many"],
        "SOLVER.MAX_ITER is a whole number, such as 40000, but many is a text",
    ),
    "a list for a number, in the file": (
        ["evaluate", "--config-file", "list.yaml", "MODEL.WEIGHTS", "x.pth"],
        "cannot use list.yaml: SOLVER.MAX_ITER is a whole number, such as 40000, but [3] is a list",
    ),
    "a section for a value": (
        ["train", "--config-file", "config.yaml", "SOLVER", "3"],
        "SOLVER is a section of keys",
    ),
    "a flag behind the overrides": (
        ["train", "--config-file", "config.yaml", "SEED", "3", "--resume"],
        "--resume stands among the overrides KEY VALUE: put it before them",
    ),
    "a flag with a value behind them": (
        ["train", "--config-file", "config.yaml", "SEED", "3", "--num-gpus", "2"],
        "--num-gpus stands among the overrides",
    ),
    "a key alone": (["train", "--config-file", "config.yaml", "SEED"], "pairs of KEY VALUE"),
    "no such dataset": (
        ["evaluate", "--model", ".", "DATASETS.TEST", "('camvid_panoptic',)"],
        "no dataset is registered as 'camvid_panoptic'; did you mean camvid_val_panoptic, ",
    ),
    "nothing like it": (
        ["train", "--config-file", "config.yaml", "DATASETS.TRAIN", "('zzzz',)"],
        "no dataset is registered as 'zzzz'; data of your own need their row of DATASETS.CUSTOM",
    ),
    "no files of a dataset": (
        [
            *("evaluate", "--model", ".", "DATASETS.TEST", "('mine',)"),
            *("DATASETS.CUSTOM", "[['mine', '/no/x.json', '/no', '/no']]"),
        ],
        "/no/x.json does not exist; ",
    ),
    "no weights": (
        ["evaluate", "--model", ".", "MODEL.WEIGHTS", "x.pth"],
        "weights file x.pth does not exist",
    ),
}


def test_what_a_training_begins_with_is_evaluated_only_when_asked(
    folder, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(folder)
    begun = []
    monkeypatch.setattr(jobs, "start_job", begun.append)
    command = ["evaluate", "--config-file", "config.yaml", "OUTPUT_DIR"]
    assert run(*command, "elsewhere", "MODEL.WEIGHTS", "model_final.pth") == 0
    assert run(*command, ".", "MODEL.WEIGHTS", "model_final.pth") == 0
    assert run("evaluate", "--config-file", "config.yaml", "--resume", "OUTPUT_DIR", ".") == 0
    begun.clear()
    assert run(*command, "elsewhere") == 2
    assert "begins with random weights" in capsys.readouterr().err
    with (folder / "config.yaml").open("a") as file:
        file.write("\nMODEL: {WEIGHTS: model_final.pth}\n")
    assert run(*command, ".") == 2
    assert "begins with model_final.pth: to evaluate what it became" in capsys.readouterr().err
    assert begun == []
    assert run(*command, "elsewhere") == 0


@pytest.mark.parametrize("case", UNUSABLE_JOBS)
def test_a_job_that_cannot_begin_is_one_line(folder, monkeypatch, capsys, case) -> None:
    monkeypatch.chdir(folder)
    (folder / "wrong.yaml").write_text("MODEL: [")
    (folder / "misspelt.yaml").write_text("SOLVER: {MAX_ITERS: 3}")
    (folder / "list.yaml").write_text("SOLVER: {MAX_ITER: [3]}")
    command, message = UNUSABLE_JOBS[case]
    assert run(*command) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("freeseg: error: ")
    assert message in line


def test_a_job_takes_the_weights_of_a_model_by_its_name(folder, monkeypatch) -> None:
    begun = []
    monkeypatch.setattr(jobs, "start_job", begun.append)
    assert run("evaluate", "--model", str(folder), "MODEL.WEIGHTS", "camvid-mask2former") == 0
    assert begun[0].opts[-2:] == ["MODEL.WEIGHTS", "camvid-mask2former"]


def test_what_fails_in_a_job_has_its_traceback(folder, monkeypatch) -> None:
    def fail(args) -> None:
        raise ValueError("inside")

    monkeypatch.setattr(jobs, "start_job", fail)
    with pytest.raises(ValueError, match="inside"):
        run("evaluate", "--model", str(folder))


def test_the_shell_completes_commands_and_options() -> None:
    pytest.importorskip("shtab")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script = subprocess.run(
        [sys.executable, "-m", "freeseg", "--print-completion", "bash"],
        capture_output=True, text=True, check=True, env=environment,
    ).stdout  # fmt: skip
    line = "COMP_WORDS=(freeseg segment --mod); COMP_CWORD=2; _shtab_freeseg; echo ${COMPREPLY[*]}"
    done = subprocess.run([bash, "-c", script + line], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["--model"]
