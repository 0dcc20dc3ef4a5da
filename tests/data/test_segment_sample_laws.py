"""Laws of regions: they are the targets of their task, crops lie everywhere, void is nothing."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from freeseg.data import SegmentationMapper, build_train_loader
from freeseg.data.datasets.catalog import IGNORED_KEY, LABELS_KEY, STUFF_KEY
from freeseg.data.label_table import LabelTable
from freeseg.data.mapper import BatchTasks
from freeseg.data.panoptic import id2rgb
from freeseg.data.segment_samples import SegmentMapper, segment_records
from freeseg.structures import JUDGED_TASKS

SIZE = (12, 20)  # as the box of a region too long for any crop of its whole area
PHOTO = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
SHOWN = (10, 7)  # height, width of samples
NUM_CLASSES = 8


def blobs(seed: int, values: list[int]) -> np.ndarray:
    return np.random.default_rng(seed).choice(values, SIZE)


SEGMENTS = [
    {"id": 70001, "category_id": 4, "isthing": True, "iscrowd": 0},
    {"id": 6, "category_id": 1, "isthing": True, "iscrowd": 1},
    {"id": 300, "category_id": 2, "isthing": False, "iscrowd": 0},
    {"id": 9, "category_id": 4, "isthing": True, "iscrowd": 0},
]
BOX = [[2, 1, 11, 1, 11, 6, 2, 6]]


def kinds(folder, write_image, around=((0, 0), (0, 0)), void=255) -> dict[str, dict]:
    """Records of every annotation that training reads, with void around it."""
    pixels = {
        "file_name": np.pad(PHOTO, (*around, (0, 0))),
        "pan_seg_file_name": id2rgb(np.pad(blobs(2, [0, 0, 300, 70001, 6, 9]), around)),
        STUFF_KEY: np.pad(blobs(3, [11, 12, 13, void]), around, constant_values=void),
        "sem_seg_file_name": np.pad(blobs(4, [0, 5, 3, void]), around, constant_values=void),
    }
    files = {key: str(write_image(folder / f"{key}.png", each)) for key, each in pixels.items()}
    photo = {"file_name": files["file_name"]}
    top, left = around[0][0], around[1][0]
    polygon = [(np.reshape(BOX[0], (-1, 2)) + np.array([left, top])).ravel().tolist()]
    rows = [
        {"category_id": 3, "segmentation": polygon, "iscrowd": 0},
        {"category_id": 0, "segmentation": polygon, "iscrowd": 1},
        {"category_id": 0, "segmentation": [], "iscrowd": 0},
        {"category_id": 5},
    ]
    panoptic = {
        **photo,
        "pan_seg_file_name": files["pan_seg_file_name"],
        "segments_info": SEGMENTS,
    }
    stuff = {
        STUFF_KEY: files[STUFF_KEY],
        LABELS_KEY: LabelTable({11: 7, 12: 5, 13: 0, void: None}),
        IGNORED_KEY: [0],
    }
    return {
        "panoptic": panoptic,
        "panoptic and stuff": {**panoptic, **stuff},
        "semantic": {**photo, "sem_seg_file_name": files["sem_seg_file_name"]},
        "objects": {**photo, "annotations": rows},
    }


KINDS = ("panoptic", "panoptic and stuff", "semantic", "objects")


def regions(record: dict, task: str, **options) -> list[dict]:
    return segment_records([record], [task], [True] * NUM_CLASSES, **options)


def mapper(task: str, size=SHOWN, area=(1.0, 1.0), **options) -> SegmentMapper:
    options = {"image_format": "RGB", **options}
    return SegmentMapper(size=size, crop_area=area, tasks=BatchTasks((task,), 2), **options)


def resized(pixels: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], how))


def shown(mask: np.ndarray) -> tuple[bytes, bytes]:
    """Photo and mask of a region's box, as a sample shows it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    image = resized(PHOTO[box], SHOWN, Image.Resampling.BILINEAR)
    found = resized(mask[box].astype(np.uint8), SHOWN, Image.Resampling.NEAREST) == 1
    return image.tobytes(), found.tobytes()


def unflipped(output: dict, expected: set) -> tuple:
    """What a sample shows, mirrored where only then it is expected."""
    (mask,) = output["instances"].gt_masks.tensor.numpy()
    image = output["image"].numpy().transpose(1, 2, 0)
    ways = [(each[0].tobytes(), each[1].tobytes()) for each in
            ((image, mask), (image[:, ::-1], mask[:, ::-1]))]  # fmt: skip
    (label,) = output["instances"].gt_classes.tolist()
    return next(((label, *way) for way in ways if (label, *way) in expected), (label, "none"))


