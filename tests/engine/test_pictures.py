"""Pictures during training: one per photo, whatever the photos are called."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog
from detectron2.structures import Boxes, Instances
from freeseg.engine.pictures import PredictionPictures, truth_beside_prediction
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


def drawn(result, record=None):
    """Truth beside a prediction, on a grey photo of 40 rows and 60 columns."""
    metadata = Metadata(name="of a test").set(
        stuff_classes=["left", "right"],
        stuff_colors=[(250, 0, 0), (0, 0, 250)],
        thing_classes=["left", "right"],
        thing_colors=[(250, 0, 0), (0, 0, 250)],
        stuff_dataset_id_to_contiguous_id={0: 0, 1: 1},
    )
    photo = np.full((40, 60, 3), 120, np.uint8)
    picture = truth_beside_prediction(photo, record or {}, result, metadata)
    assert picture.shape == (40, 120, 3)
    return picture[:, :60].astype(int), picture[:, 60:].astype(int)


def halves() -> torch.Tensor:
    """Class 1 in the last 20 of 60 columns."""
    labels = torch.zeros(40, 60, dtype=torch.long)
    labels[:, 40:] = 1
    return labels


def assert_red_then_blue(side):
    """Away from edges and from names, which stand in the middle of regions."""
    assert (side[3, 3:37, 0] > side[3, 3:37, 2] + 30).all()
    assert (side[3, 43:57, 2] > side[3, 43:57, 0] + 30).all()


def test_the_prediction_is_the_right_half_and_the_truth_the_left(tmp_path):
    scores = torch.stack([1.0 - halves(), halves() - 0.5])
    Image.fromarray((1 - halves()).numpy().astype(np.uint8)).save(tmp_path / "labels.png")
    record = {"sem_seg_file_name": str(tmp_path / "labels.png")}
    truth, prediction = drawn({"sem_seg": scores}, record)
    assert_red_then_blue(prediction)
    assert_red_then_blue(truth[..., ::-1])
    bare, _ = drawn({"sem_seg": scores})
    assert (bare == 120).all()


def test_the_richest_result_is_drawn():
    wrong = torch.stack([halves().float(), 1.0 - halves()])
    segments = [
        {"id": 4, "category_id": 0, "isthing": False, "area": 1600},
        {"id": 9, "category_id": 1, "isthing": False, "area": 800},
    ]
    panoptic = (halves() * 5 + 4).int()
    found = Instances((40, 60))
    found.pred_masks, found.scores = halves()[None].bool(), torch.tensor([0.9])
    found.pred_classes = torch.tensor([1])
    found.pred_boxes = Boxes(torch.tensor([[40.0, 0.0, 60.0, 40.0]]))
    everything = {"sem_seg": wrong, "instances": found, "panoptic_seg": (panoptic, segments)}
    assert_red_then_blue(drawn(everything)[1])
    del everything["panoptic_seg"]
    _, prediction = drawn(everything)
    assert (prediction[20, 3:37] == 120).all(), "no instance is there"
    assert (prediction[38, 43:57] != 120).any()


class Reader:
    """Reads photos of one colour, as INPUT says."""

    def read(self, record):
        return np.full((4, 6, 3), 90, np.uint8)


@pytest.mark.parametrize(
    ("last", "period", "expected"), [(7, 3, [2, 5, 6]), (6, 3, [2, 5]), (2, 9, [1])]
)
def test_rounds_are_those_of_a_loop_over_the_first_photos(
    records, tmp_path, last, period, expected
):
    asked, images, loaded = [], [], []

    class Model(Nothing):
        def forward(self, inputs):
            assert not self.training
            assert not torch.is_grad_enabled()
            asked.extend(one["image_id"] for one in inputs)
            return super().forward(inputs)

    def build_loader():
        loaded.append(1)
        return iter([records[2:0:-1], records[:1]])  # batches, in another order than the truth

    hook = PredictionPictures(
        read_truth=lambda: Truth(NAME, records, Vocabulary(("all",), (False,)), 255),
        build_loader=build_loader,
        **{"period": period, "num_images": 2, "folder": tmp_path / "deep/pictures"},
        reader=Reader(),
    )
    model = Model().train()
    storage = SimpleNamespace(put_image=lambda tag, image: images.append((tag, image.shape)))
    hook.trainer = SimpleNamespace(
        model=SimpleNamespace(module=model), storage=storage, max_iter=last
    )
    for hook.trainer.iter in range(last):
        hook.after_step()
    assert asked == [2, 1] * len(expected)
    assert loaded == [1]
    assert model.training
    assert images == [("prediction/x", (3, 4, 12)), ("prediction/x_2", (3, 4, 12))] * len(expected)
    names = {path.name for path in (tmp_path / "deep/pictures").iterdir()}
    assert names == {f"iter_{i:07d}_{stem}.png" for i in expected for stem in ("x", "x_2")}
    picture = np.array(Image.open(tmp_path / f"deep/pictures/iter_{last - 1:07d}_x.png"))
    assert picture.shape == (4, 12, 3)
