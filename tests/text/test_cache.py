from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch

from freeseg.text.cache import MAX_FILES, TextFeatureCache, TextKey, _remove_oldest, default_folder
from freeseg.text.toy_clip import load_toy_clip

KEY = TextKey("encoder", "prompts", "semantic", ("car", "sky"))
FEATURES = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


class Encoder:
    """Counts how often it is asked."""

    def __init__(self, features=FEATURES) -> None:
        self.features = features
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.features.clone()


def test_the_second_call_encodes_nothing():
    cache, encoder = TextFeatureCache(), Encoder()
    first, second = cache.get(KEY, encoder), cache.get(KEY, encoder)
    assert encoder.calls == 1
    assert torch.equal(first, FEATURES)
    assert second is first


@pytest.mark.parametrize(
    "other",
    [
        TextKey("encoder 2", "prompts", "semantic", ("car", "sky")),
        TextKey("encoder", "prompts 2", "semantic", ("car", "sky")),
        TextKey("encoder", "prompts", "panoptic", ("car", "sky")),
        TextKey("encoder", "prompts", "semantic", ("sky", "car")),
        TextKey("encoder", "prompts", "semantic", ("car, sky",)),
    ],
    ids=["encoder", "prompts", "task", "order", "texts"],
)
def test_everything_that_features_depend_on_is_in_the_key(other, tmp_path):
    cache, encoder = TextFeatureCache(tmp_path), Encoder(FEATURES[: len(other.texts)])
    cache.get(KEY, Encoder())
    cache.get(other, encoder)
    assert encoder.calls == 1
    assert other.digest() != KEY.digest()


def test_a_new_cache_reads_the_file(tmp_path):
    TextFeatureCache(tmp_path).get(KEY, Encoder())
    encoder = Encoder()
    assert torch.equal(TextFeatureCache(tmp_path).get(KEY, encoder), FEATURES)
    assert encoder.calls == 0


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_file_is_computed_again_and_replaced(tmp_path, damage, caplog):
    TextFeatureCache(tmp_path).get(KEY, Encoder())
    (path,) = tmp_path.glob("*.safetensors")
    content = path.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    path.write_bytes({"cut": content[:-3], "flip": flipped, "empty": b"", "text": b"x"}[damage])
    encoder = Encoder()
    assert torch.equal(TextFeatureCache(tmp_path).get(KEY, encoder), FEATURES)
    assert encoder.calls == 1
    assert "is damaged" in caplog.text
    TextFeatureCache(tmp_path).get(KEY, encoder)
    assert encoder.calls == 1, "the file is whole again"
    assert [each.name for each in tmp_path.iterdir()] == [path.name], "nothing partial is left"


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = TextFeatureCache(tmp_path / "file" / "folder")
    assert torch.equal(cache.get(KEY, Encoder()), FEATURES)
    assert "kept in memory only" in caplog.text
    assert cache.get(KEY, Encoder()) is not None


def test_the_least_recently_used_entry_goes_first():
    cache = TextFeatureCache(max_entries=2)
    keys = [TextKey("e", "p", task, ("car", "sky")) for task in ("a", "b", "c")]
    cache.get(keys[0], Encoder())
    cache.get(keys[1], Encoder())
    cache.get(keys[0], Encoder())
    cache.get(keys[2], Encoder())
    again = [Encoder() for _ in keys]
    for key, encoder in zip((keys[0], keys[2]), (again[0], again[2])):
        cache.get(key, encoder)
    cache.get(keys[1], again[1])
    assert [encoder.calls for encoder in again] == [0, 1, 0]


def test_old_files_are_removed(tmp_path):
    for number in range(5):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(b"")
        os.utime(path, (number, number))
    _remove_oldest(tmp_path, 2)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["3", "4"]
    assert MAX_FILES >= 100


def test_features_can_be_trained_with_although_they_were_computed_for_inference():
    cache = TextFeatureCache()
    with torch.inference_mode():
        features = cache.get(KEY, Encoder())
    weight = torch.ones(2, requires_grad=True)
    (features @ weight).sum().backward()
    assert weight.grad.tolist() == [4, 6]


def test_autocast_around_a_call_does_not_reach_what_is_kept(tmp_path):
    layer = torch.nn.Linear(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = TextFeatureCache(tmp_path).get(KEY, lambda: layer(FEATURES))
    assert torch.equal(features, layer(FEATURES))
    assert TextFeatureCache(tmp_path).get(KEY, Encoder()).dtype == torch.float32


def test_features_carry_no_gradients():
    learned = torch.ones(2, 2, requires_grad=True)
    assert not TextFeatureCache().get(KEY, lambda: learned * 2).requires_grad


def test_of_several_threads_one_encodes():
    cache, encoder = TextFeatureCache(), Encoder()
    threads = [threading.Thread(target=cache.get, args=(KEY, encoder)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encoder.calls == 1


def test_where_files_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("FREESEG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "freeseg" / "text_features"
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own" / "text_features"


PROCESS = """
import sys
from pathlib import Path
from freeseg.text import TextFeatureCache, TextKey
from freeseg.text.toy_clip import load_toy_clip
encoder, calls = load_toy_clip(), []
encoder.register_forward_pre_hook(lambda *_: calls.append(1))
texts = ("red star", "sand")
cache = TextFeatureCache(Path(sys.argv[1]))
key = TextKey(encoder.identity, "none", "", texts)
features = cache.get(key, lambda: encoder(encoder.tokenize(texts)))
print(len(calls), features.tolist())
"""


def test_another_process_encodes_nothing(tmp_path):
    """The hash of the weights is the same there, so is the file's name, and nothing is encoded."""
    encoder, texts = load_toy_clip(), ("red star", "sand")
    key = TextKey(encoder.identity, "none", "", texts)
    features = TextFeatureCache(tmp_path).get(key, lambda: encoder(encoder.tokenize(texts)))
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.split(maxsplit=1) == ["0", f"{features.tolist()}\n"]
