"""docs/custom_dataset.md is run as it stands, with two training steps instead of its hundreds."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg import Segmenter
from freeseg.cli import main

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)(?: title=\"(.+?)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_command(line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "freeseg"
    assert main(arguments) == 0, line


@pytest.fixture
def own_datasets() -> Iterator[None]:
    """Datasets that a test registers are gone after it."""
    catalogs = (DatasetCatalog, MetadataCatalog)
    before = [set(catalog.list()) for catalog in catalogs]
    yield
    for catalog, names in zip(catalogs, before):
        for name in set(catalog.list()) - names:
            catalog.remove(name)


@pytest.mark.slow
@pytest.mark.usefixtures("own_datasets")
def test_the_tutorial_runs_from_the_data_to_the_exported_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/custom_dataset.md").read_text()
    quick = re.sub(r"MAX_ITER: \d+", "MAX_ITER: 2", text)
    quick = re.sub(r"(min.score.)0\.3", r"\g<1>0.0", quick)  # as untrained as it is, it is unsure
    assert quick.count("MAX_ITER: 2\n") == 2
    kinds = []
    for kind, title, content in BLOCK.findall(quick):
        kinds.append(kind)
        if kind == "yaml":
            Path(title).write_text(content)
        elif kind == "python":
            exec(compile(content, "docs/custom_dataset.md", "exec"), {})
        else:
            for line in content.strip().splitlines():
                run_command(line)
    assert kinds == [
        *("python", "yaml", "bash", "bash", "bash", "bash", "python", "bash", "python"),
        *("python", "yaml", "bash"),
    ]

    assert len(list(Path("output/look").glob("*.png"))) == 4
    assert Image.open("output/seen/01.png").size == (320, 120 + 24)  # under a caption
    results = json.loads(Path("output/fruits/results.json").read_text())
    assert "AP" in results["fruits"]["segm"]
    assert Segmenter.from_pretrained("fruits_model").vocabulary.names == (
        "date",
        "fig",
        "hazelnut",
    )
    predicted = [
        json.loads(Path(folder, "annotations_instances.json").read_text())
        for folder in ("output/predicted", "output/predicted_too")
    ]
    assert predicted[0] == predicted[1]
    assert [row["id"] for row in predicted[0]["categories"]] == [1, 2, 3]
    assert "AP" in json.loads(Path("output/again/results.json").read_text())["again"]["segm"]
    check_words()
    assert {path.name for path in Path("output/segmented").iterdir()} == {
        "01.html",
        "01_instance_overlay.png",
        "01_instances.json",
        "02_instance_overlay.png",
        "02_rle.json",
    }


def check_words() -> None:
    """The model of step 8 was trained without a word, and is judged by it and asked for another."""
    few = json.loads(Path("few.json").read_text())
    assert [row["name"] for row in few["categories"]] == ["date", "fig"]
    assert len(few["images"]) == 2
    learnt = json.loads(Path("output/words/classes.json").read_text())
    assert [row["name"] for row in learnt] == ["date", "fig"]
    results = json.loads(Path("output/words/results.json").read_text())["all_words"]["segm"]
    assert {"AP-date", "AP-fig", "AP-hazelnut"} < set(results)
    given = load_file(ROOT / "weights/camvid_freeseg_minilm.safetensors")
    trained = torch.load("output/words/model_final.pth", weights_only=True)["model"]
    kept = [key for key in trained if key.startswith("backbone.") and key.endswith("conv.weight")]
    assert len(kept) > 20
    assert all(torch.equal(trained[key], given[key].float()) for key in kept), "frozen"
    moved = [key for key in trained if "class_embed" in key or "query" in key]
    assert any(not torch.equal(trained[key], given[key].float()) for key in moved)
    assert Path("output/asked/01_instance_overlay.png").is_file()
