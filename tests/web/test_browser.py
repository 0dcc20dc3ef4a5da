"""The page in a real browser: choose a photo, look at its segments, download them."""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import NEEDS_BROWSER, PATIENCE, started_browser
from fixed_model import StrongestChannel, write_config, write_weights
from test_videos import write_source

from freeseg import Segmenter
from freeseg.cli import main
from freeseg.videos import Video

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra freeseg[web]")
from freeseg.web import create_app  # noqa: E402

pytestmark = NEEDS_BROWSER
# Plays a video to its end; says its size, its duration and two colours of its last picture.
PLAY = """async (content) => {
  const video = document.createElement('video');
  video.muted = true;
  const on = (name) => new Promise((resolve, reject) => {
    video.addEventListener(name, resolve, {once: true});
    video.addEventListener('error', () => reject(video.error.message), {once: true});
  });
  const loaded = on('loadeddata');
  video.src = 'data:video/mp4;base64,' + content;
  await loaded;
  const ended = on('ended');
  await video.play();
  await ended;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const at = (x, y) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
  const colours = [at(4, 4), at(60, 44)];
  const size = [video.videoWidth, video.videoHeight];
  return {size, duration: video.duration, ended: video.ended, colours};
}"""


@pytest.fixture(scope="module")
def browser():
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    config, weights = write_config(folder), write_weights(folder)
    closed, opened, labels = (Segmenter.from_config(config, weights) for _ in range(3))
    opened.model.takes_classes = True  # of this one only
    labels.model.answered_tasks = ("semantic",)
    closed.knows, closed.unsure_below = "coloured fields", 0.5
    closed.model.register_forward_hook(_say_certainty)
    models = {"closed": closed, "open": opened, "labels": labels}
    app = create_app(models, hosts=["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def _say_certainty(model, inputs, outputs):
    """The more of a photo is blue, the less the model knows of it."""
    for one, output in zip(inputs[0], outputs):
        output["certainty"] = float((one["image"].argmax(0) != 2).float().mean())


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: line.type == "error" and problems.append(line.text))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    # the browser's own note about an answer that says no is no fault of the page
    assert [problem for problem in problems if "status of 422" not in problem] == []


def photo(blue: int = 10) -> dict:
    """Left third red, the rest green, as a browser's file; all blue where that is stronger."""
    picture = np.full((300, 600, 3), (10, 10, blue), dtype=np.uint8)
    picture[:, :200, 0] = picture[:, 200:, 1] = 200
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return {"name": "holiday.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def segment(page, task: str = "all") -> None:
    page.set_input_files("#file", photo())
    page.select_option("#task", task)
    page.click("#go")
    page.wait_for_selector("#result[data-ready]")


def shown(page, x: int, y: int) -> list[int]:
    """The colour of a pixel of the canvas, in the photo's coordinates."""
    script = "([x, y]) => [...document.querySelector('canvas').getContext('2d')"
    return page.evaluate(script + ".getImageData(x, y, 1, 1).data].slice(0, 3)", [x, y])


def test_segments_are_listed_hovered_and_switched_off(page) -> None:
    segment(page)
    names = page.locator(".segments .name").all_inner_texts()
    assert names == ["green field", "red ball"]  # the largest first
    assert page.locator(".tabs button").all_inner_texts() == ["panoptic", "instance", "semantic"]
    assert "2 segments" in page.inner_text("#status")

    canvas = page.locator("canvas").bounding_box()
    page.mouse.move(canvas["x"] + canvas["width"] / 6, canvas["y"] + canvas["height"] / 2)
    page.wait_for_selector(".tip:not([hidden])")
    assert page.inner_text(".tip") == "red ball 50 %"
    assert page.locator(".segments li.lit .name").all_inner_texts() == ["red ball"]
    page.mouse.move(canvas["x"] + canvas["width"] * 0.8, canvas["y"] + canvas["height"] / 2)
    page.wait_for_function("document.querySelector('.tip').textContent === 'green field 50 %'")
    page.mouse.move(5, 5)

    drawn = shown(page, 100, 150)
    page.locator(".segments input").nth(1).uncheck()
    bare = shown(page, 100, 150)
    assert bare != drawn
    assert np.abs(np.array(bare) - [200, 10, 10]).max() < 12, "the photo itself, through JPEG"
    page.locator(".segments input").nth(1).check()
    page.mouse.move(5, 5)  # a row under the pointer lights its segment up
    assert shown(page, 100, 150) == drawn

    page.click(".tabs button[data-task=instance]")
    assert page.locator(".segments .name").all_inner_texts() == ["red ball"]
    assert page.inner_text(".segments .figure").startswith("88 %")


def test_picture_and_coco_files_can_be_downloaded(page, tmp_path) -> None:
    segment(page, "panoptic")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG", exact=True).click()
    assert download.value.suggested_filename == "holiday_segments.png"
    picture = np.asarray(Image.open(download.value.path()).convert("RGB"))
    assert picture.shape == (300, 600, 3)
    assert picture[150, 100].tolist() == shown(page, 100, 150)
    with page.expect_download() as download:
        page.get_by_role("button", name="COCO (zip)").click()
    assert download.value.suggested_filename == "holiday_coco.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        coco = json.loads(archive.read("holiday_panoptic.json"))
        (annotation,) = coco["annotations"]
        ids = np.asarray(Image.open(io.BytesIO(archive.read(annotation["file_name"]))))
    assert coco["images"][0]["file_name"] == "holiday.png"
    rows = annotation["segments_info"]
    drawn = np.unique(ids.astype(int) @ [1, 256, 65536])
    assert drawn.tolist() == sorted(row["id"] for row in rows)
    red, green = sorted(row["area"] for row in rows)
    assert red + green == 180_000
    assert abs(red - 60_000) < 600, "a third, but for the border that resizing moves"


def test_words_are_for_open_models_only(page) -> None:
    assert page.locator("#text").is_disabled()
    page.select_option("#model", "open")
    assert page.locator("#text").is_enabled()
    page.fill("#text", "meadow: stuff, ball, air: stuff")
    segment(page, "panoptic")
    assert page.locator(".segments .name").all_inner_texts() == ["meadow", "ball"]


def test_what_is_wrong_is_said_on_the_page(page) -> None:
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"words"})
    page.click("#go")
    page.wait_for_selector("#status.bad")
    assert "is not an image" in page.inner_text("#status")


