"""README's table is the catalogue's, links of the site are checked, and data can be looked at."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from freeseg.evaluation.behaviour import Probes
from freeseg_command.program import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def run(tool: str, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | None:
    spec = importlib.util.spec_from_file_location(f"tool_{tool}", ROOT / "tools" / f"{tool}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    return script.main()


@pytest.fixture(autouse=True)
def tools_import_each_other(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


def test_tables_in_documents_are_current(monkeypatch) -> None:
    pages = ROOT / "README.md", ROOT / "docs/ops.md"
    assert run("document_tables", monkeypatch, "--check", *pages) == 0


def test_speed_is_recorded_row_by_row_in_the_order_of_the_benchmark(tmp_path) -> None:
    from benchmark_rows import Result, Row, add_to, lines_of, record_of, recorded_table

    fast = Row("fast", "ours", "theirs", 2, prepare=lambda: None, memory_bar=4)
    record = record_of(fast, Result(0.5, 1.25, 2.5, 2**20, 8 * 2**20), threads=2)
    assert lines_of(record) == [
        "| ours | theirs | 500.0 ms | 1250.0 ms | 2.5x | 2x |",
        "| its peak memory | | 1 MiB | 8 MiB | 8.0x | 4x |",
    ]
    path = tmp_path / "speed.json"
    slow = record_of(Row("slow", "a", "b", 1.5, lambda: None), Result(2.0, 1.0, 0.5), threads=2)
    for name, each in (("slow", slow), ("gone", slow), ("fast", record)):
        add_to(path, {name: each}, ["fast", "slow", *(["gone"] if name == "gone" else [])])
    recorded = json.loads(path.read_text())
    assert list(recorded) == ["fast", "slow"]  # a row that the benchmark lost is forgotten
    assert recorded["slow"]["threads"] == 2
    assert "| a | b | 2000.0 ms | 1000.0 ms | 0.5x | 1.5x |" in recorded_table(recorded)


def test_an_old_table_is_noticed_and_replaced(monkeypatch, tmp_path, capsys) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- systems: x -->\nold\n<!-- /systems -->\nafter\n")
    assert run("document_tables", monkeypatch, "--check", page) == 1
    assert "is not current" in capsys.readouterr().err
    assert run("document_tables", monkeypatch, "--write", page) == 0
    assert run("document_tables", monkeypatch, "--check", page) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- systems: x -->\n| system |")
    assert text.endswith("\n<!-- /systems -->\nafter\n")
    assert "1 bundled, 66 published" in text
    page.write_text("no marks")
    assert run("document_tables", monkeypatch, "--check", page) == 1


def test_broken_links_of_a_site_are_found(monkeypatch, tmp_path, capsys) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here">x</a><img src="c.png"><h1 id="t">')
    (tmp_path / "b.html").write_text('<p id="here"><a href="a.html#t"><a href="https://x.org/y">')
    (tmp_path / "c.png").touch()
    assert run("check_links", monkeypatch, tmp_path) == 0
    (tmp_path / "b.html").write_text('<a href="a.html#gone"><a href="no.html"><script src="d.js">')
    assert run("check_links", monkeypatch, tmp_path) == 1
    broken = capsys.readouterr().err.splitlines()
    assert broken == [
        "a.html: b.html#here",
        "b.html: a.html#gone",
        "b.html: no.html",
        "b.html: d.js",
    ]


def test_pages_of_the_site_exist_and_all_pages_are_in_it() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set()

    def collect(node) -> None:
        if isinstance(node, str):
            listed.add(node)
        for item in node.values() if isinstance(node, dict) else node:
            if not isinstance(node, str):
                collect(item)

    collect(yaml.safe_load(text)["nav"])
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_tests_and_tools_that_documents_name_are_there() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")]
    places = re.compile(
        r"(?:(?:d2lite/)?tests|tools|configs|weights|datasets|freeseg)/[\w/.-]+\.(?:py|yaml|json|pth)"
    )
    named = {name for page in pages for name in places.findall(page.read_text())}
    made = {"weights/mine.pth", "configs/camvid/mine.yaml", "freeseg/model_final.pth"}  # by users
    assert len(named) > 40
    assert {name for name in named - made if not (ROOT / name).is_file()} == set()


def test_whoever_has_a_wheel_is_told_of_no_tools_but_those_of_development() -> None:
    """A command's `tools/` file may be named where both are; alone it is of no use to them."""
    page = (ROOT / "docs/cli.md").read_text()
    development = set(re.findall(r"tools/\w+\.py", page[page.index("need a checkout") - 500 :]))
    commands = {command.name.replace("-", "_") for command in COMMANDS}
    for path in (ROOT / "docs").glob("*.md"):
        shown = {line for line in path.read_text().splitlines() if line.startswith("    ")}
        named = {name for line in shown for name in re.findall(r"tools/\w+\.py", line)}
        assert named <= development, path.name
    assert {Path(name).stem for name in development} & commands == set()
    assert {name for name in development if not (ROOT / name).is_file()} == set()


