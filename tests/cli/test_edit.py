"""`freeseg edit`: what it writes, what it says, what it refuses, and its exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from freeseg import Segmenter, compose
from freeseg.cli import main
from freeseg.cli.model_choice import load_segmenter
from freeseg.editing import grown, load_painter, remove, replace

sys.path.insert(0, str(Path(__file__).parents[1]))
from full_disk import full_disk
from tiny_painter import write_painter
from tiny_systems import tiny_grounding_dino, tiny_sam

RED = np.zeros((20, 30), bool)  # what the model finds in the photo, with a score of 0.875
RED[:, :10] = True


@pytest.fixture
def command(photo, arguments) -> list[str]:
    """All but what to do; the last two words say which file is written."""
    model = arguments[:4]
    return ["edit", str(photo), *model, "--text", "red ball", "--out", str(out_of(photo))]


def out_of(photo: Path) -> Path:
    return photo.parent.parent / "out" / "edited.png"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def painter(tmp_path_factory) -> Path:
    return write_painter(tmp_path_factory.mktemp("painter"))


def test_removing_writes_what_the_api_gives(photo, command, capsys) -> None:
    assert main([*command, "--remove", "--grow", "3"]) == 0
    written = pixels(out_of(photo))
    np.testing.assert_array_equal(written, remove(photo, RED, grow=3))
    kept = ~grown(RED, 3)
    np.testing.assert_array_equal(written[kept], pixels(photo)[kept])
    assert (written[RED] != pixels(photo)[RED]).any()
    said = capsys.readouterr().out
    assert said == f"{photo}: red ball 0.88 removed -> {out_of(photo)}\n"


def test_replacing_writes_what_the_api_gives(photo, command, painter, capsys) -> None:
    words = ["--replace", "a cat", "--painter", str(painter), "--seed", "5", "--steps", "2"]
    assert main([*command, *words]) == 0
    expected = replace(photo, RED, "a cat", load_painter(painter), seed=5, steps=2)
    np.testing.assert_array_equal(pixels(out_of(photo)), expected)
    said = capsys.readouterr()
    assert said.out == f"{photo}: red ball 0.88 replaced by a cat -> {out_of(photo)}\n"
    assert "Loading" not in said.err
    for other in (["--seed", "6"], ["--steps", "3"], ["--replace", "dogs"], ["--grow", "1"]):
        assert main([*command, *words, *other]) == 0
        assert (pixels(out_of(photo)) != expected).any(), other


def test_the_score_and_best_say_what_is_changed(photo, command, capsys) -> None:
    Image.fromarray(np.eye(3, dtype=np.uint8).repeat(9, 0)[:, None].repeat(9, 1) * 200).save(photo)

    def found(*more: str) -> list[float]:
        assert main([*command, "--remove", "--grow", "0", "--json", *more]) == 0
        return [row["score"] for row in json.loads(capsys.readouterr().out)["found"]]

    assert found() == [0.875]
    assert found("--min-score", "0.25") == [0.875, 0.25]
    assert found("--min-score", "0.25", "--best") == [0.875]


def test_the_summary_as_json_is_all_of_standard_output(photo, command, capsys) -> None:
    assert main([*command, "--remove", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    summary.pop("version")
    row = {"name": "red ball", "score": 0.875, "box": [0, 0, 10, 20], "area": 200}
    assert summary == {
        "photo": str(photo),
        "height": 20,
        "width": 30,
        "change": "removed",
        "found": [row],
        "file": str(out_of(photo)),
    }


def test_without_out_it_is_named_after_the_photo(photo, command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command[:-2], "--remove"]) == 0
    assert [path.name for path in Path("output/edit").iterdir()] == ["photo.png"]


def test_a_turned_photo_is_written_upright_with_its_colours(photo, command) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(pixels(photo))))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    upright = pixels(photo)
    stored.save(photo, exif=exif, icc_profile=profile)
    assert main([*command, "--remove", "--grow", "0"]) == 0
    with Image.open(out_of(photo)) as written:
        assert written.info["icc_profile"] == profile
        assert written.getexif().get(0x0112, 1) == 1
        np.testing.assert_array_equal(np.asarray(written)[~RED], upright[~RED])


def test_transparency_lies_on_white(photo, command) -> None:
    alpha = np.full((20, 30, 1), 255, np.uint8)
    alpha[:, 20:] = 0
    Image.fromarray(np.concatenate([pixels(photo), alpha], -1)).save(photo)
    assert main([*command, "--remove", "--grow", "0"]) == 0
    assert (pixels(out_of(photo))[:, 20:] == 255).all()


def test_nothing_found_writes_nothing_and_says_what_there_is(photo, command, capsys) -> None:
    assert main([*command, "--remove", "--min-score", "0.9"]) == 1
    said = capsys.readouterr()
    assert not out_of(photo).exists()
    assert said.out == ""
    assert "photo.png: nothing found of red ball with a score from 0.9 on" in said.err
    sky = [word if word != "red ball" else "blue sky" for word in command]
    assert main([*sky, "--remove"]) == 1
    assert "nothing found of blue sky" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x.jpg", "--remove"], "--out x.jpg: wanted a .png file; JPEG and the like"),
        (["--out", "{photo}", "--remove"], "photo.png is the photo itself: name another"),
        (["--out", "{link}", "--remove"], "is the photo itself"),
        (["--text", "dog", "--remove"], "knows its 3 classes only, and not dog"),
        (["--among", "dog", "--remove"], "knows its 3 classes only"),
        (["--remove", "--seed", "3"], "--seed is of --replace"),
        (["--remove", "--painter", "x"], "--painter is of --replace"),
        (["--replace", " "], "--replace: wanted words"),
        (["--replace", "a cat", "--painter", "{folder}"], "wanted model_index.json"),
        (["--replace", "a cat", "--painter", "gone"], "no painter 'gone'"),
        ([], "one of the arguments --remove --replace is required"),
        (["--remove", "--replace", "a cat"], "not allowed with argument --remove"),
        (["--remove", "--grow", "-1"], "wanted a number from 0 on"),
        (["--replace", "a cat", "--steps", "0"], "wanted a number from 1 on"),
    ],
)
def test_what_cannot_be_is_refused_with_code_2(photo, command, words, message, capsys) -> None:
    if "--painter" in words and "--replace" in words:
        pytest.importorskip("diffusers")
    link = photo.with_name("link.png")
    link.symlink_to(photo)
    before = photo.read_bytes()
    words = [word.format(photo=photo, link=link, folder=photo.parent) for word in words]
    assert main([*command, *words]) == 2
    assert message in capsys.readouterr().err
    assert photo.read_bytes() == before
    assert not out_of(photo).exists()


def test_without_diffusers_nothing_is_computed(command, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setattr(Segmenter, "from_config", None)
    assert main([*command, "--replace", "a cat"]) == 2
    assert "pip install 'freeseg[diffusers]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"no image", "is not an image")]
)
def test_a_photo_that_cannot_be_read_is_code_1(photo, command, content, message, capsys) -> None:
    photo.unlink()
    if content is not None:
        photo.write_bytes(content)
    assert main([*command, "--remove"]) == 1
    assert f"{photo}: {message}" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_code_1(photo, command, capsys) -> None:
    blocked = photo.parent / "blocked.png"
    blocked.mkdir()
    assert main([*command, "--remove", "--out", str(blocked)]) == 2
    assert "is a folder: name a file in it" in capsys.readouterr().err
    with full_disk(10):
        assert main([*command, "--remove"]) == 1
    assert f"{out_of(photo)} cannot be written: File too large" in capsys.readouterr().err
    assert not list(out_of(photo).parent.iterdir())


def test_a_model_of_boxes_and_one_of_masks_are_grounded_sam(
    photo, command, monkeypatch, capsys
) -> None:
    """The least score counts among boxes as well, of which there are more than of masks."""
    grounder, filler = Segmenter(tiny_grounding_dino()), Segmenter(tiny_sam())
    monkeypatch.setattr("freeseg.cli.edit.load_segmenter", lambda args: grounder)
    assert main([*command, "--remove"]) == 2
    assert "--model A+sam-vit-b" in capsys.readouterr().err
    composed = compose(grounder, filler)
    monkeypatch.setattr("freeseg.cli.edit.load_segmenter", lambda args: composed)
    words = ["--remove", "--grow", "0", "--json", "--min-score", "0"]
    assert main([*command, *words]) == 0
    rows = json.loads(capsys.readouterr().out)["found"]
    assert rows
    assert {row["name"] for row in rows} == {"red ball"}
    changed = (pixels(out_of(photo)) != pixels(photo)).any(-1)
    assert 0 < changed.sum() <= sum(row["area"] for row in rows)


def test_the_model_options_name_the_model(photo, command, monkeypatch, capsys) -> None:
    asked = []

    def load(args):
        asked.append((args.config_file, args.weights, args.device))
        return load_segmenter(args)

    monkeypatch.setattr("freeseg.cli.edit.load_segmenter", load)
    assert main([*command, "--remove", "--device", "cpu"]) == 0
    assert asked == [(command[3], command[5], "cpu")]
