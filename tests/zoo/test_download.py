"""Downloads: once, resumed after a broken connection, checked, and clear about what is wrong."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from freeseg.images import ImageError, read_image
from freeseg.zoo import ChecksumError, DownloadError
from freeseg.zoo.connection import check_reachable
from freeseg.zoo.download import check_file, download
from freeseg.zoo.hub import download_from_hub
from freeseg.zoo.resolution import local_weights
from freeseg_command.catalog import WeightsSource

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from file_server import COMMIT, FileServer, running
from full_disk import full_disk

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
INDEX = json.dumps({"weight_map": {"x": "part-2", "y": "part-1"}}).encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PINNED = f"sha256:{SHA256}"
NOBODY = "http://127.0.0.1:9"  # the port that discards; nothing listens


@pytest.fixture
def server():
    with running() as server:
        server.files["/weights.pth"] = CONTENT
        yield server


def test_a_file_is_fetched_once(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "weights.pth"
    for _ in range(2):
        assert download(f"{server.url}/weights.pth", target, PINNED) == target
    assert target.read_bytes() == CONTENT
    assert server.requests == [("GET", "/weights.pth", None)]
    assert not list(target.parent.glob("*.part"))


def test_a_broken_connection_is_an_error_and_the_next_call_goes_on(server, tmp_path) -> None:
    target = tmp_path / "weights.pth"
    server.cut_after = 4000
    with pytest.raises(DownloadError, match=r"4,000 of 10,240 bytes.*run it again to go on"):
        download(f"{server.url}/weights.pth", target, PINNED)
    assert not target.exists()
    assert target.with_name("weights.pth.part").read_bytes() == CONTENT[:4000]
    download(f"{server.url}/weights.pth", target, PINNED)
    assert target.read_bytes() == CONTENT
    assert server.requests[-1] == ("GET", "/weights.pth", "bytes=4000-")


def test_a_server_without_ranges_sends_all_of_it_again(server, tmp_path) -> None:
    target = tmp_path / "weights.pth"
    target.with_name("weights.pth.part").write_bytes(CONTENT[:100])
    server.knows_ranges = False
    download(f"{server.url}/weights.pth", target, PINNED)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kept", "requests"), [(CONTENT, 1), (CONTENT + b"of another file", 2)], ids=["whole", "longer"]
)
def test_a_part_that_is_complete_or_of_another_file(server, tmp_path, kept, requests) -> None:
    target = tmp_path / "weights.pth"
    target.with_name("weights.pth.part").write_bytes(kept)
    download(f"{server.url}/weights.pth", target, PINNED)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == requests


def test_another_file_than_the_published_one_is_refused_and_not_kept(server, tmp_path) -> None:
    target = tmp_path / "weights.pth"
    told = r"its SHA-256 is .*, expected 000000000000.*nothing of it is kept; put the file at"
    with pytest.raises(ChecksumError, match=told):
        download(f"{server.url}/weights.pth", target, "sha256:" + "0" * 64)
    assert list(tmp_path.glob("weights.pth*")) == [tmp_path / "weights.pth.lock"]


def test_what_is_missing_or_unreachable_is_said_with_what_to_do(server, tmp_path) -> None:
    target = tmp_path / "weights.pth"
    told = r"the server says 404: it has no such file any more\); put the file at .*weights.pth"
    with pytest.raises(DownloadError, match=told):
        download(f"{server.url}/absent.pth", target)
    with pytest.raises(DownloadError, match=r"refused.*put the file at .*weights.pth yourself"):
        download(f"{NOBODY}/weights.pth", target)


@pytest.mark.parametrize("has_net", [True, False])
def test_a_file_that_was_damaged_is_fetched_anew(server, tmp_path, caplog, has_net) -> None:
    target = tmp_path / "weights.pth"
    target.write_bytes(CONTENT[:-1])
    url = f"{server.url if has_net else NOBODY}/weights.pth"
    if has_net:
        assert download(url, target, PINNED) == target
        assert target.read_bytes() == CONTENT
    else:
        with pytest.raises(DownloadError, match=r"no connection to 127.0.0.1: connection refused"):
            download(url, target, PINNED)
    assert f"{target} is not the file that was published" in caplog.text
    assert "it is fetched anew" in caplog.text


def test_a_full_disk_says_where_it_is_and_what_helps(server, tmp_path) -> None:
    target = tmp_path / "weights.pth"
    part = target.with_name("weights.pth.part")
    told = rf"{part} cannot be written \(File too large\); make room there or name another"
    with full_disk(4000), pytest.raises(DownloadError, match=told) as caught:
        download(f"{server.url}/weights.pth", target, PINNED)
    assert "FREESEG_CACHE" in str(caught.value)
    assert not target.exists()
    download(f"{server.url}/weights.pth", target, PINNED)
    assert target.read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_one_line(server, tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match=r"file cannot be written .*folder in FREESEG_C"):
        download(f"{server.url}/weights.pth", tmp_path / "file" / "weights.pth")


def test_a_server_that_does_not_answer_is_one_line_within_5_seconds(tmp_path, monkeypatch) -> None:
    def never(*_: object, **__: object) -> None:
        time.sleep(8)
        raise OSError("nobody knows that name")

    monkeypatch.setattr("socket.create_connection", never)  # as a name that nobody looks up
    for fetch in (
        lambda: download("https://files.invalid/weights.pth", tmp_path / "weights.pth"),
        lambda: download_from_hub("a/b", endpoint="https://hub.invalid", cache=tmp_path),
    ):
        start = time.monotonic()
        with pytest.raises(DownloadError, match=r"no connection to .*invalid: no answer") as caught:
            fetch()
        assert time.monotonic() - start < 5
        assert "\n" not in str(caught.value)


def test_a_mirror_has_the_files_under_the_names_of_the_cache(server, tmp_path, monkeypatch) -> None:
    for mirror in (f"{server.url}/models/", server.url + "/models", str(tmp_path / "shared")):
        monkeypatch.setenv("FREESEG_MIRROR", mirror)
        server.files["/models/weights.pth"] = CONTENT
        (tmp_path / "shared").mkdir(exist_ok=True)
        (tmp_path / "shared" / "weights.pth").write_bytes(CONTENT)
        target = tmp_path / "cache" / "weights.pth"
        target.unlink(missing_ok=True)
        assert download(f"{NOBODY}/elsewhere/9.pth", target, PINNED) == target
        assert target.read_bytes() == CONTENT
    assert len(server.requests) == 2
    with pytest.raises(DownloadError, match=r"shared/other.pth"):
        download(f"{NOBODY}/elsewhere/9.pth", tmp_path / "cache" / "other.pth", PINNED)


def test_a_proxy_is_called_in_place_of_the_server(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    check_reachable("http://files.invalid/weights.pth")
    monkeypatch.setenv("http_proxy", NOBODY)
    with pytest.raises(OSError, match=r"no connection to 127.0.0.1: connection refused"):
        check_reachable("http://files.invalid/weights.pth")


def test_checksums_of_files_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    file = tmp_path / "a"
    md5 = hashlib.md5(CONTENT).hexdigest()
    for checksum in ("", f"sha256:{SHA256.upper()}", f"md5:{md5}", f"md5:{md5[:6]}"):
        check_file(file, checksum)
    for checksum in (PINNED[:-1] + "x", f"md5:{SHA256[:6]}", f"md5:{md5[1:7]}"):
        with pytest.raises(ChecksumError, match="a is not the file that was published"):
            check_file(file, checksum)


@pytest.mark.parametrize(
    "weights",
    [
        {"model.safetensors": CONTENT},
        {"pytorch_model.bin": CONTENT},
        {"model.safetensors.index.json": INDEX, "part-1": CONTENT, "part-2": CONTENT},
        {"pytorch_model.bin.index.json": INDEX, "part-1": CONTENT, "part-2": CONTENT},
    ],
    ids=["safetensors", "bin", "parts", "bin parts"],
)
def test_a_repository_of_the_hub_is_fetched_once(server, tmp_path, weights) -> None:
    files = {"config.json": b"{}", **weights}
    for name, content in files.items():
        server.files[f"/someone/model/resolve/main/{name}"] = content
    folder = download_from_hub("someone/model", endpoint=server.url, cache=tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert folder.name == COMMIT
    first = len([request for request in server.requests if request[0] == "GET"])
    assert download_from_hub("someone/model", endpoint=server.url, cache=tmp_path) == folder
    assert len([request for request in server.requests if request[0] == "GET"]) == first


def test_what_no_checksum_pins_says_which_came(server, tmp_path, caplog) -> None:
    for _ in range(2):
        download(f"{server.url}/weights.pth", tmp_path / "weights.pth")
    assert [SHA256 in line.getMessage() for line in caplog.records] == [True]
    download(f"{server.url}/weights.pth", tmp_path / "pinned.pth", PINNED)
    assert len(caplog.records) == 1


def test_a_row_can_pin_a_revision_of_the_hub(server, tmp_path, monkeypatch) -> None:
    for name in ("config.json", "model.safetensors"):
        server.files[f"/someone/model/resolve/v1.5/{name}"] = CONTENT
    fetch = partial(download_from_hub, endpoint=server.url, cache=tmp_path)
    monkeypatch.setattr("freeseg.zoo.resolution.download_from_hub", fetch)
    folder = local_weights(WeightsSource(hub="someone/model", revision="v1.5"))
    assert (folder / "model.safetensors").read_bytes() == CONTENT
    with pytest.raises(DownloadError):
        local_weights(WeightsSource(hub="someone/model"))
    pinned = WeightsSource(hub="someone/model", revision="v1.5", sha256=SHA256)
    assert local_weights(pinned) == folder
    (folder / "model.safetensors").write_bytes(CONTENT[1:])
    assert local_weights(pinned) == folder
    assert (folder / "model.safetensors").read_bytes() == CONTENT, "it was fetched anew"
    other = WeightsSource(hub="someone/model", revision="v1.5", sha256="0" * 64)
    with pytest.raises(ChecksumError, match="not the file that was published"):
        local_weights(other)


def test_a_repository_that_cannot_be_fetched_is_one_line(server, tmp_path) -> None:
    with pytest.raises(DownloadError, match="cannot fetch someone/nothing from the hub"):
        download_from_hub("someone/nothing", endpoint=server.url, cache=tmp_path)
    told = rf"the hub {NOBODY} .*without one copy its folder here.*in HF_ENDPOINT$"
    with pytest.raises(DownloadError, match=told):
        download_from_hub("someone/model", endpoint=NOBODY, cache=tmp_path)


def test_who_has_named_a_mirror_is_not_told_to(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    with pytest.raises(DownloadError, match=rf"the hub {NOBODY} .* and name that$"):
        download_from_hub("someone/model", endpoint=NOBODY, cache=tmp_path)
    monkeypatch.setenv("FREESEG_MIRROR", NOBODY)
    with pytest.raises(DownloadError, match=rf"cannot fetch {NOBODY}/w\.pth .* yourself$"):
        download("http://elsewhere/w.pth", tmp_path / "w.pth")


def test_a_repository_in_the_cache_needs_no_net(server, tmp_path) -> None:
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        server.files[f"/someone/model/resolve/main/{name}"] = b"{}"
    folder = download_from_hub("someone/model", endpoint=server.url, cache=tmp_path)
    assert download_from_hub("someone/model", endpoint=NOBODY, cache=tmp_path) == folder


def test_photos_of_the_web(server: FileServer) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (9, 8, 7)).save(buffer, "PNG")
    server.files["/photo.png"] = buffer.getvalue()
    assert (read_image(f"{server.url}/photo.png") == [9, 8, 7]).all()
    with pytest.raises(ImageError, match=r"photo.jpg: cannot be fetched \(the server says 404\)"):
        read_image(f"{server.url}/photo.jpg")
    with pytest.raises(ImageError, match=r"cannot be fetched \(.*refused.*save it and name the"):
        read_image(f"{NOBODY}/photo.png")
