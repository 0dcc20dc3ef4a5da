"""Label PNGs as a row of DATASETS.CUSTOM: category ids or colours, read alike everywhere."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data import SegmentationMapper, register_custom
from freeseg.data.check import CheckSettings, check_dataset
from freeseg.data.problems import DataError, Problems
from freeseg.data.records import dataset_records
from freeseg.evaluation import build_evaluators

sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_boxes import COLORS, NOTHING, Scene, answers, label_map, write_json, write_scenes

REPOSITORY = Path(__file__).resolve().parents[2]
IDS = {"nut": 900, "bolt": 3, "felt": 0, "bench": 256}
ORDER = ("felt", "bolt", "bench", "nut")  # all stuff, then by id
SCENES = (
    Scene("a.png", (("nut", 3, 4, 20, 9), ("bolt", 30, 5, 11, 30)), "bench"),
    Scene("site/b.png", (("bolt", 1, 1, 9, 9), ("nut", 20, 8, 30, 30)), "felt"),
    Scene("site/deep/c.png", (("felt", 40, 10, 9, 9),)),
)


@pytest.fixture(autouse=True)
def own_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def row(tmp_path, request):
    """Writes photos and label PNGs; gives the row of DATASETS.CUSTOM."""

    def make(pixels_of, categories, **more):
        write_scenes(tmp_path / "photos", list(SCENES))
        for scene in SCENES:
            path = tmp_path / "labels" / scene.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels_of(scene)).save(path)
        source = write_json(tmp_path / "classes.json", {"categories": categories, **more})
        name = f"label_pngs_{request.node.name}"
        return [name, source, str(tmp_path / "photos"), str(tmp_path / "labels")]

    return make


def categories(ids, **more):
    return [{"id": each, "name": name, **more} for name, each in ids.items()]


def deep_ids(scene):
    return label_map(scene, IDS).astype(np.uint16)


def low_ids(scene, void=255):
    return label_map(scene, {"felt": 1, "bolt": 7, "bench": 12, "nut": 200}, void).astype(np.uint8)


LOW = categories({"nut": 200, "felt": 1, "bench": 12, "bolt": 7})
COLORED = [{**each, "color": COLORS[each["name"]]} for each in categories(IDS)]


def colored(scene):
    pixels = scene.pixels()
    pixels[(pixels == NOTHING).all(-1)] = 0
    return pixels


FORMS = {
    "16 bits": (deep_ids, categories(IDS), {}),
    "bytes": (low_ids, LOW, {}),
    "bytes and another void": (lambda scene: low_ids(scene, 66), LOW, {"ignore_label": 66}),
    "bytes in three channels": (lambda scene: np.stack([low_ids(scene)] * 3, -1), LOW, {}),
    "colours": (colored, COLORED, {}),
    "ids of categories that have colours": (deep_ids, COLORED, {}),
}


@pytest.mark.parametrize(("pixels_of", "listed", "more"), FORMS.values(), ids=FORMS)
def test_every_form_is_learned_checked_and_judged_alike(
    cfg, row, tmp_path, pixels_of, listed, more
):
    this = row(pixels_of, listed, **more)
    register_custom([this])
    assert MetadataCatalog.get(this[0]).stuff_classes == list(ORDER)
    records = dataset_records(this[0])
    assert [each["image_id"] for each in records] == ["a", "site/b", "site/deep/c"]

    problems = Problems()
    check_dataset(this[0], CheckSettings(), problems)
    assert problems.errors == problems.warnings == []

    mapper = SegmentationMapper(augmentations=[], image_format="RGB", task="semantic")
    for record, scene in zip(records, SCENES):
        targets = mapper(record)["instances"]
        truth = label_map(scene, {name: n for n, name in enumerate(ORDER)}, void=-1)
        assert targets.gt_classes.tolist() == sorted({*np.unique(truth).tolist()} - {-1})
        for label, mask in zip(targets.gt_classes.tolist(), targets.gt_masks.tensor):
            assert (mask.numpy() == (truth == label)).all()

    cfg.DATASETS.TRAIN, cfg.OUTPUT_DIR = (this[0],), str(tmp_path / "output")
    (evaluator,) = build_evaluators(cfg, this[0])
    evaluator.reset()
    for record in records:
        inputs = {key: record[key] for key in ("file_name", "image_id")}
        evaluator.process([inputs], [answers(record["file_name"], ORDER)])
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == pytest.approx(100)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """How a picture of the set differs from its photo, bool [H, W], by the photo's name."""

    def run(this):
        config = tmp_path / "config.yaml"
        config.write_text(f"DATASETS:\n  CUSTOM: {[this]}\n  TRAIN: ['{this[0]}']\n")
        path = str(REPOSITORY / "tools" / "visualize_data.py")
        look = tmp_path / "look"
        arguments = [path, "--config-file", str(config), "--output", str(look)]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(path, run_name="__main__")
        assert not ended.value.code
        changes = {}
        for scene in SCENES:
            name = Path(scene.file_name).name
            picture = np.array(Image.open(look / name))[..., :3].astype(int)
            changes[name] = np.abs(picture - scene.pixels()).sum(-1) > 30
        return changes

    return run


