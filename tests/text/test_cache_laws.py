"""The cache of text features is a dictionary with a clock: against a plain model of it."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from freeseg.text import cache as module
from freeseg.text.cache import TextFeatureCache, TextKey, _checksum

IN_MEMORY, ON_DISK = 2, 3  # keys that are kept
KEYS = [
    TextKey("encoder", "prompts", "semantic", ("car", "sky")),
    TextKey("prompts", "encoder", "semantic", ("car", "sky")),
    TextKey("encoder", "prompts", "semantic", ("sky", "car")),
    TextKey("encoder", "prompts", "", ("car, sky",)),
    TextKey("encoder", "prompts", "semantic", ("car", "sky", "sea")),
]


def whole(features: torch.Tensor) -> bytes:
    """A file of features as the cache writes it."""
    return save({"features": features}, {"checksum": _checksum(features)})


class Machine:
    """Both forget what was used longest ago: in memory by key and device, on the disk by key."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.patch.setattr(module, "MAX_FILES", ON_DISK)
        self.memory: OrderedDict[tuple[TextKey, str], int] = OrderedDict()
        self.disk: OrderedDict[tuple[str, TextKey], int] = OrderedDict()
        self.wrong: set[tuple[str, TextKey]] = set()  # files that are to be computed again
        self.computed = self.read = 0
        plain = module._read
        self.patch.setattr(module, "_read", lambda path: [plain(path), self.count()][0])
        self.start()

    def count(self) -> None:
        self.read += 1

    def start(self) -> None:
        self.cache = TextFeatureCache(self.folder, max_entries=IN_MEMORY)
        self.memory.clear()

    def place(self, key: TextKey) -> tuple[str, TextKey]:
        return module.FORMAT, key

    def path(self, key: TextKey) -> Path:
        return self.folder / f"{key.digest()}.safetensors"

    def compute(self, key: TextKey) -> torch.Tensor:
        self.computed += 1
        return self.features(key, self.computed)

    def features(self, key: TextKey, number: int) -> torch.Tensor:
        """What was computed for a key as the `number`-th of all."""
        return torch.arange(3.0) + 10 * torch.arange(len(key.texts))[:, None] + number / 64

    def age_all(self) -> None:
        """Every file was used an hour longer ago."""
        for path in self.folder.iterdir():
            os.utime(path, times=(path.stat().st_mtime - 3600,) * 2)

    def other_files(self) -> None:
        self.folder.mkdir()
        for name in (".half.safetensors", "notes.txt"):
            (self.folder / name).write_text("not a file of features")

    def get(self, key: TextKey, device: str) -> None:
        self.age_all()
        place, here = self.place(key), (key, device)
        is_stored = place in self.disk and place not in self.wrong
        if device == "meta" and here not in self.memory and not is_stored:
            return  # nothing can be computed there
        before, read = self.computed, self.read
        found = self.cache.get(key, lambda: self.compute(key), device)
        assert self.read - read <= (here not in self.memory), "what is in memory is not read"
        if here not in self.memory:
            assert self.read - read >= is_stored
            if not is_stored:
                self.disk[place] = self.computed
                self.wrong.discard(place)
            assert self.computed == before + (not is_stored)
            self.disk.move_to_end(place)
            self.memory[here] = self.disk[place]
        assert self.computed - before in (0, 1)
        self.memory.move_to_end(here)
        if len(self.memory) > IN_MEMORY:
            self.memory.popitem(last=False)
        if self.computed > before:  # files are counted where one is written
            while len(self.disk) > ON_DISK:
                gone, _ = self.disk.popitem(last=False)
                self.wrong.discard(gone)
        assert (found.device.type, found.dtype, len(found)) == (
            device, torch.float32, len(key.texts),
        )  # fmt: skip
        if device == "cpu":
            assert torch.equal(found, self.features(key, self.memory[here]))

    def raise_the_format(self) -> None:
        self.patch.setattr(module, "FORMAT", f"{int(module.FORMAT) + 1}")
        self.start()

    def damage(self, key: TextKey, damage: str) -> None:
        features = self.features(key, self.disk[self.place(key)])
        content = {
            "more texts": whole(torch.cat([features, features[:1]])),
            "fewer": whole(features[:-1]),
            "no sum": save({"features": features}),
            "cut": whole(features)[:-5],
            "other": save({"feature": features}, {"checksum": _checksum(features)}),
        }[damage]
        time = self.path(key).stat().st_mtime
        self.path(key).write_bytes(content)
        os.utime(self.path(key), times=(time, time))
        self.wrong.add(self.place(key))

    def files_are_those_of_the_model(self) -> None:
        now, names = module.FORMAT, set()
        for each, key in self.disk:
            module.FORMAT = each
            names.add(self.path(key).name)
        module.FORMAT = now
        names |= {".half.safetensors", "notes.txt"}
        assert {path.name for path in self.folder.iterdir()} == names

    def step(self, action: int, key: TextKey, device: str, damage: str) -> None:
        """Mostly something is asked for."""
        if action == 6:
            self.start()
        elif action == 7:
            self.cache.clear()
            self.memory.clear()
        elif action == 8 and self.place(key) in self.disk:
            self.damage(key, damage)
            if device == "meta":  # not by the process that has it in memory, perhaps
                self.start()
            self.get(key, "cpu")
        elif action == 9:
            self.raise_the_format()
        else:
            self.get(key, device)
        self.files_are_those_of_the_model()


STEPS = st.tuples(
    st.integers(0, 9),
    st.sampled_from(KEYS),
    st.sampled_from(["cpu", "meta", "cpu"]),
    st.sampled_from(["more texts", "fewer", "no sum", "cut", "other"]),
)


@settings(max_examples=9, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=30, max_size=50))
def test_a_cache_is_a_dictionary_with_a_clock(steps):
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        machine = Machine(Path(root, "text_features"), patch)
        machine.other_files()
        for step in steps:
            machine.step(*step)


def test_a_file_says_what_its_features_are_of(tmp_path):
    key = TextKey("toy-12", "learned-34", "panoptic", ("a", "b"))
    TextFeatureCache(tmp_path / "new").get(key, lambda: torch.eye(2))
    with safe_open(tmp_path / "new" / f"{key.digest()}.safetensors", framework="pt") as file:
        about = file.metadata()
    del about["checksum"]
    assert about == {"encoder": "toy-12", "prompts": "learned-34", "task": "panoptic"}


def test_what_is_kept_is_laid_out_row_by_row_whatever_is_computed(tmp_path):
    wide = torch.arange(12.0).reshape(3, 4).T  # not contiguous
    key = TextKey("e", "p", "t", ("a", "b", "c", "d"))
    TextFeatureCache(tmp_path).get(key, lambda: wide)
    again = TextFeatureCache(tmp_path).get(key, lambda: pytest.fail("is in the file"))
    assert torch.equal(again, wide)