def test_messages_name_no_file_that_only_a_checkout_has() -> None:
    """Docstrings may; a message gives a page of the documentation by its title."""
    of_a_checkout = re.compile(r"\w+\.md\b|\b(tools|datasets|weights|examples|docs|tests)/\w+\.\w+")
    own = {"results.md", "table.md"}  # which are written
    found = {}
    for path in [*(ROOT / "freeseg").rglob("*.py"), *(ROOT / "freeseg_command").rglob("*.py")]:
        for text in strings(ast.parse(path.read_text())):
            named = {match[0] for match in of_a_checkout.finditer(text)} - own
            if named and "://" not in text:
                found.setdefault(path.relative_to(ROOT).as_posix(), []).append(text)
    found.pop("freeseg_command/table.py")  # makes a page of the documentation
    assert found == {}
    titles = re.findall(
        r"'(\w+)' in the documentation", (ROOT / "freeseg/zoo/models.json").read_text()
    )
    assert {*titles, "Datasets"} <= set(
        re.findall(r"- (\w+): \w+\.md", (ROOT / "mkdocs.yml").read_text())
    )


def strings(tree: ast.Module) -> Iterator[str]:
    """The texts of a module, without its docstrings."""
    nodes = list(ast.walk(tree))
    docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
    for node in nodes:
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and node not in docstrings:
            yield node.value


def test_issue_templates_are_forms() -> None:
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        content = yaml.safe_load(path.read_text())
        if path.name != "config.yml":
            assert {"name", "description", "body"} <= set(content), path.name
            assert all({"type", "id", "attributes"} <= set(row) for row in content["body"])


def test_a_model_is_analysed(monkeypatch, capsys) -> None:
    run("analyze_model", monkeypatch, "--model", "camvid-mask2former", "--size", "64x96")
    lines = capsys.readouterr().out.splitlines()
    parts = {line.split(" | ")[0].strip("| "): line for line in lines}
    assert {"backbone", "sem_seg_head.pixel_decoder", "sem_seg_head.predictor"} <= set(parts)
    assert lines[-1].startswith("| whole | 3,1")


def test_pictures_of_a_dataset_are_drawn(monkeypatch, tmp_path, capsys) -> None:
    arguments = ("--dataset", "shapes_val_panoptic", "--number", 2, "--output", tmp_path)
    run("visualize_data", monkeypatch, *arguments)
    files = sorted(tmp_path.glob("*.png"))
    assert len(files) == 2
    assert all(Image.open(path).size[0] > 0 for path in files)
    assert capsys.readouterr().out.splitlines()[-1].endswith("pictures in shapes_val_panoptic")


def test_label_lists_are_asked_of_a_test_set(monkeypatch, tmp_path, capsys) -> None:
    probes = tmp_path / "probes.json"
    probes.write_text('{"missing": ["sky"], "synonyms": {"grass": "grass "}, "absent": ["lava"]}')
    options = ("--config-file", ROOT / "configs/lseg/shapes/small.yaml", "--probes", probes)
    files = ("--limit", 2, "--output", tmp_path / "results.json")
    torch.manual_seed(3)  # an untrained model
    run("measure_behaviour", monkeypatch, *options, *files, "MODEL.TEXT_ENCODER.CACHE", "False")
    results = json.loads((tmp_path / "results.json").read_text())
    known = ROOT / "freeseg/evaluation/behaviour_camvid.json"
    assert Probes.read("freeseg://freeseg/evaluation/behaviour_camvid.json") == Probes.read(known)
    wanted = {"present", "reworded", "reworded-grass", "absent", "missing-sky", "kept"}
    assert set(results) == {*wanted, "synonym-grass"}
    assert results["reworded"] == pytest.approx(results["present"])
    assert results["present"] > 0
    assert results["synonym-grass"] is None  # such a model finds no grass
    assert results["kept"] == 100
    assert f"| present | {results['present']:.1f} |" in capsys.readouterr().out
