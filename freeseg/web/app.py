"""The web server: one page, its assets, and segmentation as JSON.

A photo is the body of a request and stays in memory; nothing is written to the disk.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freeseg.data.photos import images_in
from freeseg.images import ImageError
from freeseg.segmenter import Segmenter
from freeseg.visualization.html import VIEWER_FOLDER
from freeseg.web.desk import BusyError, Desk, GoneError, Limits

PAGE_FOLDER = Path(__file__).with_name("page")
EXAMPLES_FOLDER = Path(__file__).with_name("examples")
# A body of this type makes browsers ask first before another site's page may send it.
PHOTO_TYPE = "application/octet-stream"
_CLIENT_GONE = 499  # as other servers log it; nobody reads the answer
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
    app.add_middleware(_WithHeaders)
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
        task: str = "",
        text: str = "",
        score: float = 0.5,
        name: str = "",
    ) -> Response:
        content = await _read_photo(request, desk.limits.upload_bytes)
        has_left = partial(anyio.from_thread.run, request.is_disconnected)
        try:
            found = await run_in_threadpool(
                desk.segment, content, model, task, text, score, has_left, name
            )
        except ImageError as error:
            raise HTTPException(422, f"the photo {error.reason}") from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except BusyError as error:
            raise HTTPException(503, str(error), headers={"Retry-After": "5"}) from None
        except GoneError as error:
            raise HTTPException(_CLIENT_GONE, str(error)) from None
        return JSONResponse(found)

    return app


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; port 0 stands for any that is free.

    Raises:
        ValueError: There can be no such port.
        OSError: The address is not this machine's, or the port is in use; one line says which.
    """
    if not 0 <= port < 1 << 16:
        raise ValueError(f"wanted a port from 0 to {(1 << 16) - 1}, got {port}")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot listen on {host}, port {port}: {reason}") from None


def serve(
    models: Mapping[str, Segmenter],
    listener: socket.socket,
    limits: Limits,
    examples: str | Path | None = None,
) -> None:
    """Serves on a socket of `listen` until interrupted."""
    is_local = listener.getsockname()[0] in ("127.0.0.1", "::1")
    hosts = ["127.0.0.1", "localhost", "[::1]", "::1"] if is_local else None
    app = create_app(models, limits, examples, hosts)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


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


class _WithHeaders:
    """Adds headers to every answer; `app.middleware` would hide that a client has left."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _file_route(file: Path) -> Callable[[], FileResponse]:
    def send() -> FileResponse:
        return FileResponse(file)

    return send


def _add_examples(app: FastAPI, folder: Path) -> None:
    """The gallery: photos by number, so that no request can name a file."""
    files = images_in(folder)

    @app.get("/api/examples")
    def names() -> list[str]:
        return [path.stem.replace("_", " ") for path in files]

    @app.get("/api/examples/{number}")
    def photo(number: int) -> FileResponse:
        if not 0 <= number < len(files):
            raise HTTPException(404, "there is no such example")
        return FileResponse(files[number])
