"""LSeg as a whole: losses over several label lists, any size, any labels, texts in checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from freeseg import Segmenter
from freeseg.checkpoints import ReleaseCheckpointer
from freeseg.data import SegmentationMapper
from freeseg.structures import Vocabulary

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from lseg_parts import FARM, STREET, annotated, lseg_config, tiny_lseg
from tiny_clip import tiny_clip

SIDE = 64


@pytest.fixture(scope="module")
def model():
    return tiny_lseg().eval()


def quadrants(*labels):
    """A label map of four squares."""
    half = SIDE // 2
    squares = torch.tensor(labels).reshape(2, 2)
    return squares.repeat_interleave(half, 0).repeat_interleave(half, 1)


def scores(model, image, names):
    """Logits at the padded size, computed step by step."""
    features = model.encode(model.prepare([image]))
    vocabulary = Vocabulary(tuple(names), (False,) * len(names))
    logits = model.sem_seg_head(features, model.text(vocabulary), vocabulary)
    return F.interpolate(logits, features.padded_size, mode="bilinear", align_corners=True)


def test_every_pixel_is_judged_among_the_labels_of_its_own_set():
    model = tiny_lseg().train()
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.eval()  # so that images can be looked at one by one
    batch = [
        annotated(quadrants(0, 1, 2, -1), "lseg_street", 1),
        annotated(quadrants(1, 1, 0, -1), "lseg_farm", 2),
        annotated(quadrants(2, 2, 2, 2), "lseg_street", 3),
    ]
    (loss,) = model(batch).values()
    total, count = 0.0, 0
    for x, labels, names in zip(
        batch, [(0, 1, 2, -1), (1, 1, 0, -1), (2, 2, 2, 2)], [STREET, FARM, STREET]
    ):
        truth = quadrants(*labels)[None]
        total += F.cross_entropy(
            scores(model, x["image"], names), truth, ignore_index=-1, reduction="sum"
        )
        count += int((truth >= 0).sum())
    torch.testing.assert_close(loss, total / count)


def test_pixels_of_unseen_classes_are_not_judged_and_their_texts_not_shown():
    from detectron2.data import MetadataCatalog
    from freeseg.systems import LSeg

    cfg = lseg_config(DATASETS__TRAIN=("lseg_street",))
    MetadataCatalog.pop("lseg_street")
    MetadataCatalog.get("lseg_street").set(stuff_classes=list(STREET), trainable_flag=[1, 0, 1])
    torch.manual_seed(4)
    model = LSeg(cfg, text_encoder=tiny_clip()).train()
    lists = []
    model.sem_seg_head.register_forward_pre_hook(lambda _, inputs: lists.append(inputs[2].names))
    with_unseen = model([annotated(quadrants(0, 1, 2, 1))])["loss_sem_seg"]
    void = model([annotated(quadrants(0, -1, 2, -1))])["loss_sem_seg"]
    torch.testing.assert_close(with_unseen, void)
    assert lists == [("car", "road")] * 2


def test_withheld_labels_are_to_be_other():
    model = tiny_lseg(MODEL__LSEG__OTHER_PROB=1.0, MODEL__LSEG__WITHHELD=0.5).train()
    lists, truths = [], []
    model.sem_seg_head.register_forward_pre_hook(lambda _, inputs: lists.append(inputs[2]))
    model.criterion.register_forward_pre_hook(lambda _, inputs: truths.append(inputs[1][0]))
    labels = quadrants(0, 1, 2, -1)
    for seed in range(6):
        torch.manual_seed(seed)
        assert torch.isfinite(model([annotated(labels)])["loss_sem_seg"])
    assert {vocabulary.names[-1] for vocabulary in lists} == {"other"}
    assert len({vocabulary.names for vocabulary in lists}) > 1
    for vocabulary, truth in zip(lists, truths):
        other = len(vocabulary) - 1
        for label, name in enumerate(STREET):
            wanted = vocabulary.names.index(name) if name in vocabulary.names else other
            assert (truth[0][labels == label] == wanted).all()
        assert (truth[0][labels < 0] == -1).all()


def test_training_moves_everything_but_texts():
    model = tiny_lseg(MODEL__LSEG__REGULARISATION="bottleneck").train()
    before = {name: each.clone() for name, each in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    sum(model([annotated(quadrants(0, 1, 2, 2))]).values()).backward()
    optimizer.step()
    still = {name for name, each in model.named_parameters() if torch.equal(each, before[name])}
    frozen = {name for name, each in model.named_parameters() if not each.requires_grad}
    # a bias in front of a batch norm, or added to all labels at once, changes no loss
    assert {name for name in still - frozen if "depthwise" not in name} == set()
    assert all(name.startswith(("text_adapter.", "sem_seg_head.refinenet4")) for name in frozen)


@pytest.mark.parametrize("size", [(64, 64), (50, 70), (33, 65), (1, 200)])
def test_sizes_that_are_no_multiple_of_the_patch_are_padded_and_cropped(model, size):
    image = torch.randint(0, 256, (3, *size))
    output = model([{"image": image}])[0]["sem_seg"]
    assert output.shape == (len(STREET), *size)
    height, width = size
    torch.testing.assert_close(output, scores(model, image, STREET)[0, :, :height, :width])


def test_a_batch_gives_what_its_images_give_alone(model):
    batch = [
        {"image": torch.randint(0, 256, (3, 40, 60)), "vocabulary": labels("cat|dog, sky")},
        {"image": torch.randint(0, 256, (3, 90, 30))},
        {"image": torch.randint(0, 256, (3, 64, 64)), "height": 20, "width": 30},
    ]
    together = model(batch)
    for x, output in zip(batch, together):
        torch.testing.assert_close(output, model([x])[0], rtol=1e-4, atol=1e-4)
    assert [tuple(each["sem_seg"].shape) for each in together] == [
        (2, 40, 60),
        (3, 90, 30),
        (3, 20, 30),
    ]


def labels(text):
    return Vocabulary.from_classes(text)


def test_labels_instead_of_scores_are_the_best_scores(model):
    x = {"image": torch.randint(0, 256, (3, 50, 70)), "height": 90, "width": 60}
    x["vocabulary"] = labels("cat|dog, sky, a long name, sea").with_other()
    found = model([x, {**x, "label_map": True}])
    assert torch.equal(found[1]["sem_seg"], found[0]["sem_seg"].argmax(0))


def test_an_empty_vocabulary_is_refused_and_none_is_the_trained_one(model):
    x = {"image": torch.randint(0, 256, (3, 32, 32))}
    with pytest.raises(ValueError, match="vocabulary is empty; name a class"):
        model([{**x, "vocabulary": Vocabulary((), ())}])
    torch.testing.assert_close(model([{**x, "vocabulary": None}]), model([x]))


def test_texts_are_encoded_once(model):
    calls = []
    encoder = model.text_adapter.clip_model
    handle = encoder.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        model([{"image": torch.zeros(3, 32, 32), "vocabulary": labels("never asked before")}])
    handle.remove()
    assert len(calls) == 1


def test_texts_are_the_mean_over_the_templates_of_the_configuration():
    names = Vocabulary(("tree", "lamp"), (False, False))
    one, two, both = (
        tiny_lseg(MODEL__LSEG__TEMPLATES=templates).text(names)
        for templates in (["a {}."], ["the {} here"], ["a {}.", "the {} here"])
    )
    assert not torch.allclose(one, two)
    torch.testing.assert_close(both, F.normalize(one + two, dim=-1))


def test_other_tasks_and_unknown_ones_are_refused(model):
    image = torch.zeros(3, 32, 32)
    with pytest.raises(ValueError, match="LSeg answers semantic, not panoptic"):
        model([{"image": image, "tasks": ("panoptic",)}])
    with pytest.raises(ValueError, match="selection of the tasks"):
        model([{"image": image, "tasks": ("depth",)}])


def test_a_checkpoint_may_leave_texts_out(tmp_path):
    model = tiny_lseg(MODEL__TEXT_ENCODER__SAVE=False)
    state = model.state_dict()
    assert not any(key.startswith("text_adapter") for key in state)
    torch.save({"model": state}, tmp_path / "small.pth")
    other = tiny_lseg()
    with torch.no_grad():
        for each in other.parameters():
            each.zero_()
    other.text_adapter.clip_model.load_state_dict(model.text_adapter.clip_model.state_dict())
    ReleaseCheckpointer(other).load(str(tmp_path / "small.pth"))
    image = torch.randint(0, 256, (3, 32, 32))
    torch.testing.assert_close(other.eval()([{"image": image}]), model.eval()([{"image": image}]))
    assert any(key.startswith("text_adapter.clip_model.") for key in other.state_dict())


def test_texts_and_pixels_must_have_one_width():
    with pytest.raises(ValueError, match="EMBEDDING_DIM"):
        tiny_lseg(MODEL__LSEG__EMBEDDING_DIM=5)


def test_photos_are_segmented_into_typed_classes_by_label_maps(model, monkeypatch):
    image = torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8).numpy()
    shapes = []
    answer = model.answer

    def noted(*asked):
        results = answer(*asked)
        shapes.append(tuple(results[0].semantic.values.shape))
        return results

    monkeypatch.setattr(model, "answer", noted)
    mapper = SegmentationMapper(lseg_config(INPUT__MIN_SIZE_TEST=0), is_train=False)
    segmenter = Segmenter(model, mapper=mapper, vocabulary=model.vocabulary)
    result = segmenter(image, task="semantic", text="cat|dog, sky: stuff, other")
    monkeypatch.undo()
    assert result.vocabulary.names == ("cat", "sky", "other")
    assert shapes == [(40, 60)]  # labels, not scores
    x = {"image": torch.from_numpy(image).permute(2, 0, 1), "vocabulary": result.vocabulary}
    assert (result.semantic == model([x])[0]["sem_seg"].argmax(0).numpy()).all()
    assert segmenter(image).tasks == ("semantic",)
    with pytest.raises(ValueError, match="does not have the task 'panoptic', only semantic"):
        segmenter(image, "panoptic")