@pytest.mark.parametrize("task", JUDGED_TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_regions_of_a_task_are_its_targets_each_once(tmp_path, write_image, kind, task):
    record = kinds(tmp_path, write_image)[kind]
    targets = []
    if not (kind == "semantic" and task != "semantic"):  # which has no single regions then
        reader = SegmentationMapper(augmentations=[], image_format="RGB", task=task)
        instances = reader(record)["instances"]
        masks = instances.gt_masks.tensor.numpy()
        targets = [(label, *shown(mask)) for label, mask in
                   zip(instances.gt_classes.tolist(), masks)]  # fmt: skip
    if not targets:
        with pytest.raises(ValueError, match=f"no region for the task {task}"):
            regions(record, task)
        return
    samples = [
        mapper(task)({**region, "seed": 0, "position": position})
        for position, region in enumerate(regions(record, task))
    ]
    found = Counter(unflipped(output, set(targets)) for output in samples)
    assert found == Counter(targets)
    for output in samples:
        assert set(output) == {"image", "task", "instances"}
        assert output["task"] == task
        assert output["instances"].image_size == SHOWN
        assert output["image"].is_contiguous()


@pytest.mark.parametrize("task", JUDGED_TASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_void_around_an_annotation_changes_no_sample(tmp_path, write_image, kind, task):
    if kind == "semantic" and task != "semantic":
        return
    inner = kinds(tmp_path / "inner", write_image)[kind]
    outer = kinds(tmp_path / "outer", write_image, ((3, 1), (5, 2)))[kind]
    both = [regions(record, task) for record in (inner, outer)]
    assert len(both[0]) == len(both[1])
    for position, pair in enumerate(zip(*both)):
        one, other = (
            mapper(task, area=(0.2, 1.0))({**region, "seed": 3, "position": position})
            for region in pair
        )
        assert one["image"].equal(other["image"])
        assert one["instances"].gt_classes.equal(other["instances"].gt_classes)
        assert one["instances"].gt_masks.tensor.equal(other["instances"].gt_masks.tensor)


@pytest.mark.parametrize("void", [NUM_CLASSES, 65])
def test_void_of_another_number_is_no_class(tmp_path, write_image, cfg, loader, void):
    """Sets whose void is the number after the last class, as Mapillary's."""
    record = kinds(tmp_path, write_image, void=void)["semantic"]
    found = regions(record, "semantic", ignore_label=void)
    assert [region["semantic"]["segment_class"] for region in found].count(void) == 0
    assert len(found) == 3
    names = [f"class {number}" for number in range(NUM_CLASSES)]
    cfg.DATASETS.TRAIN = (loader([record], stuff_classes=names, ignore_label=void),)
    cfg.INPUT.DATASET_MAPPER_NAME = "mask_former_full_binary_semantic"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.SOLVER.IMS_PER_BATCH = (16,), 3
    assert SegmentMapper(cfg).ignore_label == void
    batch = next(iter(build_train_loader(cfg)))
    labels = sorted(int(one["instances"].gt_classes) for one in batch)
    assert labels == [0, 3, 5]


def test_the_last_class_is_taken_and_the_next_one_is_refused(tmp_path, write_image):
    record = kinds(tmp_path, write_image)["semantic"]  # whose last class is 5
    assert len(segment_records([record], ["semantic"], [True] * 6)) == 3
    with pytest.raises(ValueError, match=r"file_name.png has class 5, but the 5 classes .* to 4$"):
        segment_records([record], ["semantic"], [True] * 5)


def test_regions_of_many_images_are_drawn_by_class_and_seed():
    rows = [
        {"file_name": f"{index}.jpg", "annotations": [{"category_id": label, "segmentation": BOX}]}
        for index, label in enumerate([0] * 9 + [2] * 2 + [1] * 4)
    ]

    def drawn(task="instance", trained=(True, False, True), **options) -> list[tuple[int, str]]:
        records = segment_records(rows, [task], trained, **options)
        return [(one[task]["segment_class"], one[task]["file_name"]) for one in records]

    everything = drawn()
    assert Counter(label for label, _ in everything) == {0: 9, 2: 2}
    assert len(set(everything)) == 11
    labels = [label for label, _ in everything]
    assert labels != sorted(labels), "classes are mixed"
    for count, wanted in ((0, {}), (1, {0: 1, 2: 1}), (2, {0: 2, 2: 2}), (3, {0: 3, 2: 2})):
        if not wanted:
            with pytest.raises(ValueError, match="have no region"):
                drawn(per_class=count)
            continue
        chosen = drawn(per_class=count)
        assert Counter(label for label, _ in chosen) == wanted
        assert len(set(chosen)) == len(chosen)
    assert len({tuple(drawn(per_class=3, seed=seed)) for seed in range(4)}) == 4
    assert drawn(per_class=3) == drawn(per_class=3, seed=0)
    assert drawn("panoptic", per_class=3) != drawn("instance", per_class=3)


def test_the_shorter_list_comes_again_from_its_start():
    rows = [
        {"file_name": f"{index}.jpg", "segments_info": [{"id": 1, "category_id": 0, **flags}]}
        for index, flags in enumerate([{"isthing": False}] * 5 + [{"isthing": True}] * 2)
    ]
    found = segment_records(rows, ["instance", "panoptic"], [True])
    names = [one["instance"]["file_name"] for one in found]
    assert len(names) == 7
    assert names == [names[place % 2] for place in range(7)]
    assert len({one["panoptic"]["file_name"] for one in found}) == 7


def test_stuff_of_a_segment_and_behind_the_segments_is_one_region(tmp_path, write_image):
    record = kinds(tmp_path, write_image)["panoptic and stuff"]
    record[LABELS_KEY] = LabelTable({11: 2, 12: 5, 13: 0, 255: None})
    for task in ("semantic", "panoptic"):
        found = [one for one in regions(record, task) if one[task]["segment_class"] == 2]
        whole = blobs(2, [0, 0, 300, 70001, 6, 9])
        mask = (whole == 300) | (whole == 0) & (blobs(3, [11, 12, 13, 255]) == 11)
        target = (2, *shown(mask))
        samples = [mapper(task)({**one, "seed": 0, "position": 0}) for one in found]
        assert target in {unflipped(output, {target}) for output in samples}
        assert len(found) == {"semantic": 1, "panoptic": 2}[task]


def test_chance_is_that_of_seed_and_position(tmp_path, write_image):
    """Written out: half of the whole boxes are mirrored, those that the first number says."""
    (region,) = regions(kinds(tmp_path, write_image)["objects"], "instance")
    photo = resized(PHOTO[1:6, 2:11], SHOWN, Image.Resampling.BILINEAR)
    crop = mapper("instance")
    for position in range(20):
        entropy = np.random.SeedSequence([3, position]).generate_state(2)
        is_flipped = np.random.RandomState(entropy[0]).rand() < 0.5
        image = crop({**region, "seed": 3, "position": position})["image"].numpy()
        expected = photo[:, ::-1] if is_flipped else photo
        np.testing.assert_array_equal(image.transpose(1, 2, 0), expected)


# crops


@pytest.fixture(scope="module")
def samples():
    """All that crops of a box 7 wide and 6 high can show: the crop, and whether it is flipped."""
    found = {}
    for top, left in np.ndindex(6, 7):
        for height, width in np.ndindex(6 - top, 7 - left):
            part = PHOTO[4 + top : 5 + top + height, 3 + left : 4 + left + width]
            image = resized(part, SHOWN, Image.Resampling.BILINEAR)
            crop = (left, top, width + 1, height + 1)
            found[image.tobytes()] = (crop, False)
            found[image[:, ::-1].tobytes()] = (crop, True)
    return found


@pytest.fixture
def boxed(tmp_path, write_image):
    """A region that fills a box 7 wide and 6 high."""
    labels = np.full(SIZE, 255)
    labels[4:10, 3:10] = 3
    record = {
        "file_name": str(write_image(tmp_path / "photo.png", PHOTO)),
        "sem_seg_file_name": str(write_image(tmp_path / "labels.png", labels)),
    }
    (region,) = regions(record, "semantic")
    return region


def sizes_of(share: tuple[float, float]) -> set[tuple[int, int]]:
    """Sizes (width, height) of parts of the box with these areas, and sides of 3:4 to 4:3."""
    found = set()
    for area in np.linspace(*share, 60) * 6 * 7:
        for aspect in np.linspace(3 / 4, 4 / 3, 60):
            found.add((round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))))
    return {(width, height) for width, height in found if width <= 7 and height <= 6}