def test_an_error_clears_what_was_shown(page) -> None:
    segment(page)
    assert page.locator("canvas").count() == 1
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"words"})
    page.click("#go")
    page.wait_for_selector("#status.bad")
    assert page.locator("canvas").count() == 0
    assert page.inner_text("#result") == ""


def test_the_tasks_are_the_model_s_and_the_score_is_of_those_that_have_one(page) -> None:
    def tasks() -> list[str]:
        return page.locator("#task option").all_inner_texts()

    assert tasks() == ["panoptic", "instance", "semantic", "all"]
    page.select_option("#task", "instance")
    page.select_option("#model", "labels")
    assert tasks() == ["semantic"]
    assert page.locator("#score").is_disabled()
    assert page.inner_text("#least") == "none: labels have no score"
    page.select_option("#model", "open")
    assert tasks() == ["panoptic", "instance", "semantic", "all"]
    page.select_option("#task", "panoptic")
    assert page.locator("#score").is_enabled()
    page.select_option("#model", "closed")
    assert page.input_value("#task") == "panoptic", "a choice that the next model has stays"
    page.locator("#score").fill("51")
    segment(page, "panoptic")
    assert page.locator(".segments .name").count() == 0
    assert "nothing was found" in page.inner_text(".segments")
    assert page.inner_text("#status").startswith("0 segments in ")


