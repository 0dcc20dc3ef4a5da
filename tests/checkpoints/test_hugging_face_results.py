"""What a Hugging Face folder's model finds equals what the port and its post-processing find."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg import Segmenter
from freeseg.catalog import dataset_metadata
from freeseg.checkpoints import config_from_hugging_face
from freeseg.systems.building import load_config
from freeseg.systems.oneformer.sentences import task_sentence
from freeseg.text import tokenize

sys.path.insert(0, str(Path(__file__).parents[1]))
from hugging_face_ports import mask2former_pair, oneformer_pair

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("FREESEG_SHARED", ROOT / "../shared"))
PHOTOS = SHARED / "data/show"
SIDE = 384  # at which the port makes every result; photos of this size it leaves as they are
SPREAD = 3.0  # of class logits, and of what masks are made by
MASK_LAYER = {"mask2former": "mask_embedder.2.0", "oneformer": "mask_embed.layers.2.0"}
MAKERS = {"mask2former": mask2former_pair, "oneformer": oneformer_pair}
AGREEMENT = {"mask2former": 0.99, "oneformer": 0.9}  # with the port's post-processing, of pixels
CAPITALS = {"mask2former": "Mask2Former", "oneformer": "OneFormer"}


def photo(name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    if not PHOTOS.is_dir():
        pytest.skip(f"no photos at {PHOTOS}")
    image = Image.open(PHOTOS / name).convert("RGB")
    return np.asarray(image.resize(size) if size else image)


class Port:
    """A port with random weights and its processor, saved to a folder."""

    def __init__(self, folder: Path, kind: str, size: dict, image: np.ndarray) -> None:
        self.folder, self.kind = folder, kind
        self.model, _ = MAKERS[kind](folder, "swin", num_queries=10)
        values = {"image_processor_type": f"{CAPITALS[kind]}ImageProcessor", "size": size}
        (folder / "preprocessor_config.json").write_text(json.dumps(values))
        module = importlib.import_module(f"transformers.models.{kind}.image_processing_pil_{kind}")
        build = getattr(module, f"{CAPITALS[kind]}ImageProcessorPil")
        self.processor = build.from_pretrained(folder)
        self.sharpen(image)
        self.model.save_pretrained(folder)
        self.segmenter = Segmenter.from_pretrained(folder, device="cpu")

    @torch.no_grad()
    def sharpen(self, image: np.ndarray) -> None:
        """Gives every query a class and a mask of its own, with scores around the thresholds.

        Random weights give all the same, whatever the photo.
        """
        layers = [m for m in self.model.named_modules() if isinstance(m[1], nn.Linear)]
        ends = (MASK_LAYER[self.kind], ("class_predictor", "class_embed"))
        for end in ends * 2:  # what a query sees depends on its masks before
            layer = [module for name, module in layers if name.endswith(end)][-1]
            seen: list[Tensor] = []
            handle = layer.register_forward_hook(lambda *call, to=seen: to.append(call[2]))
            self.outputs(image, "semantic")  # OneFormer's queries begin from the task
            handle.remove()
            rows = seen[-1].flatten(0, -2)  # [Q, C]
            layer.bias.sub_(rows.mean(0))
            for values in (layer.weight, layer.bias):
                values.mul_(SPREAD / (rows - rows.mean(0)).std())

    def task(self, task: str) -> dict[str, list[str]]:
        return {"task_inputs": [task]} if self.kind == "oneformer" else {}

    @torch.no_grad()
    def outputs(self, image: np.ndarray, task: str):
        arguments = {}
        batch = self.processor.preprocess([image], return_tensors="pt", **self.task(task))
        if self.kind == "oneformer":
            # the port's tokenizer is on the hub; ours has its own tests
            arguments["task_inputs"] = tokenize([task_sentence(task)], 77).float()
        return self.model(pixel_values=batch["pixel_values"], **arguments)


@pytest.fixture(scope="module")
def square(tmp_path_factory) -> Port:
    """Mask2Former for photos of 384x384, as the repositories of its authors say on the hub."""
    size = {"height": SIDE, "width": SIDE}
    image = photo("bus_street.jpg", (SIDE, SIDE))
    return Port(tmp_path_factory.mktemp("square"), "mask2former", size, image)


@pytest.mark.parametrize("name", ["bus_street.jpg", "elephant.jpg"])
def test_semantic_maps_of_the_ports_own_size_are_the_ports(square, name):
    image = photo(name, (SIDE, SIDE))
    outputs = square.outputs(image, "semantic")
    (expected,) = square.processor.post_process_semantic_segmentation(
        outputs, target_sizes=[(SIDE, SIDE)]
    )
    found = square.segmenter(image, "semantic").semantic
    assert len(expected.unique()) > 1
    assert (found == expected.numpy()).mean() > 0.9999


@pytest.mark.parametrize("name", ["bus_street.jpg", "elephant.jpg"])
def test_instances_of_the_ports_own_size_are_the_ports(square, name):
    image = photo(name, (SIDE, SIDE))
    outputs = square.outputs(image, "instance")
    (expected,) = square.processor.post_process_instance_segmentation(
        outputs, target_sizes=[(SIDE, SIDE)], return_binary_maps=True
    )
    rows = sorted(
        zip(expected["segments_info"], expected["segmentation"]), key=lambda row: -row[0]["score"]
    )
    found = square.segmenter(image, "instance").instances
    is_kept = found.scores >= 0.5  # the port's threshold; here it is the pictures'
    assert len(rows) == is_kept.sum() > 1
    assert [info["label_id"] for info, _ in rows] == found.labels[is_kept].tolist()
    scores = [info["score"] for info, _ in rows]
    np.testing.assert_allclose(found.scores[is_kept], scores, atol=1e-4)
    for (_, mask), ours in zip(rows, found.masks):
        assert (mask.bool().numpy() != ours).mean() < 1e-4


@pytest.mark.parametrize(
    "thresholds", [(), (0.3, 0.2)], ids=["the port's defaults", "lower thresholds"]
)
@pytest.mark.parametrize("name", ["bus_street.jpg", "elephant.jpg"])
def test_panoptic_segments_are_among_the_ports(square, name, thresholds):
    """The port also keeps pixels below one half and masks that lost more, as no release does."""
    image = photo(name, (SIDE, SIDE))
    outputs = square.outputs(image, "panoptic")
    keys = ("OBJECT_MASK_THRESHOLD", "OVERLAP_THRESHOLD")
    opts = [
        item
        for key, value in zip(keys, thresholds)
        for item in (f"MODEL.MASK_FORMER.TEST.{key}", str(value))
    ]
    names = ("threshold", "overlap_mask_area_threshold")
    (expected,) = square.processor.post_process_panoptic_segmentation(
        outputs, target_sizes=[(SIDE, SIDE)], **dict(zip(names, thresholds))
    )
    found = Segmenter.from_pretrained(square.folder, "cpu", opts)(image, "panoptic").panoptic
    theirs = expected["segmentation"].numpy()
    by_id = {one["id"]: one for one in expected["segments_info"]}
    assert found.segments
    for one in found.segments:
        pixels = found.segment_ids == one.id
        ids, counts = np.unique(theirs[pixels], return_counts=True)
        match = by_id[int(ids[counts.argmax()])]
        assert counts.max() / counts.sum() > 0.9999
        assert match["label_id"] == one.label
        assert one.score == pytest.approx(match["score"], abs=1e-4)
        assert not match["was_fused"]
        assert one.is_thing


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "size",
    [{"shortest_edge": 200, "longest_edge": 280}, {"height": 160, "width": 224}],
    ids=["edges", "fixed"],
)
def test_real_photos_have_the_ports_classes(tmp_path, kind, size):
    port, most = Port(tmp_path, kind, size, photo("cat_desk.jpg")), 0
    for name in ("cat_desk.jpg", "dessert.jpg"):
        image = photo(name)
        height, width = image.shape[:2]
        outputs = port.outputs(image, "semantic")
        found = port.segmenter(image, "semantic").semantic
        # the releases' order of steps, from what the port's network says
        inputs = port.processor.preprocess([image], return_tensors="pt", **port.task("semantic"))
        logits = outputs.masks_queries_logits
        for to in (inputs["pixel_values"].shape[-2:], (height, width)):
            logits = F.interpolate(logits, size=to, mode="bilinear", align_corners=False)
        probs = outputs.class_queries_logits.softmax(-1)[..., :-1]
        scores = torch.einsum("bqc,bqhw->bchw", probs, logits.sigmoid())
        assert (found == scores[0].argmax(0).numpy()).mean() > 0.9999, name
        # the port sums scores at other sizes, and differs at borders
        (theirs,) = port.processor.post_process_semantic_segmentation(
            outputs, target_sizes=[(height, width)]
        )
        assert (found == theirs.numpy()).mean() > AGREEMENT[kind], name
        most = max(most, len(np.unique(found)))
    assert most > 1  # else all would be equal whatever we did


def test_thresholds_are_the_releases_for_their_classes_and_else_the_ports(square):
    own = square.segmenter.model.thresholds
    assert (own.min_score, own.min_visible_share, own.max_instances) == (0.5, 0.8, 10)
    defaults = inspect.signature(square.processor.post_process_panoptic_segmentation).parameters
    assert own.min_score == defaults["threshold"].default
    assert own.min_visible_share == defaults["overlap_mask_area_threshold"].default
    config = json.loads((square.folder / "config.json").read_text())
    names = dataset_metadata("cityscapes_fine_panoptic_val").stuff_classes
    config["id2label"] = dict(zip(map(str, range(19)), names))
    file = square.folder.parent / "config.json"
    file.write_text(json.dumps(config))
    released = config_from_hugging_face(file.parent)
    published = load_config(ROOT / "configs/mask2former/cityscapes/panoptic_R50.yaml")
    for key in ("OBJECT_MASK_THRESHOLD", "OVERLAP_THRESHOLD"):
        assert released.MODEL.MASK_FORMER.TEST[key] == published.MODEL.MASK_FORMER.TEST[key] == 0.8
    assert released.TEST.DETECTIONS_PER_IMAGE == published.TEST.DETECTIONS_PER_IMAGE == 100