@pytest.mark.parametrize("share", [(0.15, 0.35), (0.5, 0.9)])
def test_crops_have_every_size_of_their_share_and_lie_everywhere(boxed, samples, share):
    crop = mapper("semantic", area=share)
    drawn = [crop({**boxed, "seed": 0, "position": position}) for position in range(300)]
    found = [samples[one["image"].numpy().transpose(1, 2, 0).tobytes()] for one in drawn]
    boxes = [box for box, _ in found]
    sizes = {box[2:] for box in boxes}
    assert sizes == sizes_of(share) | (sizes & {(7, 6)})
    assert Counter(box[2:] for box in boxes)[7, 6] < 20, "the whole box is the last resort"
    width, height = Counter(box[2:] for box in boxes).most_common(1)[0][0]
    assert {box[:2] for box in boxes if box[2:] == (width, height)} == {
        (left, top) for left in range(7 - width + 1) for top in range(6 - height + 1)
    }
    assert 110 < sum(is_flipped for _, is_flipped in found) < 190


def only_region(tmp_path, write_image, labels):
    """The region of a semantic map that has one class."""
    record = {
        "file_name": str(write_image(tmp_path / "photo.png", PHOTO)),
        "sem_seg_file_name": str(write_image(tmp_path / "labels.png", labels)),
    }
    (region,) = regions(record, "semantic")
    return region