def test_pictures_of_the_set_show_its_classes_and_not_what_is_void(row, drawn):
    changed = drawn(row(deep_ids, categories(IDS)))["c.png"]
    assert changed[12:18, 42:48].mean() > 0.9
    assert changed[:, :30].mean() < 0.1


def test_more_than_255_classes_have_a_void_of_their_own(cfg, row, drawn, tmp_path):
    many = {f"class {n}": n for n in range(1000, 1300)} | {"nut": 1, "bolt": 2}
    kinds = {**many, "bench": 1255, "felt": 1299}
    this = row(lambda scene: label_map(scene, kinds, 9).astype(np.uint16), [], ignore_label=9)
    write_json(tmp_path / "classes.json", {"categories": categories(many), "ignore_label": 9})
    register_custom([this])
    assert MetadataCatalog.get(this[0]).ignore_label == 302
    cfg.DATASETS.TRAIN = (this[0],)
    cfg.INPUT.MIN_SIZE_TRAIN = (50,)
    mapper = SegmentationMapper(cfg, True)
    found = [
        sorted(mapper(each)["instances"].gt_classes.tolist()) for each in dataset_records(this[0])
    ]
    assert found == [[0, 1, 257], [0, 1, 301], [301]]


def test_what_does_not_fit_together_is_named(row, tmp_path):
    this = row(low_ids, LOW)
    Image.new("RGB", (5, 5)).save(tmp_path / "photos" / "a.jpg")  # beside a.png
    Image.new("RGB", (5, 5)).save(tmp_path / "photos" / "spare.jpg")
    Image.fromarray(np.ones((5, 5), np.uint8)).save(tmp_path / "labels" / "lost.png")
    register_custom([this])
    problems = Problems()
    records = dataset_records(this[0], problems=problems)
    assert len(records) == 3
    first, second = problems.errors
    assert first.endswith("a.jpg and a.png have one name, and one label PNG")
    assert "lost.png: no photo of this name" in second
    (line,) = problems.warnings
    assert "1 of 4 photos have no label PNG in" in line
    assert "such as spare.jpg: they are not used" in line
    with pytest.raises(DataError, match=r"lost\.png: no photo of this name"):
        DatasetCatalog.get(this[0])


def test_an_id_that_is_no_category_names_file_and_pixels(row, tmp_path):
    this = row(low_ids, LOW[:-1])  # without the bolts
    register_custom([this])
    problems = Problems()
    check_dataset(this[0], CheckSettings(), problems)
    first, second = problems.errors
    assert first.endswith("a.png has the label 7 in 330 pixels, which is that of no category")
    assert second.endswith("b.png has the label 7 in 81 pixels, which is that of no category")
    mapper = SegmentationMapper(augmentations=[], image_format="RGB", task="semantic")
    with pytest.raises(ValueError, match=r"a\.png has the label 7, which is none of 1, 12, 200"):
        mapper(dataset_records(this[0])[0])


BAD = {
    "no folder": (3, "", "the last item of the row must be the folder of label PNGs, got ''"),
    "no such folder": (3, "/nowhere", "folder /nowhere does not exist"),
    "no such photos": (2, "/nowhere", "folder /nowhere does not exist"),
}


@pytest.mark.parametrize(("place", "value", "message"), BAD.values(), ids=BAD)
def test_a_row_without_its_folders_is_refused(row, place, value, message):
    this = row(low_ids, LOW)
    this[place] = value
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        register_custom([this])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("255", "needs 'ignore_label', a whole number, got str '255'"),
        (None, "needs 'ignore_label', a whole number"),
        (7, "ignore_label 7 is the id of a category as well"),
    ],
)
def test_a_void_that_is_none_is_refused(row, value, message):
    with pytest.raises(ValueError, match=message):
        register_custom([row(low_ids, LOW, ignore_label=value)])


def test_a_category_may_have_the_id_255(row):
    """Masks of 0 and 255 are two classes where both are listed."""
    this = row(
        lambda scene: np.where(scene.ids() == 1, 255, 0).astype(np.uint8),
        categories({"ground": 0, "thing": 255}),
    )
    register_custom([this])
    problems = Problems()
    check_dataset(this[0], CheckSettings(), problems)
    assert problems.errors == problems.warnings == []


def test_a_folder_without_pngs_is_a_line(row, tmp_path):
    this = row(low_ids, LOW)
    for path in (tmp_path / "labels").rglob("*.png"):
        path.unlink()
    register_custom([this])
    problems = Problems()
    check_dataset(this[0], CheckSettings(), problems)
    assert problems.errors[0] == f"no PNGs in {tmp_path / 'labels'}"
