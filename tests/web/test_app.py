"""The web server: what it answers, what it refuses, and that one photo is worked on at a time."""

from __future__ import annotations

import base64
import io
import json
import logging
import select
import socket
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg import Segmenter

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import NAMES, StrongestChannel, write_config, write_weights

testclient = pytest.importorskip("fastapi.testclient", reason="needs fastapi and httpx")
import uvicorn  # noqa: E402

from freeseg.cli import main  # noqa: E402
from freeseg.web import BusyError, Desk, Limits, create_app, listen  # noqa: E402
from freeseg.web.desk import GoneError, warnings_of_this_thread  # noqa: E402

TYPE = {"content-type": "application/octet-stream"}


def photo(height: int = 30, width: int = 60) -> bytes:
    """Left third red, the rest green."""
    picture = np.full((height, width, 3), 10, dtype=np.uint8)
    picture[:, : width // 3, 0] = picture[:, width // 3 :, 1] = 200
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return Segmenter.from_config(write_config(tmp_path), write_weights(tmp_path))


@pytest.fixture
def client(segmenter):
    app = create_app({"fixed": segmenter}, Limits(upload_bytes=1 << 20, pixels=10_000))
    with testclient.TestClient(app, base_url="http://localhost") as client:
        yield client


def test_the_page_and_its_parts_are_there_and_need_nothing_else(client) -> None:
    for path in ("/", "/page.js", "/page.css", "/viewer.js", "/viewer.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text
        assert "https://" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_page_is_told_about_models_and_limits(client) -> None:
    about = client.get("/api/about").json()
    assert about["models"] == [
        {
            "name": "fixed",
            "takes_text": False,
            "knows": "",
            "tasks": ["panoptic", "instance", "semantic", "all"],
            "classes": list(NAMES),
        }
    ]
    assert about["limits"]["pixels"] == 10_000


def test_a_model_is_offered_for_the_tasks_that_it_has(segmenter, monkeypatch) -> None:
    monkeypatch.setattr(StrongestChannel, "answered_tasks", ("semantic",), raising=False)
    segmenter.knows = "coloured fields"
    (about,) = Desk({"labels": segmenter}, Limits()).about()["models"]
    assert about["tasks"] == ["semantic"]
    assert about["knows"] == "coloured fields"
    found = Desk({"labels": segmenter}, Limits()).segment(photo(), "", "", "", 0.5)
    assert list(found["views"]) == ["semantic"]
    assert found["remarks"] == ["the model knows coloured fields"]
    assert found["archive"] == "", "COCO has no file of labels"


def test_the_score_acts_on_every_task_that_has_scores(client) -> None:
    def names(score: float) -> dict[str, list[str]]:
        answer = client.post(f"/api/segment?task=all&score={score}", content=photo(), headers=TYPE)
        return {
            task: [one["name"] for one in segments]
            for task, segments in answer.json()["views"].items()
        }

    labels = ["green field", "red ball"]
    assert names(0.5) == {"panoptic": labels, "instance": ["red ball"], "semantic": labels}
    assert names(0.51) == {"panoptic": [], "instance": ["red ball"], "semantic": labels}
    assert names(0.9) == {"panoptic": [], "instance": [], "semantic": labels}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("holiday 1.png", "holiday 1.png"),
        ("../../etc/x.jpg", "x.jpg"),
        ("C:\\photos\\y.jpg", "y.jpg"),
        ("a\nb.png", "ab.png"),
        ("", "image.png"),
        ("..", "image.png"),
    ],
)
def test_coco_files_come_in_one_zip_and_name_the_photo_as_it_was_sent(client, sent, kept) -> None:
    answer = client.post(
        "/api/segment", params={"task": "all", "name": sent}, content=photo(), headers=TYPE
    )
    found = answer.json()
    kind, _, content = found["archive"].partition(",")
    assert kind == "data:application/zip;base64"
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(content))) as archive:
        stem = Path(kept).stem
        assert sorted(archive.namelist()) == [
            f"{stem}_instances.json",
            f"{stem}_panoptic.json",
            f"{stem}_panoptic.png",
        ]
        panoptic = json.loads(archive.read(f"{stem}_panoptic.json"))
        ids = np.asarray(Image.open(io.BytesIO(archive.read(f"{stem}_panoptic.png"))))
        assert len(json.loads(archive.read(f"{stem}_instances.json"))) == 2, "all, of any score"
    assert panoptic == found["coco"]["panoptic"]
    assert panoptic["images"][0]["file_name"] == kept
    assert panoptic["annotations"][0]["file_name"] == f"{stem}_panoptic.png"
    numbers = ids.astype(int) @ [1, 256, 65536]
    areas = {one["id"]: one["area"] for one in panoptic["annotations"][0]["segments_info"]}
    assert areas == {300: 1200, 301: 600}
    assert {number: int((numbers == number).sum()) for number in areas} == areas