def test_what_the_model_knows_and_that_it_is_unsure_are_on_the_page(page) -> None:
    assert page.inner_text("#classes").startswith("closed knows coloured fields. Its classes: ")
    segment(page, "panoptic")
    assert page.inner_text(".side .hint >> nth=0") == "the model knows coloured fields"
    assert page.locator(".side .unsure").count() == 0
    page.set_input_files("#file", photo(blue=255))
    page.click("#go")
    page.wait_for_selector(".side .unsure")
    assert page.inner_text(".side .unsure") == "unsure: unlike the photos it learned from"
    assert page.locator(".segments .name").all_inner_texts() == ["blue sky"], "not hidden"


def test_warnings_are_on_the_page_until_the_next_photo(page) -> None:
    buffer = io.BytesIO()
    levels = np.full((20, 20), 900, dtype=np.uint16)
    levels[0, 0] = 1023
    Image.fromarray(levels).save(buffer, "PNG")
    deep = {"name": "deep.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    page.set_input_files("#file", deep)
    page.click("#go")
    page.wait_for_selector("#warnings li")
    assert "as of a camera of 10 bits" in page.inner_text("#warnings")
    segment(page)
    page.wait_for_selector("#warnings li", state="detached")


def test_every_control_has_a_label_that_can_be_read(page) -> None:
    segment(page)
    unlabelled = page.evaluate(
        """() => [...document.querySelectorAll('input, select, textarea, button')]
        .filter((one) => one.offsetParent !== null)
        .filter((one) => one.tagName === 'BUTTON' ? !one.innerText.trim()
          : ![...one.labels].some((label) => label.innerText.trim()))
        .map((one) => one.outerHTML)"""
    )
    assert unlabelled == []
    assert page.evaluate("document.querySelectorAll('input').length") >= 5


def test_examples_are_one_click_and_a_phone_s_width_is_enough(browser, address) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.locator("#examples button").first.tap()
    page.wait_for_selector("#result[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    canvas = page.locator("canvas").bounding_box()
    assert canvas["width"] > 300
    page.locator("canvas").tap(position={"x": 30, "y": 30})
    page.wait_for_selector(".tip:not([hidden])")
    tip = page.locator(".tip").bounding_box()
    assert tip["x"] >= 0
    assert tip["x"] + tip["width"] <= 361
    context.close()


def test_the_page_of_a_file_works_without_a_server(browser, tmp_path) -> None:
    segmenter = Segmenter.from_config(write_config(tmp_path), write_weights(tmp_path))
    result = segmenter(photo()["buffer"], "all")
    path = result.save(tmp_path, "holiday", formats=["html"])["html"]
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(path.as_uri())
    page.wait_for_selector("#viewer[data-ready]")
    assert page.locator(".segments .name").all_inner_texts() == ["green field", "red ball"]
    page.close()


def test_a_written_video_plays_in_a_browser_with_its_colours(browser, tmp_path) -> None:
    source = write_source(tmp_path / "drive.mkv", sound="aac")
    config, weights = write_config(tmp_path), write_weights(tmp_path)
    model = ["--config-file", str(config), "--weights", str(weights), "--task", "semantic"]
    assert main(["segment", str(source), *model, "--out", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "drive.mp4"
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    seen = page.evaluate(PLAY, base64.b64encode(path.read_bytes()).decode())
    page.close()
    with Video(path) as video:
        last = [frame.image for frame in video.frames()][-1].astype(int)
    assert seen["size"] == [64, 48]
    assert seen["duration"] == pytest.approx(1.05, abs=0.1)
    assert seen["ended"] is True
    assert np.abs(np.array(seen["colours"]) - [last[4, 4], last[44, 60]]).max() < 16
    assert np.abs(last[4, 4] - last[44, 60]).max() > 20, "the two can be told apart"


def test_the_models_of_these_tests_differ() -> None:
    assert not hasattr(StrongestChannel, "takes_classes")
