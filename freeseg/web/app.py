"""The web server: one page, its assets, and segmentation as JSON.

A photo is the body of a request and stays in memory; nothing is written to the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from freeseg.images import IMAGE_SUFFIXES, ImageError
from freeseg.predictor import Segmenter
from freeseg.visualization.html import VIEWER_FOLDER
from freeseg.web.desk import BusyError, Desk, Limits

PAGE_FOLDER = Path(__file__).with_name("page")
EXAMPLES_FOLDER = Path(__file__).with_name("examples")
# A body of this type makes browsers ask first before another site's page may send it.
PHOTO_TYPE = "application/octet-stream"
_ASSETS = {
    "/": PAGE_FOLDER / "page.html",
    "/page.css": PAGE_FOLDER / "page.css",
    "/page.js": PAGE_FOLDER / "page.js",
    "/viewer.css": VIEWER_FOLDER / "viewer.css",
    "/viewer.js": VIEWER_FOLDER / "viewer.js",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

logger = logging.getLogger(__name__)


def create_app(
    models: Mapping[str, Segmenter],
    limits: Limits | None = None,
    examples: str | Path | None = None,
    hosts: list[str] | None = None,
) -> FastAPI:
    """Returns the application.

    Args:
        models: By the names that visitors see, the first is the default.
        limits: What a visitor may ask for.
        examples: Folder of photos for the gallery; the package's own when None.
        hosts: Names under which it may be called; any when None.
    """
    desk = Desk(models, limits or Limits())
    app = FastAPI(title="freeseg", docs_url=None, redoc_url=None, openapi_url=None)
    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.middleware("http")(_with_headers)
    for path, file in _ASSETS.items():
        app.add_api_route(path, _file_route(file))
    _add_examples(app, Path(examples) if examples else EXAMPLES_FOLDER)

    @app.get("/api/about")
    def about() -> dict[str, Any]:
        return desk.about()

    @app.post("/api/segment")
    async def segment(
        request: Request,
        model: str = "",
        task: str = "panoptic",
        text: str = "",
        score: float = 0.5,
    ) -> Response:
        content = await _read_photo(request, desk.limits.upload_bytes)
        try:
            found = await run_in_threadpool(desk.segment, content, model, task, text, score)
        except ImageError as error:
            raise HTTPException(422, f"the photo {error.reason}") from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except BusyError as error:
            raise HTTPException(503, str(error), headers={"Retry-After": "5"}) from None
        return JSONResponse(found)

    return app


def serve(
    models: Mapping[str, Segmenter],
    host: str,
    port: int,
    limits: Limits,
    examples: str | Path | None = None,
) -> None:
    """Serves until interrupted."""
    is_local = host in ("127.0.0.1", "localhost", "::1")
    hosts = ["127.0.0.1", "localhost", "[::1]", "::1"] if is_local else None
    app = create_app(models, limits, examples, hosts)
    uvicorn.run(app, host=host, port=port, log_level="warning")


async def _read_photo(request: Request, max_bytes: int) -> bytes:
    """Reads the body, no further than the limit."""
    if request.headers.get("content-type") != PHOTO_TYPE:
        raise HTTPException(415, f"a photo is sent as {PHOTO_TYPE}")
    too_large = HTTPException(413, f"the photo's file is larger than {max_bytes >> 20} MB")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > max_bytes:
            raise too_large
    return bytes(content)


async def _with_headers(
    request: Request, answer: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await answer(request)
    response.headers.update(_HEADERS)
    return response


def _file_route(file: Path) -> Callable[[], FileResponse]:
    def send() -> FileResponse:
        return FileResponse(file)

    return send


def _add_examples(app: FastAPI, folder: Path) -> None:
    """The gallery: photos by number, so that no request can name a file."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)

    @app.get("/api/examples")
    def names() -> list[str]:
        return [path.stem.replace("_", " ") for path in files]

    @app.get("/api/examples/{number}")
    def photo(number: int) -> FileResponse:
        if not 0 <= number < len(files):
            raise HTTPException(404, "there is no such example")
        return FileResponse(files[number])
