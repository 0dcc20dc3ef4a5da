"""Files from the net: once, whole, checked, and with one clear line where that is not possible.

An interrupted download goes on where it stopped. Nothing that is incomplete or differs from its
checksum ever has the final name.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from iopath.common.file_io import file_lock
from tqdm import tqdm

from freeseg.files import publish
from freeseg.zoo.connection import MIRROR, address_of, check_reachable
from freeseg_command.cache import VARIABLE

logger = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20


class DownloadError(OSError):
    """Weights are not here and cannot be fetched; the message says why and what to do."""


class ChecksumError(DownloadError):
    """A file is not the one that the catalogue names."""


def download(url: str, target: Path, checksum: str = "") -> Path:
    """Fetches a file unless it is there.

    Args:
        url: Where from.
        target: Its path afterwards; beside it an unfinished download has the suffix ".part". A
            file that is there and is not the published one is fetched anew.
        checksum: As of `check_file`; when empty the SHA-256 of what came is logged.

    Raises:
        DownloadError: It could not be fetched; what has arrived is kept for the next time.
        ChecksumError: What came is another file; nothing of it is kept.
    """
    url = address_of(url, target.name)
    with _lock(target):  # of two processes one downloads
        if _is_here(target, checksum):
            return target
        part = target.with_name(target.name + ".part")
        try:
            check_reachable(url)
            _fetch_rest(url, part)
        except (OSError, HTTPException) as error:
            raise DownloadError(_failure(url, target, part, error)) from None
        try:
            check_file(part, checksum, f"nothing of it is kept; {_by_hand(target)}")
        except ChecksumError as error:
            part.unlink()
            raise ChecksumError(f"{url}: {error}") from None
        publish(part, target)
        if not checksum:
            came = digest_of(target, "sha256")
            logger.warning("%s is not pinned; what came has the SHA-256 %s", url, came)
    return target


def check_file(path: Path, checksum: str, advice: str = "delete it and run again") -> None:
    """Complains when a file's digest does not begin as it should.

    Args:
        path: Of the file.
        checksum: "sha256:" or "md5:" and the digits of the digest, perhaps only the first of them;
            an empty one expects nothing.
        advice: What helps when it is another one.

    Raises:
        ChecksumError: It is another file.
    """
    if not checksum:
        return
    algorithm, _, expected = checksum.partition(":")
    came = digest_of(path, algorithm)
    if not came.startswith(expected.lower()):
        name = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
        raise ChecksumError(
            f"{path} is not the file that was published: its {name} is {came[:12]}..., "
            f"expected {expected[:12]}...; {advice}"
        )


def is_published(path: Path, checksum: str) -> bool:
    """Whether a file is the one that the catalogue names; a warning says so where it is not."""
    try:
        check_file(path, checksum, "it is fetched anew")
    except ChecksumError as error:
        logger.warning("%s", error)
        return False
    return True


def digest_of(path: Path, algorithm: str) -> str:
    """Returns the digest of a file in hexadecimal digits, by `hashlib`'s name of the algorithm."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch_rest(url: str, part: Path) -> None:
    """Appends to an unfinished file what it lacks."""
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "freeseg"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not done:
            raise
        # nothing is left to send: it is complete, or was of another file
        if _total_of(error.headers) == done:
            return
        part.unlink()
        _fetch_rest(url, part)
        return
    with answer:
        goes_on = done > 0 and answer.status == 206
        _append(answer, part, done if goes_on else 0)


def _append(answer: Any, part: Path, done: int) -> None:
    length = answer.headers.get("Content-Length")
    total = done + int(length) if length is not None else None
    with part.open("ab" if done else "wb") as file, _progress(part, done, total) as bar:
        _copy(answer, file, bar)
        size = file.tell()
    if total is not None and size != total:
        raise OSError(f"the connection ended after {size:,} of {total:,} bytes")


def _copy(answer: IO[bytes], file: IO[bytes], bar: Any) -> None:
    for chunk in iter(lambda: answer.read(_CHUNK), b""):
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            raise _DiskError(error.strerror or str(error)) from None
        bar.update(len(chunk))


def _progress(part: Path, done: int, total: int | None) -> Any:
    return tqdm(
        desc=part.stem, initial=done, total=total, unit="B", unit_scale=True, disable=None,
        leave=False,
    )  # fmt: skip


def _total_of(headers: Any) -> int | None:
    """The size in "Content-Range: bytes */1234"."""
    total = (headers.get("Content-Range") or "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


class _DiskError(OSError):
    """What came cannot be written."""


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = file_lock(str(target))
        lock.acquire()
    except OSError as error:
        raise DownloadError(
            f"{target.parent} cannot be written ({error.strerror or error}), where downloads are "
            f"kept; name another folder in {VARIABLE}"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _is_here(target: Path, checksum: str) -> bool:
    """Whether a file is there; one that is not the published one is removed."""
    if not target.is_file():
        return False
    is_right = is_published(target, checksum)
    if not is_right:
        target.unlink()
    return is_right


def _failure(url: str, target: Path, part: Path, error: Exception) -> str:
    """Says what happened, and what helps against just that."""
    if isinstance(error, _DiskError):
        return (
            f"cannot fetch {url}: {part} cannot be written ({error}); make room there or name "
            f"another folder in {VARIABLE}, and run it again to go on where it stopped"
        )
    if isinstance(error, urllib.error.HTTPError):
        meaning = _MEANINGS.get(error.code, "later it may answer otherwise")
        return f"cannot fetch {url} (the server says {error.code}: {meaning}); {_by_hand(target)}"
    reason = getattr(error, "reason", None) or error
    return (
        f"cannot fetch {url} ({reason}); run it again to go on where it stopped, or "
        f"{_by_hand(target)}"
    )


_MEANINGS = {
    401: "it wants a password",
    403: "it refuses",
    404: "it has no such file any more",
    410: "it has no such file any more",
    429: "too many have asked",
}


def _by_hand(target: Path) -> str:
    mirror = "" if os.getenv(MIRROR) else f", or name a mirror that has it in {MIRROR}"
    return f"put the file at {target} yourself{mirror}"