def test_warnings_reach_the_visitor_whose_photo_they_are_about(client) -> None:
    levels = np.full((20, 20), 900, dtype=np.uint16)
    levels[0, 0] = 1023
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    answer = client.post("/api/segment", content=buffer.getvalue(), headers=TYPE).json()
    (warning,) = answer["warnings"]
    assert warning.startswith(
        "the photo: the brightest of its 16-bit pixels is 1023, as of a camera of 10 bits"
    )
    assert "--opts INPUT.WHITE_LEVEL 1023 of `freeseg segment` or `freeseg serve`" in warning
    named = {"params": {"name": "dark.png"}, "headers": TYPE}
    again = client.post("/api/segment", content=buffer.getvalue(), **named).json()
    assert again["warnings"][0].startswith("dark.png: ")
    assert client.post("/api/segment", content=photo(), headers=TYPE).json()["warnings"] == []


def test_warnings_of_other_threads_and_of_later_are_not_collected() -> None:
    logger = logging.getLogger("freeseg.anything")
    with warnings_of_this_thread() as lines:
        other = threading.Thread(target=logger.warning, args=("another's",))
        other.start()
        other.join()
        for _ in range(2):
            logger.warning("mine, %d", 1)
        logger.info("nothing")
        logging.getLogger("freeseg.ops.deform").warning("of the installation")
    logger.warning("later")
    assert lines == ["mine, 1"]


def test_a_photo_is_segmented_as_the_segmenter_does(client, segmenter) -> None:
    answer = client.post("/api/segment?task=all&score=0.3", content=photo(), headers=TYPE)
    assert answer.status_code == 200
    found = answer.json()
    expected = segmenter(photo(), "all")
    assert found["coco"] == expected.to_coco()
    assert (found["width"], found["height"]) == (60, 30)
    assert list(found["views"]) == ["panoptic", "instance", "semantic"]
    areas = {one["name"]: one["area"] for one in found["views"]["semantic"]}
    assert areas == {"red ball": 600, "green field": 1200}
    assert [one["score"] for one in found["views"]["instance"]] == [0.875]
    assert found["image"].startswith("data:image/jpeg;base64,")


