"""Videos: upright RGB frames and their times, and H.264 that every browser plays.

Shapes: H W frame size.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace

from freeseg.files import naming, replacing
from freeseg.images import ImageError, RgbImage

logger = logging.getLogger(__name__)

_DEFAULT_RATE = Fraction(25)  # frames per second, where a file does not say
_CLOCK = Fraction(1, 90_000)  # seconds; frames of all usual rates fall on it, variable ones nearly
_BT709 = 1  # how colours are coded and said to be, as screens and browsers expect it
_QUALITY = {"crf": "20", "preset": "fast"}  # visually lossless in most scenes
_UNWRITTEN = (OSError, av.error.FFmpegError)  # the latter would name the unfinished file
_COPIED_SOUND = frozenset({"aac", "mp3", "opus", "flac"})  # what .mp4 holds and browsers play


@dataclass(frozen=True)
class Frame:
    """A picture of a video, as it is to be seen."""

    image: RgbImage  # [H, W, 3]
    time: Fraction  # seconds from the start


class Video:
    """A video file that is open for reading."""

    def __init__(self, path: Path) -> None:
        """Opens it.

        Raises:
            ImageError: It cannot be read as a video.
        """
        self.path = path
        if not path.is_file():
            raise ImageError(str(path), "no such file")
        try:
            self._file = av.open(str(path))
        except (av.error.FFmpegError, OSError, ValueError):
            raise ImageError(
                str(path), "is no video, or of a kind that FFmpeg cannot read"
            ) from None
        if not self._file.streams.video:
            self._file.close()
            raise ImageError(str(path), "has no pictures, only sound or text")
        self._stream = self._file.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or _DEFAULT_RATE)
        self.num_frames = self._stream.frames or None  # None: the file does not say

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Gives every n-th frame, upright, in the order of their times; damaged ones are left out.

        Raises:
            ImageError: There is none.
        """
        start, last = _start_of(self._file), None
        number = -1
        for number, picture in enumerate(self._decoded()):
            if number % every:
                continue
            time = number / self.rate
            if picture.pts is not None and picture.time_base is not None:
                time = picture.pts * Fraction(picture.time_base) - start
            if last is not None and time <= last:  # some files count anew in the middle
                time = last + every / self.rate
            last = time
            coded = Colorspace.ITU709 if picture.colorspace == _BT709 else Colorspace.ITU601
            pixels = picture.to_ndarray(  # [H, W, 3]
                format="rgb24",
                src_colorspace=coded,
                dst_colorspace=Colorspace.ITU601,  # RGB has none, but PyAV 15 heeds a change only
            )
            turned = np.rot90(pixels, round(picture.rotation / 90))
            yield Frame(np.ascontiguousarray(turned), time)
        if number < 0:
            raise ImageError(str(self.path), "has no frames")

    def _decoded(self) -> Iterator[av.VideoFrame]:
        num_damaged = 0
        try:
            for packet in self._file.demux(self._stream):
                try:
                    yield from packet.decode()
                except av.error.FFmpegError:
                    num_damaged += 1
        except av.error.FFmpegError:  # the file is cut off
            num_damaged += 1
        if num_damaged:
            logger.warning("%s is damaged in %d places", self.path, num_damaged)


