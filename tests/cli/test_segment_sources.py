"""What `freeseg segment` finds to segment, what a video becomes, and what is not written over."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from freeseg.cli import find_photos, main, unique_stems
from freeseg.images import ImageError, read_image


def test_files_folders_and_patterns_are_found_once_each(tmp_path: Path) -> None:
    names = ["b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "sub/c.webp", "sub/deep/d.tif"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    bracket = tmp_path / "e[1].jpg"
    bracket.write_bytes(b"x")

    def found(*arguments: str) -> list[str]:
        paths = find_photos([str(tmp_path / argument) for argument in arguments])
        return [path.relative_to(tmp_path).as_posix() for path in paths]

    assert found(".") == ["a.PNG", "b.jpg", "e[1].jpg"]
    assert found("b.jpg", ".") == ["b.jpg", "a.PNG", "e[1].jpg"]
    assert found("**/*.[tw]*") == ["notes.txt", "sub/c.webp", "sub/deep/d.tif"]
    assert found("e[1].jpg") == ["e[1].jpg"]
    assert found("notes.txt", "*.gif") == ["notes.txt", "*.gif"]


def test_photos_in_folders_of_a_folder_are_mentioned(arguments, tmp_path, capsys) -> None:
    for name in ("top/a/b.jpg", "top/c/d/e.png", "top/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert main(["segment", str(tmp_path / "top"), *arguments]) == 1
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"freeseg: {tmp_path / 'top'}: holds no image files itself, but folders")
    assert "folders in it hold 2: name these folders" in line


def test_a_web_address_is_read_as_python_reads_it(photo, arguments, tmp_path, capsys) -> None:
    address = "http://127.0.0.1:9/a/x.jpg?size=3"  # nobody listens on the port that discards
    with pytest.raises(ImageError) as caught:
        read_image(address)
    assert main(["segment", address, str(photo), *arguments]) == 1
    assert capsys.readouterr().err.splitlines()[0] == f"freeseg: {caught.value}"
    assert address in str(caught.value)
    assert unique_stems([address, Path("x.png"), "https://example.org"]) == ["x", "x_2", "photo"]


def test_photos_of_one_name_do_not_overwrite_each_other() -> None:
    photos = [Path(name) for name in ("a/x.jpg", "b/x.jpg", "x_2.png", "X.png", "y.jpg")]
    assert unique_stems(photos) == ["x", "x_2", "x_2_2", "X_3", "y"]


def test_a_pattern_that_matches_nothing_says_so(photo, arguments, tmp_path, capsys) -> None:
    pattern = str(tmp_path / "in" / "*.jpeg")
    assert main(["segment", pattern, str(photo), *arguments]) == 1
    assert f"freeseg: {pattern}: no file matches this pattern\n" in capsys.readouterr().err


def write_video(path: Path, frames: int, height: int = 40, width: int = 60) -> None:
    """Red at the left, green elsewhere, and the red grows."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for number in range(frames):
        frame = np.full((height, width, 3), 10, dtype=np.uint8)
        frame[:, :, 1] = 200  # BGR
        frame[:, : 10 + 5 * number] = (10, 10, 200)
        writer.write(frame)
    writer.release()


def read_video(path: Path) -> np.ndarray:
    capture = cv2.VideoCapture(str(path))
    frames = [frame for _, frame in iter(capture.read, (False, None))]
    return np.stack(frames)[..., ::-1]


def test_a_video_becomes_a_video(arguments, tmp_path, capsys) -> None:
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "drive.avi", 6)
    command = ["segment", str(tmp_path / "in"), *arguments, "--task", "semantic", "--json"]
    assert main([*command, "--every", "2", "--format", "overlay,labelmap"]) == 0
    [entry] = json.loads(capsys.readouterr().out)["results"]
    assert entry["frames"] == 3
    assert entry["found"] == {"red ball": 3, "green field": 3}
    drawn = read_video(Path(entry["files"]["video"]))
    assert drawn.shape == (3, 40, 60, 3)
    folder = tmp_path / "out" / "drive"
    assert len(list(folder.iterdir())) == 9
    for number, edge in enumerate((10, 20, 30), start=1):
        labels = np.asarray(Image.open(folder / f"drive_{number:06d}_semantic.png"))
        assert (labels[:, : edge - 3] == 1).all(), number
        assert (labels[:, edge + 3 :] == 0).all(), number


