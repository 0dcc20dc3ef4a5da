"""Files from the net: once, whole, checked, and with one clear line where that is not possible.

An interrupted download goes on where it stopped. Nothing that is incomplete or differs from its
checksum ever has the final name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from iopath.common.file_io import file_lock
from tqdm import tqdm

from freeseg.files import publish

logger = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
# What a folder of the hub may have; the first weights that are there are taken.
HUB_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
_HUB_SETTINGS = ("config.json", "preprocessor_config.json")


class DownloadError(OSError):
    """Weights are not here and cannot be fetched; the message says why and what to do."""


class ChecksumError(DownloadError):
    """A file is not the one that the catalogue names."""


def download(url: str, target: Path, checksum: str = "") -> Path:
    """Fetches a file unless it is there.

    Args:
        url: Where from.
        target: Its path afterwards; beside it an unfinished download has the suffix ".part".
        checksum: As of `check_file`; when empty the SHA-256 of what came is logged.

    Raises:
        DownloadError: It could not be fetched; what has arrived is kept for the next time.
        ChecksumError: It is another file; nothing of it is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(str(target)):  # of two processes one downloads
        if target.is_file():
            return target
        part = target.with_name(target.name + ".part")
        try:
            _fetch_rest(url, part)
        except urllib.error.HTTPError as error:
            raise DownloadError(_failure(url, target, f"the server says {error.code}")) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DownloadError(_failure(url, target, str(reason))) from None
        try:
            check_file(part, checksum)
        except ChecksumError:
            part.unlink()
            raise
        publish(part, target)
        if not checksum:
            came = digest_of(target, "sha256")
            logger.warning("%s is not pinned; what came has the SHA-256 %s", url, came)
    return target


def download_from_hub(
    repository: str,
    revision: str = "",
    checksum: str = "",
    endpoint: str | None = None,
    cache: Path | None = None,
) -> Path:
    """Fetches configuration and weights of a repository on Hugging Face's hub, or finds them.

    Args:
        repository: "owner/name".
        revision: Branch, tag or commit; the main branch when empty.
        checksum: Of the one file of weights, as of `check_file`.
        endpoint: Another hub.
        cache: Where to; huggingface_hub's own cache when None.

    Returns:
        The folder that has them.

    Raises:
        DownloadError: They are not here and cannot be fetched.
        ChecksumError: The weights are others.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def fetch(name: str) -> Path:
        return Path(
            hf_hub_download(
                repository, name, revision=revision or None, endpoint=endpoint, cache_dir=cache
            )
        )

    def fetch_first(names: tuple[str, ...]) -> Path:
        for name in names[:-1]:
            try:
                return fetch(name)
            except LocalEntryNotFoundError:  # the net is missing, not the file
                raise
            except EntryNotFoundError:
                continue
        return fetch(names[-1])

    try:
        config = fetch(_HUB_SETTINGS[0])
        weights = fetch_first(HUB_WEIGHTS)
        for name in _parts_of(weights):
            fetch(name)
        _fetch_if_there(fetch, _HUB_SETTINGS[1])
    except (OSError, ValueError) as error:  # huggingface_hub's errors are one or the other
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DownloadError(
            f"cannot fetch {repository} from the hub ({reason}); with a connection run it again, "
            "without one copy its folder here and name that"
        ) from None
    check_file(weights, checksum)
    return config.parent


def check_file(path: Path, checksum: str) -> None:
    """Complains when a file's digest does not begin as it should.

    Args:
        path: Of the file.
        checksum: "sha256:" or "md5:" and the digits of the digest, perhaps only the first of them;
            an empty one expects nothing.

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
            f"{path.name} is not the file that was published: its {name} is "
            f"{came[:12]}..., expected {expected[:12]}...; delete it and run again"
        )


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
        file.write(chunk)
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


def _failure(url: str, target: Path, reason: str) -> str:
    return (
        f"cannot fetch {url} ({reason}); run it again to go on where it stopped, or put the file "
        f"at {target} yourself"
    )


def _parts_of(weights: Path) -> list[str]:
    """Names of the files that an index names."""
    if weights.suffix != ".json":
        return []
    return sorted(set(json.loads(weights.read_text())["weight_map"].values()))


def _fetch_if_there(fetch: Any, name: str) -> None:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        fetch(name)
    except LocalEntryNotFoundError:
        logger.info("%s is not in the cache", name)
    except EntryNotFoundError:
        logger.info("there is no %s", name)
