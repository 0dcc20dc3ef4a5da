"""A page to look around in a segmentation: one file, which needs no server and no network.

Shapes: H W photo size, h w size of a segment's box.
"""

from __future__ import annotations

import base64
import html
import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from freeseg.data.panoptic import runs
from freeseg.images import RgbImage
from freeseg.visualization.overlay import segments_of
from freeseg.visualization.photo_result import PhotoResult

VIEWER_FOLDER = Path(__file__).with_name("viewer")  # the script and the style sheet
_JPEG_QUALITY = 90

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
_BODY = """<main class="page">
<h1>{title}</h1>
<div id="viewer"></div>
</main>
<script>{script}</script>
<script type="application/json" id="data">{data}</script>
<script>showSegments(document.getElementById("viewer"),
JSON.parse(document.getElementById("data").textContent));</script>"""


def html_document(title: str, style: str, body: str) -> str:
    """Returns a whole page; `title` is text, the others are what stands in their elements."""
    return _DOCUMENT.format(title=html.escape(title), style=style, body=body)


def html_page(result: PhotoResult, stem: str, min_score: float, archive: str) -> str:
    """Returns the page as text.

    Args:
        result: Of any tasks.
        stem: Title of the page, and what downloaded files are called.
        min_score: Instances below are left out.
        archive: The address of the COCO files that the page offers, "" for none.
    """
    picture = data_address(result.image)
    data = {**viewer_data(result, min_score), "image": picture, "stem": stem, "archive": archive}
    # "</" would end the script element wherever it stands
    body = _BODY.format(
        title=html.escape(stem),
        script=asset(VIEWER_FOLDER / "viewer.js"),
        data=json.dumps(data).replace("</", "<\\/"),
    )
    return html_document(stem, asset(VIEWER_FOLDER / "viewer.css"), body)


def viewer_data(result: PhotoResult, min_score: float) -> dict[str, Any]:
    """Returns what the viewer's script draws: every task's segments, the largest first.

    A segment's mask is given inside its box, as the flat positions where runs of its pixels start,
    each followed by the run's length.
    """
    names = result.vocabulary.names
    views = {}
    for task in result.tasks:
        segments = sorted(segments_of(result, task, min_score), key=lambda segment: -segment.area)
        views[task] = [
            {
                "name": names[segment.label],
                "label": segment.label,
                "color": list(segment.color),
                "score": segment.score,
                "area": segment.area,
                "box": [segment.left, segment.top, segment.mask.shape[1], segment.mask.shape[0]],
                "runs": runs_of(segment.mask),
            }
            for segment in segments
        ]
    height, width = result.image.shape[:2]
    return {
        **{"width": width, "height": height, "views": views},
        **{"remarks": list(result.remarks), "unsure": result.is_unsure},
    }


def runs_of(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Returns [start, length, start, length, ...] of the runs in a mask [h, w], row by row."""
    places = np.stack(runs(mask), axis=1)
    inside: list[int] = places[mask.reshape(-1)[places[:, 0]]].reshape(-1).tolist()
    return inside


def data_address(image: RgbImage) -> str:
    """Returns a photo as the address of itself: a JPEG inside a data: URL."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@lru_cache(maxsize=8)
def asset(path: Path) -> str:
    """A script or a style sheet that comes with the package."""
    return path.read_text(encoding="utf-8")
