"""Pictures during training: one per photo, whatever the photos are called."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.engine.pictures import PredictionPictures
from freeseg.evaluation.truth import Truth
from freeseg.structures import Vocabulary

NAME = "photos_of_one_name"


class Nothing(nn.Module):
    """Finds class 0 everywhere."""

    def forward(self, inputs):
        return [{"sem_seg": torch.ones(1, 4, 6)} for _ in inputs]


@pytest.fixture
def records(tmp_path: Path):
    records = []
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "labels.png")
    for number, folder in enumerate("abc"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "x.png"
        Image.fromarray(np.full((4, 6, 3), 80 * number, np.uint8)).save(path)
        labels = {"sem_seg_file_name": str(tmp_path / "labels.png")}
        records.append({"file_name": str(path), "image_id": number, **labels})
    DatasetCatalog.register(NAME, lambda: records)
    MetadataCatalog.get(NAME).set(stuff_classes=["all"])
    yield records
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def test_photos_of_one_name_have_a_picture_each_in_every_round(records, tmp_path: Path) -> None:
    tags = []
    storage = SimpleNamespace(put_image=lambda tag, _: tags.append(tag))
    hook = PredictionPictures(
        read_truth=lambda: Truth(NAME, records, Vocabulary(("all",), (False,)), 255),
        build_loader=lambda: [[record] for record in records],
        period=1,
        num_images=3,
        folder=tmp_path / "pictures",
    )
    hook.trainer = SimpleNamespace(model=Nothing(), storage=storage, max_iter=2, iter=0)
    for iteration in range(2):
        hook.trainer.iter = iteration
        hook.after_step()
    stems = ["x", "x_2", "x_3"]
    written = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert written == {f"iter_000000{i}_{stem}.png" for i in range(2) for stem in stems}
    assert tags == [f"prediction/{stem}" for stem in stems] * 2