def test_a_crop_shows_some_of_its_region_or_all_of_it(tmp_path, write_image):
    """Of two far corners most crops see none."""
    labels = np.full(SIZE, 255)
    labels[1, 2:5] = labels[8:11, 16] = 3
    region = only_region(tmp_path, write_image, labels)
    corner = mapper("semantic", size=(10, 15), area=(0.1, 0.4))
    counts = Counter()
    for position in range(60):
        output = corner({**region, "seed": 1, "position": position})
        mask = output["instances"].gt_masks.tensor[0].numpy()
        assert mask.any()
        whole = labels[1:11, 2:17] == 3
        is_whole = np.array_equal(mask, whole) or np.array_equal(mask, whole[:, ::-1])
        counts[is_whole] += 1
        image = output["image"].numpy().transpose(1, 2, 0)
        photo = PHOTO[1:11, 2:17]
        assert is_whole == any(np.array_equal(image, each) for each in (photo, photo[:, ::-1]))
    assert counts[True] > counts[False] > 0


@pytest.mark.parametrize("is_wide", [True, False])
def test_lines_of_one_pixel_are_cropped_too(tmp_path, write_image, is_wide):
    """To single pixels here, and every one of them comes."""
    labels = np.full(SIZE, 255)
    labels[(3, slice(2, 8)) if is_wide else (slice(2, 8), 3)] = 3
    region = only_region(tmp_path, write_image, labels)
    crop = mapper("semantic", size=(6, 6), area=(0.1, 0.3))
    colours = set()
    for position in range(40):
        image = crop({**region, "seed": 0, "position": position})["image"]
        assert image.flatten(1).unique(dim=1).shape[1] == 1
        colours.add(tuple(image[:, 0, 0].tolist()))
    assert colours == {tuple(pixel) for pixel in PHOTO[labels == 3].tolist()}


@pytest.mark.parametrize("kind", ["segments", "objects"])
def test_a_region_without_a_pixel_is_named_with_its_photo(tmp_path, write_image, kind):
    record = kinds(tmp_path, write_image)["panoptic" if kind == "segments" else "objects"]
    if kind == "segments":
        record["segments_info"] = [{"id": 123, "category_id": 5}]
    else:
        record["annotations"] = [{"category_id": 5, "segmentation": [[1, 1, 1, 1, 1, 1]]}]
    (region,) = regions(record, "panoptic")
    with pytest.raises(ValueError, match=r"annotation of .*file_name.png: the region of class 5 h"):
        mapper("panoptic")({**region, "seed": 0, "position": 0})


def test_stuff_of_another_size_than_its_photo_is_named(tmp_path, write_image):
    record = kinds(tmp_path, write_image)["panoptic and stuff"]
    write_image(tmp_path / f"{STUFF_KEY}.png", np.full((7, 8), 11))
    plain = SegmentationMapper(augmentations=[], image_format="RGB")
    for use in (lambda: plain(record), lambda: regions(record, "semantic")):
        with pytest.raises(ValueError, match=rf"{STUFF_KEY}.png is 8x7 pixels, its photo is 20x12"):
            use()


def test_the_mappers_keys_are_read(cfg):
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.REGION_CROP_AREA = (20, 30), [0.3, 0.6]
    cfg.INPUT.TASK_NAME, cfg.INPUT.FORMAT = ["panoptic x", "instance y"], "BGR"
    found = SegmentMapper(cfg)
    assert (found.size, found.crop_area, found.image_format) == ((20, 30), (0.3, 0.6), "BGR")
    assert found.tasks == BatchTasks(("panoptic", "instance"), 4)
    assert (found.ignore_label, found.reader.frame) == (255, "auto")
    cfg.INPUT.MIN_SIZE_TRAIN = (24,)
    assert SegmentMapper(cfg).size == (24, 24)


def test_channels_follow_the_format(tmp_path, write_image):
    record = kinds(tmp_path, write_image)["semantic"]
    region = {**regions(record, "semantic")[0], "seed": 0, "position": 0}
    bgr = mapper("semantic", image_format="BGR")(region)["image"]
    assert bgr.equal(mapper("semantic")(region)["image"].flip(0))
