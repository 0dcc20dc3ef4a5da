"""Mappers by the names that INPUT.DATASET_MAPPER_NAME gives them, a project's own among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from torch.utils import data as torch_data

from detectron2.utils.registry import Registry
from freeseg.config import completed

Record = dict[str, Any]
Mapper = Callable[[Record], Any]

MAPPER_REGISTRY = Registry("MAPPER")  # of builders `(cfg, is_train)` -> `Mapper`

TEST_SIDE = "mask_former_semantic"  # at test time all published names are one mapper


@runtime_checkable
class SampleMaker(Protocol):
    """A mapper of samples that are more than one record: it says what a position shows."""

    def make_dataset(self, records: Sequence[Record], seed: int) -> torch_data.Dataset[Any]:
        """Mapped samples by position, each a pure function of (seed, position).

        Args:
            records: Of the training sets.
            seed: Of the run.
        """
        ...


def build_mapper(cfg: Any, is_train: bool, name: str = "") -> Any:
    """The mapper that INPUT.DATASET_MAPPER_NAME names.

    At test time a name that nobody has registered, such as another project's, is no error: the
    photo is then read as under the published names.

    Args:
        cfg: A config with the freeseg keys.
        is_train: Whether it is for training.
        name: In place of the configuration's, for a mapper that is made of a registered one.

    Raises:
        ValueError: In training the name is unknown; lists the known ones.
    """
    cfg = completed(cfg).clone()
    cfg.defrost()
    name = name or cfg.INPUT.DATASET_MAPPER_NAME
    if name not in MAPPER_REGISTRY and not is_train:
        name = TEST_SIDE
    require_known_mapper(name, [known for known, _ in MAPPER_REGISTRY])
    cfg.INPUT.DATASET_MAPPER_NAME = name
    return MAPPER_REGISTRY.get(name)(cfg, is_train)


def require_known_mapper(name: str, known: Iterable[str]) -> None:
    """Refuses a name of a mapper that is none of the known ones, which it lists."""
    names = list(known)
    if name not in names:
        raise ValueError(
            f"INPUT.DATASET_MAPPER_NAME {name!r} is unknown; known names are {', '.join(names)}"
        )
