#!/usr/bin/env python3
"""Takes the pictures of the web demo that docs/web.md shows, in a real Chromium.

tools/take_screenshots.py [--output docs/images] [--model camvid]
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from freeseg import Segmenter
from freeseg.web import create_app
from freeseg_command.messages import exit_code_of

WIDTHS = {"web_desktop": 1100, "web_phone": 390}
HEIGHT = 900  # of the window; the pictures are as high as the page
COLORS = 256  # of the PNG files


def main() -> None:
    """Serves the demo, opens it, and writes one picture per width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--model", default="camvid")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    app = create_app({args.model: Segmenter.from_pretrained(args.model)})
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with sync_playwright() as tools:
            browser = tools.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
            for name, width in WIDTHS.items():
                picture = photograph(browser, f"http://127.0.0.1:{port}", width)
                # the legend's small squares keep their colours, which a median cut gives away
                small = picture.quantize(
                    COLORS, Image.Quantize.MAXCOVERAGE, kmeans=5, dither=Image.Dither.NONE
                )
                small.save(args.output / f"{name}.png", optimize=True)
            browser.close()
    finally:
        server.should_exit = True
        thread.join()


def photograph(browser: Any, address: str, width: int) -> Image.Image:
    """Segments the last example and points at its car."""
    page = browser.new_page(viewport={"width": width, "height": HEIGHT})
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.select_option("#task", "all")
    page.locator("#examples button").last.click()
    page.wait_for_selector("#result[data-ready]")
    canvas = page.locator("canvas")
    frame = canvas.bounding_box()
    canvas.hover(position={"x": 0.8 * frame["width"], "y": 0.61 * frame["height"]})
    content = page.screenshot(full_page=True)
    page.close()
    return Image.open(io.BytesIO(content)).convert("RGB")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