class VideoWriter:
    """Writes frames as H.264 into an .mp4 file, which has its name once it is complete."""

    def __init__(self, path: Path, file: Any, rate: Fraction, source: Path | None) -> None:
        """Use `writing_video`."""
        self.path = path
        self._file = file
        self._rate = rate
        self._source = source
        self._stream: Any = None  # from the first frame on, which says the size
        self._sound: _Sound | None = None

    def add(self, frame: Frame) -> None:
        """Appends a frame; a side that is odd gains a line, as H.264 has even ones only."""
        with naming(self.path, _UNWRITTEN):
            if self._stream is None:
                self._start(frame)
            height, width = frame.image.shape[:2]
            even = np.pad(frame.image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
                width=self._stream.width,
                height=self._stream.height,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
            )
            picture.pts, picture.time_base = round(frame.time / _CLOCK), _CLOCK
            if self._sound is not None:
                self._sound.write_until(frame.time)
            self._write(picture)

    def finish(self) -> None:
        """Writes what is left."""
        with naming(self.path, _UNWRITTEN):
            if self._stream is not None:
                self._write(None)
            if self._sound is not None:
                self._sound.write_until(None)

    def close(self) -> None:
        """Closes the files."""
        if self._sound is not None:
            self._sound.close()
        with naming(self.path, _UNWRITTEN):
            self._file.close()

    def _start(self, frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        self._stream = self._file.add_stream("libx264", rate=self._rate, options=_QUALITY)
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = _CLOCK
        for key in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(self._stream.codec_context, key, _BT709)  # range: 1 is the usual one
        if self._source is not None:
            self._sound = _open_sound(self._source, self._file)

    def _write(self, picture: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(picture):
            packet.duration = round(1 / self._rate / _CLOCK)  # of the last, which has no next
            self._file.mux(packet)


@contextlib.contextmanager
def writing_video(path: Path, rate: Fraction, source: Path | None) -> Iterator[VideoWriter]:
    """Gives a writer; the file has its name when the block ends without an error.

    Args:
        path: Of the .mp4 file.
        rate: Frames per second, on average: each frame has its own time.
        source: The video that is shown in another way, whose sound is kept; None: it is silent.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(path) as partial:
        with naming(path, _UNWRITTEN):
            # faststart: what a browser has to know first stands in front
            file = av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"})
        writer = VideoWriter(path, file, rate, source)
        try:
            yield writer
            writer.finish()
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                writer.close()
            raise
        writer.close()


class _Sound:
    """The first sound track of a file on its way into another, beside the pictures."""

    def __init__(self, source: Any, target: Any) -> None:
        self._source, self._target = source, target
        track = source.streams.audio[0]
        self._start = _start_of(source)
        self._is_copied = track.codec_context.name in _COPIED_SOUND
        if self._is_copied:
            self._stream = target.add_stream_from_template(track)
        else:
            layout = "mono" if track.codec_context.channels == 1 else "stereo"
            self._stream = target.add_stream("aac", rate=track.rate, layout=layout)
        self._packets = self._read(track)
        self._next = next(self._packets, None)

    def write_until(self, time: Fraction | None) -> None:
        """Writes what is heard up to a time, all that is left when None."""
        while self._next is not None and (time is None or self._time_of(self._next) <= time):
            self._write(self._next)
            self._next = next(self._packets, None)
        if time is None and not self._is_copied:
            self._target.mux(self._stream.encode(None))

    def close(self) -> None:
        self._source.close()

    def _read(self, track: Any) -> Iterator[Any]:
        """Packets to copy, or sound to encode anew."""
        try:
            for packet in self._source.demux(track):
                if self._is_copied:
                    if packet.dts is not None:  # else it is the mark of the end
                        yield packet
                else:
                    yield from (heard for heard in packet.decode() if heard.pts is not None)
        except av.error.FFmpegError as error:
            logger.warning("the sound is damaged and ends early: %s", error)

    def _time_of(self, heard: Any) -> Fraction:
        time = heard.dts if self._is_copied else heard.pts
        return Fraction(time * heard.time_base) - self._start

    def _write(self, heard: Any) -> None:
        shift = round(self._start / heard.time_base)
        heard.pts = None if heard.pts is None else heard.pts - shift
        if self._is_copied:
            heard.dts -= shift
            heard.stream = self._stream
            self._target.mux(heard)
        else:
            self._target.mux(self._stream.encode(heard))


def _open_sound(source: Path, target: Any) -> _Sound | None:
    file = av.open(str(source))
    if file.streams.audio and file.streams.audio[0].codec_context is not None:
        return _Sound(file, target)
    file.close()
    return None


def _start_of(file: Any) -> Fraction:
    """Seconds at which a file's clock begins: recordings of television count from anywhere.

    What is before 0 is sound that is not to be heard, which its decoder needs.
    """
    return Fraction(max(0, file.start_time or 0), av.time_base)
