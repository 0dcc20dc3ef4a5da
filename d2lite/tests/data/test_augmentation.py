"""The interface of augmentations."""

from __future__ import annotations

import numpy as np
import pytest

from detectron2.config import get_cfg
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation

IMAGE = np.random.RandomState(0).randint(0, 256, (20, 30, 3), dtype=np.uint8)


class Record(T.Augmentation):
    def __init__(self, marker=0):
        self.marker = marker
        self.seen = None

    def get_transform(self, image, sem_seg):
        self.seen = image.shape, sem_seg
        return T.NoOpTransform()


class FlipByOtherName(T.Augmentation):
    def get_transform(self, img):
        return T.HFlipTransform(img.shape[1])


def test_arguments_are_taken_by_name():
    augmentation, labels = Record(), np.zeros((20, 30), dtype=np.uint8)
    augmentation(T.AugInput(IMAGE, sem_seg=labels))
    assert augmentation.seen[0] == IMAGE.shape
    assert augmentation.seen[1] is labels
    assert augmentation.input_args == ("image", "sem_seg")


def test_a_single_argument_is_the_image():
    inputs = T.AugInput(IMAGE)
    assert isinstance(FlipByOtherName()(inputs), T.HFlipTransform)
    assert np.array_equal(inputs.image, IMAGE[:, ::-1])


def test_explicit_input_args_win():
    class FromMask(T.Augmentation):
        input_args = ("sem_seg",)

        def get_transform(self, anything):
            assert anything.ndim == 2
            return T.NoOpTransform()

    FromMask()(T.AugInput(IMAGE, sem_seg=np.zeros((20, 30), dtype=np.uint8)))


def test_what_get_transform_must_not_do():
    class Unknown(T.Augmentation):
        def get_transform(self, image, depth):
            return T.NoOpTransform()

    class Variadic(T.Augmentation):
        def get_transform(self, image, **others):
            return T.NoOpTransform()

    class Wrong(T.Augmentation):
        def get_transform(self, image):
            return image

    for augmentation, error, message in (
        (Unknown(), AttributeError, "depth"),
        (Variadic(), TypeError, "args"),
        (Wrong(), AssertionError, "Transform"),
    ):
        with pytest.raises(error, match=message):
            augmentation(T.AugInput(IMAGE))
    with pytest.raises(NotImplementedError):
        T.Augmentation().get_transform(IMAGE)


def test_lists_apply_one_after_another_and_are_flat():
    inputs = T.AugInput(IMAGE, boxes=np.array([[0.0, 0.0, 30.0, 20.0]]))
    augmentations = T.AugmentationList(
        [
            T.Resize((40, 90)),
            T.AugmentationList([T.HFlipTransform(90), T.RandomCrop("absolute", (7, 9))]),
        ]
    )
    transforms = augmentations(inputs)
    names = [type(t).__name__ for t in transforms.transforms]
    assert names == ["ResizeTransform", "HFlipTransform", "CropTransform"]
    assert inputs.image.shape == (7, 9, 3)
    assert np.array_equal(inputs.image, transforms.apply_image(IMAGE))
    assert np.allclose(inputs.boxes[0, 2:] - inputs.boxes[0, :2], [90, 40])
    with pytest.raises(AssertionError):
        T.AugmentationList([np.flip])


def test_apply_augmentations_takes_an_image_or_an_input():
    image, transforms = T.apply_augmentations([T.Resize(10)], IMAGE)
    assert image.shape == (10, 10, 3)
    assert len(transforms) == 1
    inputs = T.AugInput(IMAGE)
    same, _ = T.apply_transform_gens([T.Resize(10)], inputs)
    assert same is inputs
    assert T.StandardAugInput is T.AugInput
    assert T.TransformGen is T.Augmentation


def test_inputs_are_checked():
    for bad in ([[1, 2]], np.zeros(3), np.zeros((1, 2, 3, 4))):
        with pytest.raises(AssertionError):
            T.AugInput(bad)


@pytest.mark.parametrize(
    ("augmentation", "text"),
    [
        (Record(), "Record()"),
        (Record(marker=3), "Record(marker=3)"),
        (T.RandomCrop("absolute", (1, 2)), "RandomCrop(crop_type='absolute', crop_size=(1, 2))"),
        (T.Resize((1, 2)), "Resize(shape=(1, 2))"),
        (
            T.AugmentationList([T.RandomFlip(), T.Resize(3)]),
            "AugmentationList[RandomFlip(), Resize(shape=(3, 3))]",
        ),
    ],
    ids=str,
)
def test_printing(augmentation, text):
    assert str(augmentation) == repr(augmentation) == text


@pytest.mark.parametrize(("prob", "expected"), [(0.0, 0), (1.0, 200), (0.3, 60)])
def test_random_apply_applies_with_its_probability(prob, expected):
    np.random.seed(0)
    augmentation = T.RandomApply(T.RandomFlip(prob=1.0), prob=prob)
    chosen = [augmentation.get_transform(IMAGE) for _ in range(200)]
    count = sum(isinstance(t, T.HFlipTransform) for t in chosen)
    assert count == pytest.approx(expected, abs=25 * (0 < prob < 1))
    with pytest.raises(AssertionError):
        T.RandomApply(T.NoOpTransform(), prob=1.5)


def test_random_apply_in_a_list():
    inputs = T.AugInput(IMAGE)
    transforms = T.AugmentationList([T.RandomApply(T.HFlipTransform(30), prob=1.0)])(inputs)
    assert np.array_equal(inputs.image, IMAGE[:, ::-1])
    assert len(transforms) == 1


@pytest.mark.parametrize("make", [T.RandomFlip, lambda: T.ResizeScale(0.1, 2, 50, 50)])
def test_the_same_seed_gives_the_same_image(make):
    images = []
    for seed in (3, 3, 4, 5, 6, 7):
        np.random.seed(seed)
        images.append(T.apply_augmentations([make()], IMAGE)[0])
    assert np.array_equal(images[0], images[1])
    assert any(not np.array_equal(images[0], other) for other in images[2:])


def test_augmentations_of_a_config():
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (640, 800), 700
    resize, flip = build_augmentation(cfg, True)
    assert tuple(resize.short_edge_length) == (640, 800)
    assert (resize.max_size, resize.is_range) == (1333, False)
    assert flip.horizontal
    cfg.INPUT.RANDOM_FLIP = "vertical"
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "range"
    resize, flip = build_augmentation(cfg, True)
    assert resize.is_range
    assert flip.vertical
    cfg.INPUT.RANDOM_FLIP = "none"
    assert len(build_augmentation(cfg, True)) == 1
    (resize,) = build_augmentation(cfg, False)
    assert resize.get_transform(np.zeros((10, 20, 3))).new_h == 667  # 1333 / 2