REFUSED = {
    "no photo": ({"content": b"words"}, "", 422, "the photo is not an image"),
    "nothing": ({"content": b""}, "", 422, "is empty"),
    "too many pixels": ({"content": photo(101, 100)}, "", 422, "more than the 10,000 allowed"),
    "too large": ({"content": b"x" * (1 << 20) + b"x"}, "", 413, "larger than 1 MB"),
    "unknown task": ({"content": photo()}, "task=paint", 422, "wanted the task panoptic"),
    "unknown model": ({"content": photo()}, "model=../x", 422, "there is no model"),
    "words for a closed model": ({"content": photo()}, "text=car", 422, "3 classes only"),
    "too many characters": ({"content": photo()}, "text=" + 4001 * "x", 422, "more than 4000"),
    "too many words": ({"content": photo()}, "text=a" + 100 * ",x|y", 422, "201 names and syn"),
    "no score": ({"content": photo()}, "score=nan", 422, "least score from 0 to 1, got nan"),
    "more than all": ({"content": photo()}, "score=99", 422, "least score from 0 to 1, got 99"),
    "less than nothing": ({"content": photo()}, "score=-0.1", 422, "from 0 to 1, got -0.1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said(client, case: str) -> None:
    body, query, status, message = REFUSED[case]
    answer = client.post(f"/api/segment?{query}", headers=TYPE, **body)
    assert answer.status_code == status
    assert message in answer.json()["detail"]


def test_a_body_without_a_length_is_cut_off_at_the_limit(client) -> None:
    chunks = (b"x" * 100_000 for _ in range(100))
    answer = client.post("/api/segment", content=chunks, headers=TYPE)
    assert answer.status_code == 413


def test_pages_of_other_sites_cannot_send_photos(client, segmenter) -> None:
    plain = client.post("/api/segment", content=photo(), headers={"content-type": "text/plain"})
    assert plain.status_code == 415
    app = create_app({"fixed": segmenter}, hosts=["localhost"])
    with testclient.TestClient(app, base_url="http://evil.example") as other:
        assert other.get("/").status_code == 400


def test_words_reach_an_open_model_and_are_never_a_file(segmenter, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(StrongestChannel, "takes_classes", True, raising=False)
    desk = Desk({"open": segmenter}, Limits())
    found = desk.segment(photo(), "", "semantic", "meadow: stuff, ball|toy,\nair", 0.5)
    assert {one["name"] for one in found["views"]["semantic"]} == {"meadow", "ball"}
    secret = tmp_path / "secret.txt"
    secret.write_text("a\nb\nc\n")
    found = desk.segment(photo(), "", "semantic", f"{secret}, x, y", 0.5)
    assert {one["name"] for one in found["views"]["semantic"]} == {str(secret), "x"}


def test_examples_are_numbered_photos(client) -> None:
    names = client.get("/api/examples").json()
    assert len(names) >= 2
    for number in range(len(names)):
        Image.open(io.BytesIO(client.get(f"/api/examples/{number}").content)).verify()
    assert client.get(f"/api/examples/{len(names)}").status_code == 404
    assert client.get("/api/examples/..%2Fapp.py").status_code == 404


def test_one_is_worked_on_some_wait_more_are_sent_away(segmenter, monkeypatch) -> None:
    working, go_on, at_once = threading.Semaphore(0), threading.Event(), []
    plain = StrongestChannel.forward

    def forward(self, inputs):
        at_once.append(1)
        assert len(at_once) == 1
        working.release()
        assert go_on.wait(30)
        at_once.pop()
        return plain(self, inputs)

    monkeypatch.setattr(StrongestChannel, "forward", forward)
    desk = Desk({"fixed": segmenter}, Limits(waiting=1))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(desk.segment(photo(), "", "all", "", 0.5)))
        for _ in range(2)
    ]
    threads[0].start()
    assert working.acquire(timeout=30)
    threads[1].start()
    while desk._places._value:  # the second has its place
        threads[1].join(0.01)
    with pytest.raises(BusyError, match="many photos are waiting"):
        desk.segment(photo(), "", "all", "", 0.5)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(results) == 2
    desk.segment(photo(), "", "all", "", 0.5)  # all places are free again


@pytest.fixture
def held_server(segmenter, monkeypatch):
    """A server on a socket whose model works once it may; (address, started, go_on)."""
    started, go_on = threading.Semaphore(0), threading.Event()
    plain = StrongestChannel.forward

    def forward(self, inputs):
        started.release()
        assert go_on.wait(60)
        return plain(self, inputs)

    monkeypatch.setattr(StrongestChannel, "forward", forward)
    app = create_app({"fixed": segmenter}, Limits(waiting=2))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield address, started, go_on
        go_on.set()
        server.should_exit = True
        thread.join(60)


def send(address, content: bytes) -> socket.socket:
    """A visitor who has sent a photo and does not read yet."""
    visitor = socket.create_connection(address, timeout=60)
    head = "POST /api/segment HTTP/1.1", "Host: localhost", f"Content-Type: {TYPE['content-type']}"
    lines = *head, f"Content-Length: {len(content)}", "Connection: close", "", ""
    visitor.sendall("\r\n".join(lines).encode() + content)
    return visitor


def status(visitor: socket.socket) -> int:
    with visitor:
        return int(visitor.recv(12).split()[1])


def test_who_leaves_gives_the_place_up(held_server) -> None:
    address, started, go_on = held_server
    first = send(address, photo())
    assert started.acquire(timeout=60)
    for _ in range(12):  # more than there are places, each leaves
        send(address, photo()).close()
    deadline = time.monotonic() + 60
    while True:  # until those who left are noticed, the next are sent away
        waiting = [send(address, photo()) for _ in range(2)]
        refused, _, _ = select.select(waiting, [], [], 0.5)
        if not refused:
            break
        assert time.monotonic() < deadline
        for visitor in waiting:
            visitor.close()
        time.sleep(1)
    go_on.set()
    assert [status(visitor) for visitor in (first, *waiting)] == [200, 200, 200]
    assert [started.acquire(blocking=False) for _ in range(3)] == [True, True, False]


def test_an_address_that_cannot_be_had_is_one_line(capsys) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        for arguments, message in (
            (["--port", port], f"cannot listen on 127.0.0.1, port {port}: "),
            (["--port", "99999"], "wanted a port from 0 to 65535, got 99999"),
            (["--host", "256.1.1.1"], "cannot listen on 256.1.1.1, port 7860: "),
        ):
            assert main(["serve", "--model", "camvid-mask2former", *arguments]) == 2
            said = capsys.readouterr()
            assert said.out == ""
            assert said.err.startswith(f"freeseg: error: {message}")
            assert said.err.count("\n") == 1


def test_nothing_is_written(client, tmp_path, monkeypatch) -> None:
    opened = []
    plain = open

    def watched(file, mode="r", *rest, **options):
        if set(mode) & set("wax+"):
            opened.append(file)
        return plain(file, mode, *rest, **options)

    monkeypatch.setattr("builtins.open", watched)
    monkeypatch.setattr("io.open", watched)
    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert client.post("/api/segment", content=buffer.getvalue(), headers=TYPE).status_code == 200
    assert opened == []


def test_photos_of_16_bits_are_as_bright_as_the_model_s(tmp_path: Path) -> None:
    segmenter = Segmenter.from_config(
        write_config(tmp_path), write_weights(tmp_path), opts=["INPUT.WHITE_LEVEL", 1023]
    )
    levels = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    shown = []
    read = segmenter.read
    segmenter.read = lambda *photo, **limit: shown.append(read(*photo, **limit)) or shown[-1]
    Desk({"deep": segmenter}, Limits()).segment(buffer.getvalue(), "", "panoptic", "", 0.5)
    expected = [int(level * 255 / 1023 + 0.5) for level in range(1024)]
    assert shown[0].image[..., 0].reshape(-1).tolist() == expected


def test_photos_of_visitors_that_were_turned_away_are_not_kept(segmenter) -> None:
    desk = Desk({"fixed": segmenter}, Limits(kept_bytes=1))
    with pytest.raises(ValueError, match="wanted the task"):
        desk.segment(photo(), "", "depth", "", 0.5)
    with pytest.raises(GoneError):
        desk.segment(photo(), "", "", "", 0.5, has_left=lambda: True)
    assert len(desk._sessions) == 0
    desk.segment(photo(), "", "", "", 0.5)
    assert desk._sessions.nbytes <= 1
