#!/usr/bin/env python3
"""Installs the wheels with the newest, or the oldest, releases of all they need, and uses them.

tools/check_install.py newest|oldest

The oldest are the lower bounds of the wheels' own metadata. All is made in a temporary folder that
goes away: wheels, tests, and the environment (6 GB, since PyPI's PyTorch for Linux brings CUDA).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_string
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("minilm", "web")  # what `freeseg segment` and `freeseg serve` need
TEST_PACKAGES = ("pytest", "hypothesis", "httpx", "scikit-learn")  # the last has photos
CONFIG = "freeseg://configs/shapes/mask2former_tiny.yaml"
# Quick ones that call into PyTorch, torchvision, timm, open_clip, NumPy, OpenCV and Pillow.
TESTS = (
    "tests/structures",
    "tests/layers",
    "tests/modeling",
    "tests/inference",
    "tests/text",
    "tests/test_images.py",
    "tests/test_segmenter.py",
    "d2lite/tests/structures",
    "d2lite/tests/layers",
    "d2lite/tests/data",
)
SEEN = {"building", "sky", "tree"}  # in the photo, by the bundled model
SECONDS_TO_WAIT = 300  # for the server, where the disk is slow


def main() -> None:
    """Installs and uses; the first thing that is not as it should be ends it with an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("releases", choices=("newest", "oldest"))
    releases = parser.parse_args().releases
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="freeseg-") as folder:
        place = Place(Path(folder))
        for step in place.steps(releases):
            print(f"== {time.monotonic() - began:4.0f} s  {releases}: {step}", flush=True)
    print(f"== {time.monotonic() - began:4.0f} s  {releases}: all of it works", flush=True)


