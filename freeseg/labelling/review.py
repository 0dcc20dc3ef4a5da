"""Pages of thumbnails to look through the labels, which need no server and no network."""

from __future__ import annotations

import html
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from freeseg.files import write_text
from freeseg.labelling.dataset import Dataset, line_of
from freeseg.labelling.records import THUMBNAILS
from freeseg.visualization.html import asset, html_document

PER_PAGE = 500  # thumbnails; a browser fetches those that are looked at
_ASSETS = Path(__file__).with_name("page")

_BODY = """<header>
<h1>{title}</h1>
<p>{count} photos, page {page} of {pages}. Click on those whose labels are wrong, save the list, and
run the command again with <code>--leave-out left_out.txt</code>.</p>
<p class="tools">
<label>show <select id="class"><option value="">all</option><option value="-">nothing found</option>
{options}</select></label>
<label>order <select id="order"><option value="place">as listed</option>
<option value="score">least likely first</option></select></label>
<button id="save" type="button">save the list (<span id="count">0</span>)</button>
</p>
<nav>{links}</nav>
</header>
<main id="photos" data-set="{key}">
{cards}
</main>
<script>{script}</script>"""
_CARD = """<figure tabindex="0" role="button" aria-pressed="false" data-name="{name}" \
data-score="{score}" data-classes="{classes}"><img loading="lazy" alt="" src="{source}">
<figcaption><b>{name}</b> {found}</figcaption></figure>"""


def write_pages(dataset: Dataset, count: int) -> list[Path]:
    """Writes review.html, review_2.html ... beside the thumbnails; returns their paths.

    Args:
        dataset: Of so many records.
        count: See above.
    """
    names = {row["id"]: row["name"] for row in dataset.categories}
    num_pages = max(-(-count // PER_PAGE), 1)
    paths = [dataset.folder / _page_name(page) for page in range(1, num_pages + 1)]
    cards = (_card(record, names) for record in dataset.records())
    for page, path in enumerate(paths, start=1):
        title = f"Labels of {line_of(dataset.folder.name)}"
        body = _BODY.format(
            title=html.escape(title),
            key=html.escape(line_of(str(dataset.folder.resolve()))),
            script=asset(_ASSETS / "review.js"),
            count=count,
            page=page,
            pages=num_pages,
            options="\n".join(_options(names.values())),
            links=" ".join(_links(page, num_pages)),
            cards="\n".join(itertools.islice(cards, PER_PAGE)),
        )
        write_text(path, html_document(title, asset(_ASSETS / "review.css"), body))
    for path in _pages_after(dataset.folder, num_pages):
        path.unlink()
    return paths


def _card(record: dict[str, Any], names: dict[int, str]) -> str:
    """A photo's thumbnail, what was found, and the score of the least likely of it."""
    rows = record["instances"] or record.get("segments", [])
    found = Counter(names[row["category_id"]] for row in rows)
    name = record["image"]["file_name"]
    scores = [row["score"] for row in rows if "score" in row]
    said = [each if count == 1 else f"{each} ×{count}" for each, count in found.items()]
    least = f" (from {min(scores):.2f} on)" if scores else ""
    return _CARD.format(
        name=html.escape(line_of(name)),
        score=min(scores, default=1.0),
        classes=html.escape(json.dumps(list(found))),
        source=html.escape(quote(os.fsencode(f"{THUMBNAILS}/{name.lstrip('/')}.jpg"))),
        found=html.escape((", ".join(said) or "nothing found") + least),
    )


def _options(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield f'<option value="={html.escape(name)}">{html.escape(name)}</option>'


def _links(page: int, num_pages: int) -> Iterator[str]:
    for other in range(1, num_pages + 1) if num_pages > 1 else ():
        mark = ' aria-current="page"' if other == page else ""
        yield f'<a href="{_page_name(other)}"{mark}>{other}</a>'


def _page_name(page: int) -> str:
    return "review.html" if page == 1 else f"review_{page}.html"


def _pages_after(folder: Path, num_pages: int) -> Iterator[Path]:
    """Pages of an earlier run that had more."""
    numbers = itertools.takewhile(
        lambda page: (folder / _page_name(page)).is_file(), itertools.count(num_pages + 1)
    )
    return (folder / _page_name(page) for page in list(numbers))
