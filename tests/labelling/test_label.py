"""`freeseg label` as a user runs it: the files, killed and started again, reviewed, refused."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import write_config, write_weights
from tiny_systems import tiny, tiny_grounded_sam

from freeseg import Segmenter
from freeseg.bulk.worker import ModelSettings, Worker
from freeseg.cli import main
from freeseg.data.panoptic import rgb2id
from freeseg.labelling import LabelJob, left_out_names, review
from freeseg.labelling.records import LabelRecords
from freeseg.visualization.annotations import INSTANCES_FILE

NAMES = ("a.png", "b & c.png", "deep/a.png")


def picture(seed):
    """Red on the left, green and blue: of the fixed model a ball between field and sky."""
    pixels = np.full((20, 30 + seed, 3), 10, np.uint8)
    pixels[:, :10, 0] = pixels[:10, 10:, 1] = pixels[10:, 10:, 2] = 200
    return Image.fromarray(pixels)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for seed, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture
def label(tmp_path, photos):
    """Runs the command on them; more arguments as given."""
    fixed = ["--config-file", str(write_config(tmp_path)), "--workers", "0", "--chunk", "2"]
    fixed += ["--weights", str(write_weights(tmp_path)), "--out", str(tmp_path / "set")]

    def run(*more, sources=(photos,)):
        return main(["label", *map(str, sources), *fixed, *map(str, more)])

    return run


def content_of(path):
    content = json.loads(path.read_text())
    created = content["info"].pop("date_created")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", created)
    return content


def test_the_data_set_of_a_folder(tmp_path, label, photos, capsys):
    assert label("--panoptic", "--min-score", "0.5") == 1  # one photo is broken
    said = capsys.readouterr()
    assert "3 of 4 photos labelled" in said.out
    assert "1 photos failed" in said.err
    failures = (tmp_path / "set/job/failures.jsonl").read_text()
    assert "broken.jpg" in failures
    path = tmp_path / "set/annotations_instances.json"
    assert f"[['labelled', '{path}', '{photos}', '']]" in said.out
    coco = COCO(str(path))
    assert [coco.imgs[number]["file_name"] for number in (1, 2, 3)] == list(NAMES)
    assert [coco.imgs[number]["width"] for number in (1, 2, 3)] == [30, 31, 32]
    assert sorted(coco.anns) == [1, 2, 3]  # the red half of each; the blue one is unlikely
    for row in coco.anns.values():
        assert (row["category_id"], row["score"], row["iscrowd"]) == (5, 0.875, 0)
        mask = coco.annToMask(row)
        assert mask[:, :9].all()
        assert not mask[:, 11:].any()
    info = content_of(path)["info"]
    assert info["version"].startswith("freeseg ")
    weights = {"file": "fixed.pth", "sha256": digest(tmp_path / "fixed.pth")}
    assert info["provenance"] == {
        **{"model": str(tmp_path / "fixed.yaml"), "classes": None, "overrides": []},
        **{"min_score": 0.5, "panoptic": True, "weights": [weights]},
        **{"image_root": str(photos), "left_out": 0},
    }


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_panoptic_files_belong_together(tmp_path, label):
    label("--panoptic")
    content = content_of(tmp_path / "set/annotations_panoptic.json")
    assert [row["id"] for row in content["categories"]] == [70, 5, 90]
    for row in content["annotations"]:
        ids = rgb2id(np.array(Image.open(tmp_path / "set/annotations_panoptic" / row["file_name"])))
        areas = {each["id"]: each["area"] for each in row["segments_info"]}
        assert {number: int((ids == number).sum()) for number in np.unique(ids)} == areas
        assert {each["category_id"] for each in row["segments_info"]} == {70, 5, 90}


def test_what_was_killed_goes_on_and_gives_the_same(tmp_path, label, monkeypatch):
    label()
    path = tmp_path / "set/annotations_instances.json"
    whole = content_of(path)
    parts = sorted((tmp_path / "set/job/parts").iterdir())
    assert len(parts) == 2
    kept = parts[0].read_bytes()
    parts[1].unlink()
    path.unlink()
    asked, run = [], Worker.run
    monkeypatch.setattr(Worker, "run", lambda self, chunk: asked.append(chunk) or run(self, chunk))
    label()
    assert (asked, parts[0].read_bytes()) == ([1], kept)
    assert content_of(path) == whole
    with pytest.raises(AssertionError):
        assert content_of(path)["info"]["provenance"]["panoptic"]


def test_other_settings_are_refused(tmp_path, label, capsys):
    label()
    assert label("--min-score", "0.9") == 2
    assert "holds results of other settings" in capsys.readouterr().err
    assert label("--panoptic") == 2


def test_a_reviewed_photo_is_left_out(tmp_path, label):
    label("--panoptic")
    (tmp_path / "left_out.txt").write_text("b & c.png\n\n")
    label("--panoptic", "--leave-out", tmp_path / "left_out.txt")
    for kind in ("instances", "panoptic"):
        content = content_of(tmp_path / f"set/annotations_{kind}.json")
        assert [row["file_name"] for row in content["images"]] == ["a.png", "deep/a.png"]
        assert {row["image_id"] for row in content["annotations"]} == {1, 2}
        assert content["info"]["provenance"]["left_out"] == 1
    page = (tmp_path / "set/review.html").read_text()
    assert "b &amp; c.png" in page  # and can be taken back


def test_pages_show_every_photo_once(tmp_path, label, monkeypatch):
    monkeypatch.setattr(review, "PER_PAGE", 2)
    label()
    pages = [(tmp_path / "set" / name).read_text() for name in ("review.html", "review_2.html")]
    shown = [re.findall(r'data-name="([^"]*)"', page) for page in pages]
    assert shown == [["a.png", "b &amp; c.png"], ["deep/a.png"]]
    sources = re.findall(r'src="([^"]*)"', "".join(pages))
    assert sources[1] == "thumbnails/b%20%26%20c.png.jpg"
    assert all((tmp_path / "set" / "thumbnails" / f"{name}.jpg").is_file() for name in NAMES)
    assert "red ball (from 0.88 on)" in pages[0]
    monkeypatch.setattr(review, "PER_PAGE", 500)
    label()
    assert not (tmp_path / "set/review_2.html").exists()


def test_any_name_is_shown_and_can_be_left_out(tmp_path, label, photos):
    """Names that are no line of text, or none of UTF-8, are as good as others."""
    names = [" a.png", "a\nb.png", '"c".png', "a\u2028b.png", os.fsdecode(b"caf\xe9.png")]
    for seed, name in enumerate(names):
        picture(seed).save(photos / name)
    label()
    page = html.unescape((tmp_path / "set/review.html").read_text())
    shown = re.findall(r'<figure [^>]*data-name="(.*?)" data-score', page)
    kept = [row["file_name"] for row in content_of(tmp_path / "set" / INSTANCES_FILE)["images"]]
    assert set(names) < set(kept)
    assert len(shown) == len(kept) == 8
    listed = tmp_path / "left_out.txt"
    for line, name in zip(shown, kept):
        listed.write_text(f"{line}\n", encoding="utf-8-sig")
        assert left_out_names(listed) == {name}
    for source in re.findall(r' src="([^"]*)"', page):
        assert (tmp_path / "set" / os.fsdecode(unquote_to_bytes(source))).is_file()
    listed.write_text("\n".join(shown))
    label("--leave-out", listed)
    assert content_of(tmp_path / "set" / INSTANCES_FILE)["images"] == []


def test_what_is_no_photo_of_the_set_is_said(tmp_path, label, photos, capsys):
    (photos / "broken.jpg").unlink()
    listed = tmp_path / "left_out.txt"
    listed.write_text("a.png\nA.png\n")
    assert label("--leave-out", listed) == 1
    assert "--leave-out: A.png is no photo of the data set" in capsys.readouterr().err
    assert content_of(tmp_path / "set" / INSTANCES_FILE)["info"]["provenance"]["left_out"] == 1
    listed.write_text("a.png\n")
    assert label("--leave-out", listed) == 0


def test_lists_name_photos_where_they_lie(tmp_path, label, photos):
    names = tmp_path / "some.txt"
    names.write_text(f"{photos}/deep/a.png\n{photos}/a.png\n")
    assert label(sources=[names]) == 0
    content = content_of(tmp_path / "set/annotations_instances.json")
    assert [row["file_name"] for row in content["images"]] == ["deep/a.png", "a.png"]
    assert content["info"]["provenance"]["image_root"] == str(photos)


def test_what_cannot_become_a_data_set_is_refused(tmp_path, label, photos, capsys):
    assert label(sources=[tmp_path]) == 2
    assert "its thumbnails would be photos" in capsys.readouterr().err
    assert label("--out", photos, sources=[photos / "a.png"]) == 2
    assert "no folder of its own beside" in capsys.readouterr().err
    (tmp_path / "shard.tar").write_bytes(b"")
    assert label(sources=[tmp_path / "shard.tar"]) == 2
    assert "unpack the shard" in capsys.readouterr().err
    assert label("--leave-out", tmp_path / "gone.txt") == 2
    assert "gone.txt: cannot be read: No such file" in capsys.readouterr().err
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    assert label("--leave-out", tmp_path / "bad.txt") == 2
    assert "bad.txt: is no list of names in UTF-8" in capsys.readouterr().err
    for twice in ([photos, photos / "a.png"], [photos / "deep", photos], [photos, photos]):
        assert label(sources=twice) == 2
        assert "would be in the data set twice" in capsys.readouterr().err
    assert label(sources=[tmp_path / "fotos"]) == 2
    assert "fotos: no such file or folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert label(sources=[tmp_path / "empty"]) == 2
    assert "no photos" in capsys.readouterr().err
    records = LabelRecords(tmp_path, photos, 0.3)
    with pytest.raises(ValueError, match="answers semantic alone"):
        records.begin(Segmenter(tiny("lseg").build(0)))


def test_two_models_joined_by_a_plus(tmp_path, photos, monkeypatch):
    """A grounder's boxes and SAM's masks become both files."""
    torch.manual_seed(0)
    composed = Segmenter(tiny_grounded_sam())
    monkeypatch.setattr(ModelSettings, "build", lambda self: composed)
    monkeypatch.setattr("freeseg.labelling.job._weights", lambda model: [])
    model = ModelSettings(model="grounder+sam", classes="red ball|ball, cup")
    job = LabelJob([str(photos)], model, tmp_path / "set", min_score=0.0, panoptic=True)
    job._job.settings = type(job._job.settings)(num_workers=0)
    job.run()
    content = content_of(tmp_path / "set/annotations_instances.json")
    assert [row["name"] for row in content["categories"]] == ["red ball", "cup"]
    assert content["annotations"]
    assert {row["category_id"] for row in content["annotations"]} <= {0, 1}
    for row in content_of(tmp_path / "set/annotations_panoptic.json")["annotations"]:
        ids = rgb2id(np.array(Image.open(tmp_path / "set/annotations_panoptic" / row["file_name"])))
        assert set(np.unique(ids)) - {0} == {each["id"] for each in row["segments_info"]}