class Place:
    """A folder with a copy of the checkout, an environment, and wheels between the two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.wheels = folder / "wheels"
        self.programs = folder / "environment/bin"
        self.variables = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "DETECTRON2_DATASETS": str(folder / "datasets"),
            "FREESEG_CACHE": str(folder / "cache"),
        }

    def steps(self, releases: str) -> Iterator[str]:
        """Does one thing after another, each said before it is done."""
        yield "build the wheels"
        self.build()
        yield "install them"
        self.install(releases)
        yield "freeseg doctor"
        self.run_doctor()
        yield "freeseg segment"
        photo = self.segment()
        yield "freeseg serve"
        self.serve(photo)
        yield "freeseg train"
        self.train()
        yield "tests"
        self.run_tests()

    def build(self) -> None:
        """Builds the wheels, and leaves of the source only what tests read beside them."""
        copy_checkout(self.source)
        subprocess.run([sys.executable, "-m", "venv", str(self.folder / "environment")], check=True)
        self.pip("install", "--upgrade", "pip")
        for project in (self.source, self.source / "d2lite"):
            self.pip("wheel", "--no-deps", "--wheel-dir", str(self.wheels), str(project))
        for package in ("freeseg", "freeseg_command", "d2lite/detectron2"):
            shutil.rmtree(self.source / package)

    def install(self, releases: str) -> None:
        """Installs the wheels and what tests need, and says what came."""
        freeseg, detectron2 = (
            find_wheel(self.wheels, "freeseg"),
            find_wheel(self.wheels, "detectron2"),
        )
        constraints: list[str] = []  # beside those of this machine's pip, if it has any
        if releases == "oldest":
            bounds = lower_bounds([*requirements(freeseg), *requirements(detectron2)])
            (self.folder / "oldest.txt").write_text("\n".join(bounds) + "\n")
            constraints = ["--constraint", str(self.folder / "oldest.txt")]
        self.pip(
            "install",
            "--no-compile",
            *constraints,
            f"{freeseg}[{','.join(EXTRAS)}]",
            str(detectron2),
            *TEST_PACKAGES,
        )
        self.run("python", "-m", "pip", "check")
        print(self.run("python", "-m", "pip", "freeze"))

    def run_doctor(self) -> None:
        """No problems, and torchvision's operators run: its library is made for this PyTorch."""
        findings = json.loads(self.run("freeseg", "doctor", "--json"))
        wanted = {
            "torchvision operators": "nms runs",
            "ms_deform_attn reference": "on every device",
        }
        found = {row["name"]: row["detail"] for row in findings if row["name"] in wanted}
        expect(wanted, found)

    def segment(self) -> Path:
        """Segments a photo of scikit-learn's with the bundled model and returns its path."""
        code = "import sklearn.datasets as d; print(d.load_sample_images().filenames[0])"
        photo = Path(self.run("python", "-c", code).split()[-1])
        said = self.run("freeseg", "segment", str(photo), "--out", "results")
        expect(SEEN, SEEN & set(re.findall(r"[a-z]+", said)))
        return photo

    def serve(self, photo: Path) -> None:
        """Starts the server, asks it once, and stops it."""
        log = self.folder / "serve.log"
        command = [str(self.programs / "freeseg"), "serve", "--port", "0"]
        with log.open("w") as output:
            server = subprocess.Popen(
                command, cwd=self.folder, env=self.variables, stdout=output, stderr=output
            )
        try:
            address = self.wait_for_address(server, log)
            request = urllib.request.Request(
                f"{address}/api/segment",
                data=photo.read_bytes(),
                headers={"Content-Type": "application/octet-stream"},
            )
            with urllib.request.urlopen(request, timeout=SECONDS_TO_WAIT) as answer:
                names = {segment["name"] for segment in json.load(answer)["views"]["panoptic"]}
        finally:
            server.terminate()
            server.wait(timeout=60)
        expect(SEEN, SEEN & names)

    def wait_for_address(self, server: subprocess.Popen, log: Path) -> str:
        """What the server says once it listens."""
        for _ in range(SECONDS_TO_WAIT):
            said = re.search(r"http://\S+", log.read_text())
            if said:
                return said[0]
            if server.poll() is not None:
                break
            time.sleep(1)
        raise SystemExit(f"freeseg serve did not start:\n{log.read_text()}")

    def train(self) -> None:
        """Three steps on Shapes with a configuration out of the wheel, and the evaluation."""
        few = ("SOLVER.MAX_ITER", "3", "DATASETS.TEST", "()", "OUTPUT_DIR", "trained")
        self.run("freeseg", "train", "--config-file", CONFIG, *few)
        expect(True, (self.folder / "trained/model_final.pth").is_file())
        self.run("freeseg", "visualize-data", "--config-file", CONFIG, "--number", "2")
        expect(2, len(list((self.folder / "output/data").glob("*.png"))))

    def run_tests(self) -> None:
        """Runs quick tests on the installed packages: there are no others beside them."""
        tests = [str(self.source / path) for path in TESTS]
        config = str(self.source / "pyproject.toml")
        options = ("-q", "-c", config, "--rootdir", str(self.source), "-m", "not slow")
        print(self.run("pytest", *options, *tests))

    def pip(self, *arguments: str) -> None:
        """Runs the environment's pip."""
        self.run("python", "-m", "pip", "--quiet", *arguments)

    def run(self, program: str, *arguments: str) -> str:
        """Runs a program of the environment and returns what it says; an error ends this one."""
        ended = subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            said = f"{ended.stdout}{ended.stderr}"
            raise SystemExit(
                f"{program} {' '.join(arguments)} ended with {ended.returncode}:\n{said}"
            )
        return ended.stdout


def copy_checkout(target: Path) -> None:
    """Copies what git has or would take, so that nothing built here goes into the wheels."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # not one that was removed and not yet committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def requirements(wheel: Path) -> list[str]:
    """What a wheel asks for, with its extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    return message_from_string(text).get_all("Requires-Dist", [])


def lower_bounds(requirements: Iterable[str]) -> list[str]:
    """One pin for each package that is needed or of `EXTRAS`: the highest of its lower bounds.

    Raises:
        ValueError: A requirement says nothing of what was tried.
    """
    bounds: dict[str, str] = {}
    for requirement in requirements:
        what, _, condition = requirement.partition(";")
        extra = re.search(r"extra == .(\w+)", condition)
        if extra and extra[1] not in EXTRAS:
            continue
        said = re.fullmatch(r"([\w.-]+?)\s*>=([\w.]+)(,.*)?", what.strip())
        if said is None:
            raise ValueError(f"wanted NAME>=VERSION, got {what}")
        bounds[said[1]] = max(bounds.get(said[1], "0"), said[2], key=_order)
    return [f"{name}=={version}" for name, version in sorted(bounds.items())]


def _order(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def find_wheel(folder: Path, name: str) -> Path:
    """The wheel of a package."""
    (wheel,) = folder.glob(f"{name}-*.whl")
    return wheel


def expect(wanted: object, found: object) -> None:
    """Ends the program where something is not as it should be."""
    if wanted != found:
        raise SystemExit(f"wanted {wanted}, got {found}")


if __name__ == "__main__":
    main()
