"""A job over any number of photos that goes on where it was killed, in whole pieces."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from freeseg.bulk.manifest import Manifest, check_sources, find_names, is_shard
from freeseg.bulk.parts import FORMATS, part_path
from freeseg.bulk.processes import Done, run_in_processes
from freeseg.bulk.ray_engine import run_in_ray
from freeseg.bulk.report import BulkReport, write_report
from freeseg.bulk.worker import ModelSettings, settings_text
from freeseg.files import remove_partials, write_text

logger = logging.getLogger(__name__)

ENGINES = ("processes", "ray")


@dataclass(frozen=True)
class BulkSettings:
    """How a job runs; none of it changes what comes out.

    Attributes:
        engine: "processes" or "ray".
        num_workers: Processes or actors; 0 is this process.
        chunk_size: Photos in a piece, which is what a kill costs at most per worker. A shard is
            a piece of its own.
    """

    engine: str = "processes"
    num_workers: int = 1
    chunk_size: int = 32

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"the engine must be one of {ENGINES}, got {self.engine!r}")
        if self.num_workers < 0 or self.chunk_size < 1:
            raise ValueError(
                f"wanted 0 workers or more and pieces of 1 photo or more, got {self.num_workers} "
                f"and {self.chunk_size}"
            )


class BulkJob:
    """Photos of some sources, a model, and a folder for the results.

    Every photo of the input has exactly one record in ``parts/``: its annotations, or the error.
    A part appears whole when its piece is done; a job that is started again skips those.
    """

    def __init__(
        self,
        sources: Sequence[str],
        model: ModelSettings,
        out: Path,
        form: str = "jsonl",
        settings: BulkSettings | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            sources: Photos, folders, .txt lists and tar shards.
            model: To segment with.
            out: Folder of the results.
            form: "jsonl", or "webdataset" for tar shards with the photos in them.
            settings: How to run.
        """
        if form not in FORMATS:
            raise ValueError(f"the format must be one of {FORMATS}, got {form!r}")
        self.sources = list(sources)
        self.model = model
        self.out = out
        self.form = form
        self.settings = settings or BulkSettings()

    def run(self) -> BulkReport:
        """Segments what has no part yet, and reports on everything.

        Raises:
            ValueError: When the folder holds results of other settings, another job runs in it, or
                a source is not there.
        """
        started = time.monotonic()
        (self.out / "parts").mkdir(parents=True, exist_ok=True)
        with _alone_in(self.out):
            manifest = self._prepare()
            num_new, errors = 0, []
            for done in self._run(self._missing(manifest)):
                num_new += done.count
                if done.error:
                    errors.append(done.error)
            remove_partials(self.out / "parts")  # of processes that were replaced
            return write_report(self.out, self.parts(), errors, num_new, time.monotonic() - started)

    def parts(self) -> list[Path]:
        """The parts of all pieces, in their order, whether they are there yet or not."""
        return [self._part(chunk) for chunk in range(Manifest(self.out).num_chunks)]

    def _prepare(self) -> Manifest:
        manifest = Manifest(self.out)
        settings = settings_text(self.model, self.form, self.sources)
        stored = self.out / "settings.json"
        remove_partials(self.out / "parts")
        is_other = stored.is_file() and stored.read_text() != settings
        if manifest.exists and is_other and any((self.out / "parts").iterdir()):
            raise ValueError(
                f"{self.out} holds results of other settings, see {stored}; choose another folder"
            )
        if manifest.exists and not is_other:
            self._compare(manifest)
        else:  # also after a run that came to nothing, as with a model that it could not use
            check_sources(self.sources)
            write_text(stored, settings)
            manifest.write(find_names(self.sources), self._chunk_size())
        return manifest

    def _compare(self, manifest: Manifest) -> None:
        """Says where the sources no longer hold the photos that the job began with."""
        names = itertools.chain.from_iterable(map(manifest.read, range(manifest.num_chunks)))
        with contextlib.suppress(OSError):  # a list that is gone; the manifest has its names
            for known, found in itertools.zip_longest(names, find_names(self.sources)):
                if known != found:
                    logger.warning(
                        "%s goes on with the photos that it began with, and the sources have others"
                        " now (instead of %s %s); choose another folder for those",
                        *(self.out, known or "nothing", found or "nothing"),
                    )
                    return

    def _chunk_size(self) -> int:
        has_shards = any(is_shard(name) for name in find_names(self.sources))
        return 1 if has_shards else self.settings.chunk_size

    def _part(self, chunk: int) -> Path:
        return part_path(self.out / "parts", chunk, self.form)

    def _missing(self, manifest: Manifest) -> Iterator[int]:
        return (c for c in range(manifest.num_chunks) if not self._part(c).is_file())

    def _run(self, chunks: Iterator[int]) -> Iterator[Done]:
        run = run_in_ray if self.settings.engine == "ray" else run_in_processes
        return run(chunks, self.model, str(self.out), self.form, self.settings.num_workers)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Refuses a second job in a folder; a kill frees it."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"another job is running in {folder}") from None
        yield
