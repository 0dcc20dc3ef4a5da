"""Videos: times, turns, sizes, colours and sound survive, and what is written is H.264."""

from __future__ import annotations

import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from freeseg.images import ImageError
from freeseg.videos import Frame, Video, writing_video

sys.path.insert(0, str(Path(__file__).parent))
from full_disk import contents, full_disk

TIMES = [Fraction(text) for text in ("0", "0.1", "0.15", "0.5", "1")]
RED, GREEN = (200, 20, 30), (20, 180, 40)


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A red field in the top left corner, which grows, on green."""
    pixels = np.full((height, width, 3), GREEN, dtype=np.uint8)
    pixels[: height // 2, : 16 + 8 * number] = RED
    return pixels


def write_source(
    path: Path, times: list[Fraction] = TIMES, *, sound: str = "", start: int = 0
) -> Path:
    """A video of another kind (MPEG-4 part 2), perhaps with a tone."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=20, options={"qscale": "2"})
        stream.height, stream.width = 48, 64
        stream.pix_fmt = "yuv420p"
        tone = file.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = round((start + time) * 1000), Fraction(1, 1000)
            stream.codec_context.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if tone is not None:
            heard = np.sin(np.arange(48_000) * 0.05).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(heard, format="fltp", layout="mono")
            block.sample_rate, block.time_base = 48_000, Fraction(1, 48_000)
            block.pts = start * 48_000
            file.mux(tone.encode(block))
            file.mux(tone.encode(None))
    return path


def written_again(source: Path, target: Path, every: int = 1) -> Path:
    with Video(source) as video, writing_video(target, video.rate / every, source) as writer:
        for frame in video.frames(every):
            writer.add(frame)
    return target


def frames_of(path: Path) -> list[Frame]:
    with Video(path) as video:
        return list(video.frames())


def test_what_is_written_is_h264_that_plays_while_it_loads(tmp_path: Path) -> None:
    path = written_again(write_source(tmp_path / "in.mkv"), tmp_path / "out.mp4")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 48)
        assert not file.streams.audio
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["in.mkv", "out.mp4"]


