"""The same pieces on a Ray cluster, for which every machine sees the same files."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from freeseg.bulk.processes import Done
from freeseg.bulk.worker import ModelSettings, Worker


class RayWorker:
    """A model in an actor of Ray Data."""

    def __init__(self, model: ModelSettings, out: str, form: str) -> None:
        self._worker = Worker(model, out, form)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Segments the piece that a row names."""
        chunk = int(row["chunk"])
        try:
            return {"chunk": chunk, "count": self._worker.run(chunk), "error": ""}
        except OSError as error:
            return {"chunk": chunk, "count": 0, "error": f"piece {chunk}: {error}"}


def run_in_ray(
    chunks: Iterable[int], model: ModelSettings, out: str, form: str, num_actors: int
) -> Iterator[Done]:
    """Segments pieces in so many actors, and yields each when it is done.

    Joins the cluster that RAY_ADDRESS names, or starts one on this machine.

    Raises:
        ImportError: Without Ray.
    """
    try:
        ray: Any = importlib.import_module("ray")
        data: Any = importlib.import_module("ray.data")
    except ImportError as error:
        raise ImportError("--engine ray needs Ray: pip install 'freeseg[ray]'") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, num_cpus=None)
    rows = [{"chunk": chunk} for chunk in chunks]
    if not rows:
        return
    most = max(num_actors, 1)
    at_once = max(1, min(most, int(ray.cluster_resources().get("CPU", 1))))  # others wait for more
    # Pieces are blocks from the start: a task that divides them would wait for the actors' CPUs.
    found = data.from_items(rows, override_num_blocks=len(rows)).map(
        RayWorker, fn_constructor_args=(model, out, form), concurrency=(at_once, most)
    )
    for row in found.iter_rows():
        yield Done(int(row["chunk"]), int(row["count"]), str(row["error"]))
