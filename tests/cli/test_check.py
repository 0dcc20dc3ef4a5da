"""`freeseg check`: all problems in one list, and an exit code that says whether there are any."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.cli import main

sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_boxes import draw_scenes, instance_json, label_map, write_json

BASE = Path(__file__).resolve().parents[2] / "configs/Base-Mask2Former-small.yaml"
IDS = {"bolt": 1, "nut": 2, "washer": 3}


@pytest.fixture(autouse=True)
def own_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def job(tmp_path, request):
    """Writes a configuration of two sets, of which the second is tested on; gives its path."""

    def write(train, test, classes="auto", **more):
        stem = f"check_{request.node.name}"[:60]
        rows = []
        for part, content in (("train", train), ("val", test)):
            path = write_json(tmp_path / f"{part}.json", content)
            rows.append([f"{stem}_{part}", path, str(tmp_path / part), ""])
        write.train, write.val = rows[0][0], rows[1][0]
        tree = {
            "_BASE_": str(BASE),
            "DATASETS": {
                "CUSTOM": rows,
                "TRAIN": [write.train],
                "TEST": [write.val],
                **more,
            },
            "MODEL": {
                "SEM_SEG_HEAD": {"NUM_CLASSES": classes},
                "MASK_FORMER": {"NUM_OBJECT_QUERIES": 20},
            },
            "INPUT": {"DATASET_MAPPER_NAME": "mask_former_instance"},
        }
        tree["MODEL"]["MASK_FORMER"]["TEST"] = {
            "SEMANTIC_ON": False,
            "INSTANCE_ON": True,
            "PANOPTIC_ON": False,
        }
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps(tree))
        return str(config)

    return write


@pytest.fixture
def contents(tmp_path):
    """Annotation of a training and of a test set, both right."""
    scenes = [draw_scenes(tmp_path / part, seed=n) for n, part in enumerate(("train", "val"))]
    return [instance_json(each, IDS) for each in scenes]


@pytest.fixture
def check(capsys):
    """Runs the command; gives the exit code, and the lines of both streams."""

    def run(*arguments):
        code = main(["check", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run


def test_good_sets_are_summed_up(job, contents, check):
    code, out, err = check("--config-file", job(*contents))
    assert (code, err) == (0, [])
    assert out == [
        f"{job.train}: 3 photos, 15 objects, 3 classes",
        f"{job.val}: 3 photos, 15 objects, 3 classes",
        "0 problems, 0 to know of",
    ]


def break_much(train, test, folder):
    """Two faults of the training set, three of the test set, and something to know of each."""
    (folder / "train" / "part_1.png").unlink()
    train["annotations"][0]["segmentation"] = [[1, 2, 3]]
    train["annotations"][1]["segmentation"] = []
    train["categories"].append({"id": 9, "name": "gear"})
    photo = folder / "val" / "part_2.png"
    photo.write_bytes(photo.read_bytes()[:120])
    test["images"][0]["width"] += 1
    test["images"].append({**test["images"][1], "id": 99})


def test_all_problems_of_all_sets_are_in_one_list(job, contents, check, tmp_path):
    break_much(*contents, tmp_path)
    code, out, err = check("--config-file", job(*contents))
    assert code == 1
    errors = [line for line in err if line.startswith("freeseg: error: ")]
    wanted = [
        "annotation 100, of part_0.png: a polygon is a list",
        "train/part_1.png does not exist",
        "val/part_1.png (2 times)",
        "val/part_2.png is corrupted or truncated",
        "val/part_0.png is 70x50 pixels (width x height), its annotation says 71x50",
    ]
    assert len(errors) == len(wanted)
    assert all(any(part in line for line in errors) for part in wanted)
    warnings = [line for line in err if line.startswith("freeseg: warning: ")]
    assert any("1 of 14 objects have no mask" in line for line in warnings)
    assert any("no object of 1 of 4 classes: gear" in line for line in warnings)
    assert len(warnings) + len(errors) == len(err)
    assert out[-1] == f"5 problems, {len(warnings)} to know of"


def test_all_are_counted_where_only_the_first_are_shown(job, contents, check):
    for row in contents[0]["images"] + contents[0]["annotations"]:
        row.pop("width", row.pop("iscrowd", None))
    for row in contents[0]["annotations"]:
        row["category_id"] = 77
    code, out, err = check("--config-file", job(*contents))
    assert code == 1
    assert any(line.endswith("... and 10 more of this kind (annotations)") for line in err)
    assert out[-1].startswith("18 problems")


def test_one_set_of_a_configuration_can_be_named(job, contents, check, tmp_path):
    break_much(*contents, tmp_path)
    config = job(*contents)
    code, out, err = check(job.val, "--config-file", config)
    assert code == 1
    assert not any("train/part_1.png" in line for line in err)
    assert [line.split(":")[0] for line in out[:-1]] == [job.val]
    code, out, _ = check(job.train, job.val, "--config-file", config)
    assert (code, len(out)) == (1, 3)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_number_of_classes_is_checked(job, contents, check, classes):
    code, _, err = check("--config-file", job(*contents, classes=classes))
    (line,) = err
    assert code == 1
    assert f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {classes}, but {job.train} lists 3 classes" in line
    assert check("--config-file", job(*contents, classes=3))[0] == 0


def test_overrides_count(job, contents, check):
    config = job(*contents)
    code, _, err = check("--config-file", config, "--opts", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "7")
    assert code == 1
    assert "NUM_CLASSES is 7" in err[0]
    queries = ("--opts", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "4")
    code, _, err = check("--config-file", config, *queries)
    assert code == 0
    assert "has 5 objects, the model 4 queries" in err[0]
    assert err[0].endswith("raise MODEL.MASK_FORMER.NUM_OBJECT_QUERIES")


def test_classes_of_the_test_set_must_be_known(job, contents, check):
    contents[1]["categories"][0]["name"] = "gear"
    config = job(*contents)
    code, _, err = check("--config-file", config)
    assert code == 1
    assert f"dataset {job.val} has classes that the model was not trained on: gear;" in err[0]
    code, _, err = check("--config-file", config, "--opts", "DATASETS.IGNORE_UNKNOWN", "True")
    assert code == 0
    assert err == [f"freeseg: warning: {job.val}: the model does not know gear: left out"]


def test_what_cannot_be_judged_is_said(job, contents, check):
    config = job(*contents)
    test = "MODEL.MASK_FORMER.TEST"
    options = ("--opts", f"{test}.INSTANCE_ON", "False", f"{test}.PANOPTIC_ON", "True")
    code, _, err = check("--config-file", config, *options)
    assert code == 1
    assert f"dataset {job.val} can evaluate instance, but" in err[0]


def test_photos_that_are_in_both_sets_are_counted(job, contents, check, tmp_path):
    config = json.loads(Path(job(*contents)).read_text())
    config["DATASETS"]["CUSTOM"][1][2] = str(tmp_path / "train")
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    code, _, err = check("--config-file", tmp_path / "config.yaml")
    assert code == 0
    assert "3 of 3 photos are trained on as well, such as" in err[0]
    assert "part_0.png: results of them say little" in err[0]


def test_rows_that_cannot_be_registered_are_problems(job, contents, check):
    contents[0]["categories"] += [{"id": 1, "name": "lid"}, {"id": 8, "name": " nut "}]
    code, out, err = check("--config-file", job(*contents))
    assert code == 1
    assert len(err) == 2
    assert "train.json: categories have the id 1 twice" in err[0]
    assert "train.json: the categories 2 and 8 are both called 'nut'" in err[1]
    assert out == ["2 problems, 0 to know of"]


def test_checking_is_done_where_training_does_not(job, contents, check, tmp_path):
    break_much(*contents, tmp_path)
    assert check("--config-file", job(*contents, CHECK=False))[0] == 1


def test_what_cannot_be_run_is_one_line_and_exit_code_2(check, job, contents):
    code, _, err = check()
    assert (code, len(err)) == (2, 1)
    assert "name datasets, or a --config-file that uses some" in err[0]
    code, _, err = check("coco_2017_valley")
    assert (code, len(err)) == (2, 1)
    assert "no dataset is registered as 'coco_2017_valley'; did you mean coco_2017_val" in err[0]
    code, _, err = check("unheard_of", "--config-file", job(*contents))
    assert code == 2
    assert "no dataset is registered as 'unheard_of'" in err[0]
    code, _, err = check("--config-file", "nowhere.yaml")
    assert (code, len(err)) == (2, 1)
    assert "nowhere.yaml" in err[0]


def test_sets_need_no_configuration(check, job, contents, tmp_path):
    scenes = draw_scenes(tmp_path / "photos", background="bench")
    for scene in scenes:
        path = tmp_path / "labels" / scene.file_name
        path.parent.mkdir(exist_ok=True)
        labels = label_map(scene, {**IDS, "bench": 600})
        Image.fromarray(labels.astype(np.uint16)).save(path)
    categories = [{"id": each, "name": name} for name, each in {**IDS, "bench": 600}.items()]
    source = write_json(tmp_path / "classes.json", {"categories": categories})
    row = ["check_alone", source, str(tmp_path / "photos"), str(tmp_path / "labels")]
    code, out, err = check("check_alone", "--opts", "DATASETS.CUSTOM", repr([row]))
    assert (code, err) == (0, [])
    assert out == ["check_alone: 3 photos, 4 classes", "0 problems, 0 to know of"]
