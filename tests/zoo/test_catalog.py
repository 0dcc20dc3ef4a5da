"""The catalogue says only what can be used, and says it in one way."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from freeseg.zoo import card_of, find_configured, load_catalog, model_rows, models_table
from freeseg_command.catalog import CATALOG_FILE, WeightsSource, read_row
from freeseg_command.table import figures, state_of

ROOT = Path(__file__).resolve().parents[2]
CARDS = list(load_catalog().values())


def test_the_published_models_are_all_there() -> None:
    counts: dict[tuple[str, str], int] = {}
    for card in CARDS:
        key = (card.system, card.weights.kind)
        counts[key] = counts.get(key, 0) + 1
    # rows of Mask2Former's MODEL_ZOO.md without video, of OneFormer's README, of LSeg's README
    assert counts["Mask2Former", "url"] == 47
    assert counts["OneFormer", "url"] == 20
    assert counts["LSeg", "page"] == 11
    assert counts["SAM", "url"] == 4


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_row_is_complete(card) -> None:
    assert re.fullmatch(r"[\w.-]+(/[\w.-]+)?", card.name)
    assert card.system
    assert card.data
    assert card.licence
    assert 1 <= len(card.knows.split()) <= 5
    assert 0 <= card.unsure_below < 1
    assert card.tasks
    assert set(card.tasks) <= {"panoptic", "instance", "semantic", "object"}
    assert card.source.startswith("https://") or card.source == "'Weights' in the documentation"
    assert not card.config or (ROOT / card.config).is_file()
    assert card.config or card.weights.kind == "hub"
    assert "/" not in card.weights.file_name
    for values in card.metrics.values():
        assert values
        assert all(0 < figure < 100 for figure in values.values())
    assert re.fullmatch("([0-9a-f]{40})?", card.weights.revision)
    assert re.fullmatch("([0-9a-f]{64})?", card.weights.sha256)
    if card.is_bundled:
        content = (ROOT / card.weights.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == card.weights.sha256


def test_files_in_the_cache_do_not_meet() -> None:
    names = [card.weights.file_name for card in CARDS if card.weights.kind in ("url", "page")]
    assert len(names) == len(set(names))


def test_a_row_takes_from_its_release_what_it_does_not_say() -> None:
    releases = {"r": {"system": "S", "licence": "L", "source": "https://x", "data": "D"}}
    row = {"name": "n", "release": "r", "data": "E", "tasks": ["semantic"]}
    card = read_row({**row, "weights": {"hub": "a/b"}}, releases)
    assert (card.system, card.data, card.tasks) == ("S", "E", ("semantic",))
    with pytest.raises(ValueError, match="weights have one of file, url, hub, page"):
        read_row({**row, "weights": {"hub": "a/b", "url": "https://x/y"}}, releases)
    with pytest.raises(TypeError, match="colour"):
        read_row({**row, "weights": {"hub": "a/b"}, "colour": "red"}, releases)


def test_an_unknown_name_is_refused_with_those_that_look_alike() -> None:
    with pytest.raises(FileNotFoundError, match=r"no model 'camvit'.*did you mean camvid"):
        card_of("camvit")


def test_rows_and_table_hold_every_model() -> None:
    rows = model_rows(CARDS)
    assert [row["name"] for row in json.loads(json.dumps(rows))] == [card.name for card in CARDS]
    lines = models_table(CARDS).splitlines()
    assert len(lines) == 2 + len(CARDS)
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert re.search(r"\| camvid \| FreeSeg \|.*\| PIS \|.*\| bundled \|.*mIoU 54.5", lines[2])


def test_whether_weights_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path))
    source = WeightsSource(url="https://example.org/a/b.pth")
    assert source.file_name == "b.pth"
    assert state_of(source) == "download"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "b.pth").touch()
    assert state_of(source) == "downloaded"
    assert state_of(WeightsSource(page="https://example.org", name="c.pth")) == "by hand"


def test_the_hub_has_revisions_and_files_have_checksums() -> None:
    assert WeightsSource(hub="a/b", revision="v1").revision == "v1"
    assert WeightsSource(hub="a/b", sha256="ab").checksum == "sha256:ab"
    assert WeightsSource(url="https://x/a", md5="0a").checksum == "md5:0a"
    assert not WeightsSource(url="https://x/a").checksum
    for pinned in ({"hub": "a/b", "md5": "0a"}, {"file": "a", "revision": "v1"}):
        with pytest.raises(ValueError, match="a revision is of the hub, an md5 of a single file"):
            WeightsSource(**pinned)


def test_files_of_mask2former_have_the_md5_that_their_names_end_in() -> None:
    cards = [card for card in CARDS if "dl.fbaipublicfiles.com/maskformer" in card.weights.url]
    assert len(cards) == 47
    for card in cards:
        assert card.weights.file_name.endswith(f"_{card.weights.md5}.pkl")
        assert re.fullmatch("[0-9a-f]{6}", card.weights.md5)


def test_figures_name_the_dataset_only_where_there_are_several() -> None:
    assert figures({"A": {"PQ": 50.0, "AP": 3.25}}) == "PQ 50, AP 3.25"
    assert figures({"A": {"PQ": 50.0}, "B": {"AP": 1.0}}) == "A: PQ 50; B: AP 1"


def test_one_row_is_one_line_of_the_file() -> None:
    lines = CATALOG_FILE.read_text().splitlines()
    assert sum(line.startswith('  {"name": ') for line in lines) == len(CARDS)


def test_models_of_one_kind_of_data_know_the_same_and_a_row_can_say_more() -> None:
    assert card_of("camvid").knows == card_of("camvid-lseg").knows == "street scenes"
    assert card_of("mask2former-ade20k-semantic-r50").knows == "indoor and outdoor scenes"
    weights = {"weights": {"hub": "a/b"}, "tasks": ["semantic"], "name": "n", "release": "r"}
    releases = {"r": {"system": "S", "licence": "L", "source": "https://x", "data": "D"}}
    assert read_row(weights, releases, {"D": "dogs"}).knows == "dogs"
    assert read_row({**weights, "knows": "cats"}, releases, {"D": "dogs"}).knows == "cats"


def test_what_is_known_goes_with_the_weights_and_not_with_others() -> None:
    known = ["MODEL.KNOWS", "street scenes", "TEST.UNSURE_BELOW", "0.832"]
    _, opts = find_configured("camvid-mask2former", ["TEST.UNSURE_BELOW", "0.5"])
    assert opts[2:] == [*known, "TEST.UNSURE_BELOW", "0.5"]
    _, opts = find_configured("camvid-mask2former", ["MODEL.WEIGHTS", "mine.pth"])
    assert opts == ["MODEL.WEIGHTS", "mine.pth"]