def test_times_stay_as_they_are_also_of_a_variable_rate(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in.mkv")
    assert [frame.time for frame in frames_of(source)] == TIMES
    path = written_again(source, tmp_path / "out.mp4")
    assert [frame.time for frame in frames_of(path)] == TIMES
    path = written_again(source, tmp_path / "half.mp4", every=2)
    assert [frame.time for frame in frames_of(path)] == TIMES[::2]
    with av.open(str(path)) as file:
        assert file.duration / av.time_base == pytest.approx(1.1, abs=0.06)  # the last is shown


def test_every_nth_frame_of_a_steady_rate_leaves_the_duration(tmp_path: Path) -> None:
    times = [Fraction(number, 10) for number in range(20)]
    source = write_source(tmp_path / "in.mkv", times)
    path = written_again(source, tmp_path / "out.mp4", every=5)
    assert [frame.time for frame in frames_of(path)] == times[::5]
    with av.open(str(path)) as file:
        assert file.duration / av.time_base == pytest.approx(2.0, abs=0.3)


def test_colours_and_places_stay(tmp_path: Path) -> None:
    path = written_again(write_source(tmp_path / "in.mkv"), tmp_path / "out.mp4")
    for number, frame in enumerate(frames_of(path)):
        edge = 16 + 8 * number
        assert np.abs(frame.image[:20, : edge - 4].astype(int) - RED).max() < 16, number
        assert np.abs(frame.image[28:].astype(int) - GREEN).max() < 16, number
        assert np.abs(frame.image[:, edge + 4 :].astype(int) - GREEN).max() < 16, number


def test_odd_sides_gain_a_line_that_repeats_the_last(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    pixels = picture(0, 47, 63)
    with writing_video(path, Fraction(10), write_source(tmp_path / "in.mkv")) as writer:
        writer.add(Frame(pixels, Fraction(0)))
    [frame] = frames_of(path)
    assert frame.image.shape == (48, 64, 3)
    assert np.abs(frame.image[-1].astype(int) - GREEN).max() < 16
    assert np.abs(frame.image[30:, -1].astype(int) - GREEN).max() < 16


@pytest.mark.parametrize(
    ("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)]
)
def test_phones_say_how_a_video_is_turned(tmp_path: Path, matrix, turns: int) -> None:
    source = written_again(write_source(tmp_path / "in.mkv"), tmp_path / "lying.mp4")
    lying = frames_of(source)[0].image
    content = bytearray(source.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    start = content.index(b"tkhd") + 44  # where the header of a track has its matrix
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)
    upright = frames_of(turned)[0].image
    np.testing.assert_array_equal(upright, np.rot90(lying, turns))
    path = written_again(turned, tmp_path / "out.mp4")
    again = frames_of(path)[0].image
    assert again.shape == upright.shape
    assert np.abs(again.astype(int) - upright).mean() < 4, "and is not turned twice"


def packets_of(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as file:
        track = file.streams.audio[0]
        packets = [packet for packet in file.demux(track) if packet.dts is not None]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets]


@pytest.mark.parametrize(("suffix", "kind"), [("mkv", "aac"), ("mp4", "aac"), ("mkv", "flac")])
def test_sound_is_copied(tmp_path: Path, suffix: str, kind: str) -> None:
    source = write_source(tmp_path / f"in.{suffix}", sound=kind)
    path = written_again(source, tmp_path / "out.mp4")
    before, after = packets_of(source), packets_of(path)
    assert [content for _, content in after] == [content for _, content in before]
    times = [time for time, _ in before]
    assert [time for time, _ in after] == pytest.approx(times, abs=0.002)


def test_sound_that_browsers_do_not_play_becomes_aac(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in.avi", sound="pcm_s16le")
    path = written_again(source, tmp_path / "out.mp4")
    with av.open(str(path)) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
        heard = [frame.to_ndarray() for frame in file.decode(audio=0)]
    level = np.sqrt((np.concatenate(heard, axis=1)[0, 2000:40_000] ** 2).mean())
    assert level == pytest.approx(0.5**0.5, abs=0.05), "of a sine"


def test_a_clock_that_counts_from_anywhere_begins_at_0(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in.ts", sound="aac", start=100)
    with av.open(str(source)) as file:
        assert file.start_time > 99 * av.time_base
    path = written_again(source, tmp_path / "out.mp4")
    for one in (source, path):
        assert [frame.time for frame in frames_of(one)][:2] == pytest.approx([0.02, 0.12], abs=0.03)
    assert len(packets_of(path)) == len(packets_of(source))


def test_damaged_frames_are_left_out(tmp_path: Path) -> None:
    times = [Fraction(number, 10) for number in range(40)]
    source = write_source(tmp_path / "in.mkv", times)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 2 // 3])
    kept = [frame.time for frame in frames_of(source)]
    assert kept == times[: len(kept)]
    assert 10 < len(kept) < 40


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"words", "is no video"), (b"", "is no video")],
)
def test_what_is_no_video_is_one_line(tmp_path: Path, content, reason: str) -> None:
    path = tmp_path / "in.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        Video(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as file:
        tone = file.add_stream("aac", rate=48_000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 9000), np.float32), "fltp", "mono")
        block.sample_rate, block.pts = 48_000, 0
        file.mux(tone.encode(block))
        file.mux(tone.encode(None))
    with pytest.raises(ImageError, match="has no pictures"):
        Video(path)


@pytest.mark.parametrize("room", [10, 1000, 20_000])
def test_a_full_disk_is_one_line_and_leaves_the_old_video(tmp_path: Path, room: int) -> None:
    times = [Fraction(number, 10) for number in range(10)]
    source = write_source(tmp_path / "in.mkv", times)
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    before = contents(tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (10, 240, 320, 3), dtype=np.uint8)
    told = r"out\.mp4 cannot be written: File too large$"

    def write() -> None:
        with writing_video(path, Fraction(10), source) as writer:
            for pixels, time in zip(noise, times):
                writer.add(Frame(pixels, time))

    with full_disk(room), pytest.raises(OSError, match=told):
        write()
    assert contents(tmp_path) == before
