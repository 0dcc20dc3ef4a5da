"""Clips through a segmenter, and what is written of them."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from freeseg import Segmenter
from freeseg.images import ImageError
from freeseg.tracking import read_frames
from freeseg.videos import Frame, Video, writing_video
from freeseg.visualization.tracks import TrackWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_systems import tiny_sam, tiny_seggpt

SIZE = (40, 56)


def pictures(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(count)]


def mask() -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    labels[5:20, 5:25], labels[22:36, 30:50] = 1, 3
    return labels


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(tiny_seggpt(3))


@pytest.fixture
def video(tmp_path) -> Path:
    path = tmp_path / "clip.mp4"
    with writing_video(path, Fraction(10), None) as writer:
        for number, image in enumerate(pictures(6)):
            writer.add(Frame(image, Fraction(number, 10)))
    return path


def test_frames_come_from_videos_folders_and_lists(tmp_path, video):
    frames = list(read_frames(video))
    assert [frame.name for frame in frames] == [f"{number:05d}" for number in range(6)]
    assert frames[3].time == Fraction(3, 10)
    half = list(read_frames(video, every=2))
    assert [(frame.number, frame.name) for frame in half] == [
        (number, f"{number:05d}") for number in range(3)
    ]
    assert half[1].time == Fraction(2, 10)
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, image in zip(("b", "a", "c"), pictures(3)):
        Image.fromarray(image).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no picture")
    assert [frame.name for frame in read_frames(folder)] == ["a", "b", "c"]
    assert [frame.name for frame in read_frames(pictures(5), every=3)] == ["00000", "00003"]


def test_what_gives_no_frames_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty: has no pictures"):
        list(read_frames(tmp_path / "empty"))
    for name in ("a.png", "b.png", "b.jpg"):
        Image.fromarray(pictures(1)[0]).save(tmp_path / "empty" / name)
    with pytest.raises(ImageError, match="empty: has several pictures of the name b"):
        list(read_frames(tmp_path / "empty"))  # results of one would replace those of the other
    with pytest.raises(ImageError, match=r"gone\.mp4: no such file"):
        list(read_frames(tmp_path / "gone.mp4"))
    with pytest.raises(ValueError, match="every must be 1 or more, got 0"):
        list(read_frames([], every=0))


def test_a_clip_is_followed_frame_by_frame(segmenter):
    asked: list[int] = []

    def frames():
        for number, image in enumerate(pictures(5)):
            asked.append(number)
            yield image

    tracks = segmenter.track(frames(), mask(), memory=2)
    assert asked == []  # nothing is read before it is asked for
    first = next(tracks)
    assert asked == [0]
    np.testing.assert_array_equal(first.labels, mask())
    assert first.segmentation.names == ("object 1", "object 3")
    rest = list(tracks)
    assert [each.frame.number for each in rest] == [1, 2, 3, 4]
    for each in rest:
        assert set(np.unique(each.labels)) <= {0, 1, 3}
        objects = each.segmentation.objects
        np.testing.assert_array_equal(objects.masks[1], each.labels == 3)


def test_what_cannot_be_followed_is_refused(segmenter):
    with pytest.raises(ValueError, match="SAM takes no examples, by which objects could be"):
        Segmenter(tiny_sam(0)).track(pictures(1), mask())
    with pytest.raises(ValueError, match="no object has begun"):
        list(segmenter.track(pictures(1)))
    with pytest.raises(ValueError, match="the clip has no frame 7, for which there are masks"):
        list(segmenter.track(pictures(2), {0: mask(), 7: mask()}))


def test_files_say_what_the_frames_do(tmp_path, segmenter, video):
    out = tmp_path / "tracks"
    with TrackWriter(out, rate=Fraction(10), source=video) as writer:
        tracks = []
        for tracked in segmenter.track(video, mask()):
            writer.add(tracked)
            tracks.append(tracked)
        assert not (out / "tracks.json").exists()  # it has its name once it is whole
    for tracked in tracks:
        with Image.open(out / f"{tracked.frame.name}.png") as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.asarray(picture), tracked.labels)
            assert picture.getpalette()[3:6] == [128, 0, 0]  # DAVIS's first colour
    content = json.loads((out / "tracks.json").read_text())
    assert [image["file_name"] for image in content["images"]] == [t.frame.name for t in tracks]
    assert content["tracks"] == [{"id": 1, "name": "object 1"}, {"id": 3, "name": "object 3"}]
    seen = {(row["image_id"], row["track_id"]): row for row in content["annotations"]}
    for number, tracked in enumerate(tracks, start=1):
        for track in (1, 3):
            there = tracked.labels == track
            assert ((number, track) in seen) == there.any()
            if there.any():
                row = seen[number, track]
                np.testing.assert_array_equal(rle_codec.decode(row["segmentation"]), there)
                assert row["area"] == there.sum()
    with Video(out / "overlay.mp4") as overlay:
        assert sum(1 for _ in overlay.frames()) == len(tracks) == 6


def test_a_broken_clip_leaves_no_half_file(tmp_path, segmenter):
    def fail(tracks):
        with TrackWriter(tmp_path / "out") as writer:
            for tracked in tracks:
                writer.add(tracked)

    masks = {0: mask(), 1: mask()[:5]}
    with pytest.raises(ValueError, match="do not lie on a photo"):
        fail(segmenter.track(pictures(2), masks))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00000.png"]


def test_formats_are_chosen(tmp_path, segmenter):
    with TrackWriter(tmp_path / "out", ["coco"]) as writer:
        writer.add(next(segmenter.track(pictures(1), np.zeros(SIZE, bool) | (mask() > 0))))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tracks.json"]
    for formats in ([], ["gif"]):
        with pytest.raises(ValueError, match="wanted some of the formats png, coco, overlay"):
            TrackWriter(tmp_path / "out", formats)
