"""The review page in a real browser: choose, order, leave out, save the list."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import NEEDS_BROWSER, started_browser

from freeseg.files import write_text
from freeseg.labelling import Dataset
from freeseg.labelling.records import categories_file
from freeseg.labelling.review import write_pages

pytestmark = NEEDS_BROWSER
NAME = "odd \"<name>\" & '#1'.jpg"
SCORES = {"sure.jpg": [0.9], NAME: [0.8, 0.35], "empty.jpg": []}


@pytest.fixture
def address(tmp_path):
    """Pages of three photos: a cup, two odd classes, nothing."""
    classes = [{"id": 4, "name": "cup"}, {"id": 7, "name": "-"}]
    part = tmp_path / "job" / "part.jsonl"
    part.parent.mkdir()
    write_text(categories_file(tmp_path), json.dumps(classes))
    rows = [
        {
            "photo": name,
            "image": {"file_name": name},
            "instances": [
                {"category_id": 4 if number == 0 else 7, "score": score}
                for number, score in enumerate(scores)
            ],
        }
        for name, scores in SCORES.items()
    ]
    rows.append({"photo": "broken.jpg", "error": "is broken"})
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return write_pages(Dataset(tmp_path, [part]), len(SCORES))[0].as_uri()


@pytest.fixture
def page(address):
    with started_browser() as browser:
        page = browser.new_page(accept_downloads=True)
        errors = []
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(address)
        yield page
        assert not errors


def shown(page):
    return page.eval_on_selector_all(
        "figure:not([hidden])", "cards => cards.map(card => card.dataset.name)"
    )


def test_photos_are_chosen_and_ordered(page):
    assert shown(page) == list(SCORES)
    page.select_option("#class", "=cup")
    assert shown(page) == ["sure.jpg", NAME]
    page.select_option("#class", "=-")  # a class of that name is not the choice of nothing
    assert shown(page) == [NAME]
    page.select_option("#class", "-")
    assert shown(page) == ["empty.jpg"]
    page.select_option("#class", "")
    page.select_option("#order", "score")
    assert shown(page) == [NAME, "sure.jpg", "empty.jpg"]
    page.select_option("#order", "place")
    assert shown(page) == list(SCORES)


def test_the_list_has_what_was_clicked(page, tmp_path):
    page.click("figure >> nth=1")
    page.click("figure >> nth=0")
    page.focus("figure >> nth=0")
    page.keyboard.press("Enter")  # taken back
    assert page.text_content("#count") == "1"
    for _ in range(50):  # the browser remembers, if not in the same instant
        page.reload()
        if page.text_content("#count") == "1":
            break
        page.wait_for_timeout(100)
    assert page.text_content("#count") == "1"
    assert page.get_attribute("figure >> nth=1", "aria-pressed") == "true"
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "left_out.txt"
    download.value.save_as(tmp_path / "left_out.txt")
    assert (tmp_path / "left_out.txt").read_text() == NAME + "\n"
