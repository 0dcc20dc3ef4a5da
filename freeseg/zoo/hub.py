"""Models of Hugging Face's hub: fetched into its own cache, or found there without a net."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from freeseg.checkpoints import FOLDER_FILES, index_parts
from freeseg.zoo.connection import check_reachable
from freeseg.zoo.download import DownloadError, check_file, is_published

_HUB_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")


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
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    address = endpoint or constants.ENDPOINT
    unreachable = _why_unreachable(address)
    files = _Repository(repository, revision or None, endpoint, cache, not unreachable)
    try:
        config = files.fetch(_HUB_SETTINGS[0])
        weights = files.fetch_first(FOLDER_FILES)
        for name in index_parts(weights) if weights.suffix == ".json" else ():
            files.fetch(name)
        with contextlib.suppress(LocalEntryNotFoundError):  # HF_HUB_OFFLINE, and never fetched
            for name in _HUB_SETTINGS[1:]:
                files.fetch_if_there(name)
        if not is_published(weights, checksum):
            weights = files.fetch(weights.name, anew=True)
    except (OSError, ValueError) as error:  # huggingface_hub's errors are one or the other
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        is_named = "HF_ENDPOINT" in os.environ
        mirror = "" if is_named else ", or name a mirror of the hub in HF_ENDPOINT"
        raise DownloadError(
            f"cannot fetch {repository} from the hub {address} ({unreachable or reason}); with a "
            f"connection run it again, without one copy its folder here and name that{mirror}"
        ) from None
    check_file(weights, checksum, "the hub has another file than the catalogue names")
    return config.parent


class _NotCachedError(OSError):
    """A file of the hub is not on this machine."""


@dataclass(frozen=True)
class _Repository:
    """The files of a repository, from the hub where it can be reached, else from the cache."""

    name: str
    revision: str | None
    endpoint: str | None
    cache: Path | None
    is_reachable: bool

    def fetch(self, file: str, *, anew: bool = False) -> Path:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        if not self.is_reachable:  # huggingface_hub would call all the same, to say who asks
            known = try_to_load_from_cache(self.name, file, self.cache, self.revision)
            if anew or not isinstance(known, str):
                raise _NotCachedError(file)
            return Path(known)
        return Path(
            hf_hub_download(
                self.name,
                file,
                revision=self.revision,
                endpoint=self.endpoint,
                cache_dir=self.cache,
                force_download=anew,
            )
        )

    def fetch_first(self, files: tuple[str, ...]) -> Path:
        for file in files[:-1]:
            found = self.fetch_if_there(file)
            if found is not None:
                return found
        return self.fetch(files[-1])

    def fetch_if_there(self, file: str) -> Path | None:
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return self.fetch(file)
        except LocalEntryNotFoundError:  # the net broke down, the file may be there
            raise
        except (EntryNotFoundError, _NotCachedError):
            return None


def _why_unreachable(endpoint: str) -> str:
    try:
        check_reachable(endpoint)
    except OSError as error:
        return str(error)
    return ""