def test_videos_are_counted_as_videos(photo, arguments, tmp_path, capsys) -> None:
    write_video(photo.parent / "a.avi", 2)
    assert main(["segment", str(photo.parent / "a.avi"), *arguments]) == 0
    assert capsys.readouterr().out.endswith(f"1 video segmented into {tmp_path / 'out'}\n")
    write_video(photo.parent / "b.avi", 2)
    assert main(["segment", str(photo.parent), *arguments]) == 0
    assert "1 photo and 2 videos segmented into" in capsys.readouterr().out


def test_of_a_video_only_a_video_is_written_unless_more_is_asked_for(arguments, tmp_path) -> None:
    sources = tmp_path / "in"
    sources.mkdir()
    for name in ("trip.1.avi", "trip.2.avi"):
        write_video(sources / name, 2)
    assert main(["segment", str(sources), *arguments]) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"trip.1.mp4", "trip.2.mp4"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("photo_panoptic_overlay.png", []),
        ("photo_panoptic.png", ["--format", "coco"]),
        ("photo_semantic_colors.png", ["--task", "semantic", "--format", "labelmap"]),
    ],
)
def test_a_photo_is_not_written_over_one_that_is_read(
    photo, arguments, tmp_path, capsys, name, options
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    other = photo.rename(out / "photo.png").with_name(name)
    Image.new("RGB", (3, 3)).save(other)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(["segment", str(out), *arguments, *options]) == 2
    assert capsys.readouterr().err == (
        f"freeseg: error: {other} would be replaced: name another folder with --out\n"
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert main(["segment", str(out), *arguments, "--format", "html"]) == 0
    assert main(["segment", str(other), *arguments, *options]) == 0  # its own has another name


def test_a_video_is_not_written_over_one_that_is_read(arguments, tmp_path, capsys) -> None:
    (tmp_path / "out").mkdir()
    video = tmp_path / "out" / "v.mp4"
    write_video(tmp_path / "v.avi", 4)
    (tmp_path / "v.avi").rename(video)
    content = video.read_bytes()
    (tmp_path / "link.mp4").symlink_to(video)
    (tmp_path / "link").mkdir()
    write_video(tmp_path / "link" / "v.avi", 4)
    for sources in ([video], [tmp_path / "link" / "v.avi", tmp_path / "link.mp4"]):
        assert main(["segment", *map(str, sources), *arguments, "--every", "3"]) == 2
        error = capsys.readouterr().err
        assert (
            error == f"freeseg: error: {video} would be replaced: name another folder with --out\n"
        )
        assert video.read_bytes() == content


def test_a_video_that_is_not_whole_is_not_kept(arguments, tmp_path, monkeypatch) -> None:
    from fixed_model import StrongestChannel

    old = tmp_path / "out" / "v.mp4"
    old.parent.mkdir()
    old.write_bytes(b"of before")
    write_video(tmp_path / "v.avi", 3)
    outputs = iter([StrongestChannel.forward] * 2)
    monkeypatch.setattr(StrongestChannel, "forward", lambda *args: next(outputs)(*args))
    with pytest.raises(RuntimeError):
        main(["segment", str(tmp_path / "v.avi"), *arguments])
    assert [path.name for path in old.parent.iterdir()] == ["v.mp4"]
    assert old.read_bytes() == b"of before"


def test_what_is_no_video_is_one_line(arguments, tmp_path, capsys) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    assert main(["segment", str(tmp_path / "bad.mp4"), *arguments]) == 1
    assert "bad.mp4: is no video, or of a kind" in capsys.readouterr().err
    assert main(["segment", str(tmp_path / "absent.mp4"), *arguments]) == 1
    assert "absent.mp4: no such file" in capsys.readouterr().err
