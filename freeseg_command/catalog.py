"""The catalogue of models: `models.json`, read and checked.

A row names a release, which says once what its rows have in common. Adding a model is adding a row;
`tests/zoo/test_catalog.py` checks what a row may say.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

# beside this package in a checkout and where it is installed; importing that one takes seconds
CATALOG_FILE = Path(__file__).resolve().parents[1] / "freeseg/zoo/models.json"
DEFAULT_MODEL = "camvid"  # of commands that name none; it comes with the package
CLOSED_MODEL = "camvid-mask2former"  # the same photos, eleven classes: needs no text encoder
KINDS = ("file", "url", "hub", "page")


@dataclass(frozen=True)
class WeightsSource:
    """Where weights are; exactly one of the first four is set.

    Attributes:
        file: Of this package, relative to its root.
        url: A file that can be downloaded.
        hub: A repository on Hugging Face's hub, "owner/name".
        page: A web page that only a person can download from.
        name: What a downloaded file is called; the end of the address when empty.
        revision: Of the hub's repository; its main branch when empty.
        sha256: Of the file, on the hub of the weights', where it is known.
        md5: Its first digits, where that is what the publisher states; not of the hub's.
    """

    file: str = ""
    url: str = ""
    hub: str = ""
    page: str = ""
    name: str = ""
    revision: str = ""
    sha256: str = ""
    md5: str = ""

    def __post_init__(self) -> None:
        if sum(bool(getattr(self, kind)) for kind in KINDS) != 1:
            raise ValueError(f"weights have one of {', '.join(KINDS)}, got {self}")
        if (self.md5 and self.hub) or (self.revision and not self.hub):
            raise ValueError(f"a revision is of the hub, an md5 of a single file, got {self}")

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def checksum(self) -> str:
        """What a file is checked by, as "sha256:..." or "md5:..."; empty where nothing is known."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"md5:{self.md5}" if self.md5 else ""

    @property
    def file_name(self) -> str:
        """What the file is called in the cache."""
        return self.name or self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class ModelCard:
    """What is known of one trained model.

    Attributes:
        name: What `freeseg segment --model` takes.
        system: Mask2Former, OneFormer, FreeSeg, LSeg ...
        weights: Where they are.
        config: Its configuration, relative to the root; empty where the weights bring their own.
        settings: The published configuration of how it is tested, where the weights bring their own
            configuration and are tested otherwise by it.
        backbone: Of the image.
        data: What it was trained on.
        tasks: What it was trained for.
        knows: The photos it has learned from, in a few words.
        unsure_below: Photos of a lower certainty are called unsure, as `freeseg measure-doubt`
            measured it with its own classes; 0 where nobody did.
        takes_text: Whether it finds classes that a user names.
        licence: Of the weights.
        metrics: Dataset -> metric -> figure, in percent, as its source says.
        source: Where the figures, or the repository, can be looked up.
        parity: How our output compares with the original's, as measured here.
        remark: What a user should know before.
    """

    name: str
    system: str
    weights: WeightsSource
    data: str
    tasks: tuple[str, ...]
    licence: str
    source: str
    config: str = ""
    settings: str = ""
    backbone: str = ""
    takes_text: bool = False
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    knows: str = ""
    unsure_below: float = 0.0
    parity: str = ""
    remark: str = ""

    @property
    def is_bundled(self) -> bool:
        """Whether it works without the net."""
        return bool(self.weights.file)


def card_of(name: str) -> ModelCard:
    """Returns the card of a model.

    Raises:
        FileNotFoundError: There is no model of that name; the message has those that look alike.
    """
    cards = load_catalog()
    if name not in cards:
        near = difflib.get_close_matches(name, cards, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise FileNotFoundError(
            f"there is no model {name!r}: it is no file or folder and none of the "
            f"{len(cards)} names that `freeseg models` lists{hint}"
        )
    return cards[name]


@lru_cache(maxsize=1)
def load_catalog() -> Mapping[str, ModelCard]:
    """Returns all models by name, in the file's order."""
    content = json.loads(CATALOG_FILE.read_text(encoding="utf-8"))
    cards: dict[str, ModelCard] = {}
    for row in content["models"]:
        card = read_row(row, content["releases"], content["knows"])
        if card.name in cards:
            raise ValueError(f"{CATALOG_FILE.name} has two models called {card.name!r}")
        cards[card.name] = card
    return cards


def read_row(
    row: Mapping[str, Any],
    releases: Mapping[str, Mapping[str, Any]],
    knows: Mapping[str, str] | None = None,
) -> ModelCard:
    """Returns the card of a row of the file, completed by its release and its data.

    Args:
        row: Of the file.
        releases: What their rows have in common.
        knows: What a model of some data knows.
    """
    values = {**releases[row["release"]], **row}
    del values["release"]
    values.setdefault("knows", (knows or {}).get(values.get("data", ""), ""))
    values["weights"] = WeightsSource(**values["weights"])
    values["tasks"] = tuple(values["tasks"])
    return ModelCard(**values)
