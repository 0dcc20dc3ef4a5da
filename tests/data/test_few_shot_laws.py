"""Nothing leaks between the examples of an episode: each has a colour of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.data.few_shot import (
    Episode,
    EpisodeMapper,
    Example,
    build_episode_loader,
    find_examples,
    load_benchmark,
    read_mask,
    sample_episodes,
)
from freeseg.data.few_shot import benchmark as benchmark_file
from freeseg.structures import LABEL_MAP_KEY

VOC, COCO, FSS = (load_benchmark(name) for name in ("pascal_5i", "coco_20i", "fss_1000"))
BENCHMARKS = {"voc": VOC, "coco": COCO, "fss": FSS}
CLASSES = (1, 3)
PER_CLASS = 7
HEIGHT, WIDTH = 4, 9


def colour(class_id: int, number: int) -> list[int]:
    """A colour that is one example's alone, with three different channels."""
    return [10 + 20 * number, 100 + 30 * class_id, 250 - 20 * number]


def shape(number: int) -> np.ndarray:
    """Where the class of an example is: a bar that ends in another column for each."""
    return np.broadcast_to(np.arange(WIDTH) <= number, (HEIGHT, WIDTH))


@pytest.fixture(params=BENCHMARKS)
def files(request, tmp_path):
    """A benchmark and its examples: photos and masks of two classes, one colour for each photo."""
    benchmark = BENCHMARKS[request.param]
    examples = []
    for class_id in CLASSES:
        value = 255 if benchmark is FSS else class_id + 1
        for number in range(PER_CLASS):
            stem = f"{class_id}-{number}"
            pixels = np.full((HEIGHT, WIDTH, 3), colour(class_id, number), np.uint8)
            labels = np.where(shape(number), value, 0).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{stem}.bmp")
            Image.fromarray(labels).save(tmp_path / f"{stem}.png")
            image, mask = tmp_path / f"{stem}.bmp", tmp_path / f"{stem}.png"
            examples.append(Example(image, mask, class_id))
    return benchmark, examples


def one_colour(image) -> list[int]:
    (pixel,) = np.unique(image.numpy().reshape(3, -1), axis=1).T.tolist()
    return pixel


def number_of(example: Example) -> int:
    return int(example.image.stem.split("-")[1])


@pytest.mark.parametrize("shots", [1, 6])
def test_every_example_arrives_where_it_belongs_and_none_twice(files, shots):
    benchmark, examples = files
    episodes = sample_episodes(benchmark, examples, shots=shots, seed=1, count=9)
    loader = build_episode_loader(episodes, EpisodeMapper(benchmark, side=0))
    for episode, (mapped,) in zip(episodes, loader):
        class_id, number = episode.query.class_id, number_of(episode.query)
        assert mapped["file_name"] == str(episode.query.image)
        assert mapped["class_id"] == class_id
        assert one_colour(mapped["image"]) == colour(class_id, number)
        np.testing.assert_array_equal(mapped["truth"].numpy(), shape(number))
        assert len(mapped["supports"]) == shots
        numbers = {number}
        for example, support in zip(episode.supports, mapped["supports"]):
            assert set(support) == {"image", "mask"}
            assert one_colour(support["image"]) == colour(class_id, number_of(example))
            np.testing.assert_array_equal(support["mask"].numpy(), shape(number_of(example)))
            numbers.add(number_of(example))
        assert len(numbers) == shots + 1, "no support is the query or comes twice"


def test_all_that_may_be_drawn_is_drawn(files):
    benchmark, examples = files
    episodes = sample_episodes(benchmark, examples, shots=2, count=400)
    assert {episode.query for episode in episodes} == set(examples)
    for place in range(2):
        assert {episode.supports[place] for episode in episodes} == set(examples)


def test_an_image_that_a_list_names_twice_supports_once(files):
    benchmark, examples = files
    few = [examples[0], examples[0], examples[1], examples[2], examples[0], examples[1]]
    for episode in sample_episodes(benchmark, few, shots=2, count=30):
        assert len({episode.query, *episode.supports}) == 3
    name = benchmark.classes[1]
    with pytest.raises(ValueError, match=f"{name} has 3 images, an episode with 3 shots needs 4"):
        sample_episodes(benchmark, few, shots=3)


def test_a_class_needs_one_image_more_than_there_are_shots(files):
    benchmark, examples = files
    assert len(sample_episodes(benchmark, examples, shots=PER_CLASS - 1, count=3)) == 3
    with pytest.raises(ValueError, match=f"has {PER_CLASS} images, .* needs {PER_CLASS + 1}"):
        sample_episodes(benchmark, examples, shots=PER_CLASS, count=3)
    assert all(not each.supports for each in sample_episodes(benchmark, examples[:1], count=4))


def test_without_a_count_there_are_as_many_episodes_as_the_protocol_has(files):
    benchmark, examples = files
    wanted = len(examples) if benchmark is FSS else 1000
    assert len(sample_episodes(benchmark, examples)) == wanted
    assert sample_episodes(benchmark, examples, count=3) == sample_episodes(benchmark, examples)[:3]
    assert sample_episodes(benchmark, examples, count=0) == []


def test_the_whole_input_of_an_episode(files):
    benchmark, examples = files
    mapper = EpisodeMapper(benchmark, "BGR", side=0, background="rest")
    mapped = mapper(Episode(examples[PER_CLASS + 2]))
    assert one_colour(mapped.pop("image")) == colour(3, 2)[::-1]
    assert mapped.pop("truth").shape == (HEIGHT, WIDTH)
    vocabulary = mapped.pop("vocabulary")
    assert vocabulary.names == ("rest", benchmark.text(3))
    assert vocabulary.is_thing == (False, True)
    assert mapped == {
        "file_name": str(examples[PER_CLASS + 2].image),
        "class_id": 3,
        "height": HEIGHT,
        "width": WIDTH,
        "supports": [],
        "tasks": ("semantic",),
        LABEL_MAP_KEY: True,
    }
    named = EpisodeMapper(benchmark, uses_release_texts=True)(Episode(examples[0]))
    assert named["vocabulary"].names == ("others", benchmark.release_texts[1])
    assert (named["height"], named["width"]) == (480, 480)


def test_photos_are_mixed_and_masks_are_not_when_they_become_squares(tmp_path):
    rows, columns = np.mgrid[:6, :10]
    photo = np.stack([columns * 25, rows * 40, rows * 10 + columns], -1).astype(np.uint8)
    labels = np.random.default_rng(0).choice([0, 2, 7, 255], (6, 10)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(labels).save(tmp_path / "mask.png")
    example = Example(tmp_path / "photo.png", tmp_path / "mask.png", 1)
    mapped = EpisodeMapper(VOC, side=16)(Episode(example, (example,)))
    wanted = Image.fromarray(photo).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(mapped["image"].permute(1, 2, 0).numpy(), np.asarray(wanted))
    truth = np.select([labels == 2, labels == 255], [1, 255], 0).astype(np.uint8)
    wanted = Image.fromarray(truth).resize((16, 16), Image.Resampling.NEAREST)
    for mask in (mapped["truth"], mapped["supports"][0]["mask"]):
        np.testing.assert_array_equal(mask.numpy(), np.asarray(wanted))
    for benchmark, values in ((VOC, {0, 1, 255}), (COCO, {0, 1}), (FSS, {0, 1})):
        assert set(np.unique(read_mask(benchmark, example)).tolist()) == values


def test_void_around_a_mask_is_no_part_of_the_class(tmp_path):
    labels = np.pad(np.array([[0, 2, 5]], np.uint8), 2, constant_values=255)
    Image.fromarray(labels).save(tmp_path / "mask.png")
    mask = read_mask(VOC, Example(tmp_path / "photo.png", tmp_path / "mask.png", 1))
    np.testing.assert_array_equal(mask, np.pad([[0, 1, 0]], 2, constant_values=255))


# files


def fss_classes(few, monkeypatch, count=2) -> tuple[int, ...]:
    chosen = FSS.fold("test")[:count]
    monkeypatch.setitem(few.folds, "test", chosen)
    return chosen


def test_photos_are_found_however_their_ending_is_written(tmp_path, monkeypatch):
    classes = fss_classes(FSS, monkeypatch)
    for class_id in classes:
        folder = tmp_path / "FSS-1000" / FSS.classes[class_id]
        folder.mkdir(parents=True)
        for name in ("1.jpg", "2.JPG", "1.png", "2.png", "notes.txt"):
            (folder / name).touch()
    found = find_examples(FSS, tmp_path, "test")
    folders = [tmp_path / "FSS-1000" / FSS.classes[class_id] for class_id in classes]
    assert found == [
        Example(folder / name, folder / f"{name[0]}.png", class_id)
        for class_id, folder in zip(classes, folders)
        for name in ("1.jpg", "2.JPG")
    ]


def test_a_root_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    (class_id,) = fss_classes(FSS, monkeypatch, 1)
    folder = tmp_path / "data" / "FSS-1000" / FSS.classes[class_id]
    folder.mkdir(parents=True)
    (folder / "1.jpg").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    (example,) = find_examples(FSS, os.path.join("~", "data"), "test")
    assert example.image == folder / "1.jpg"


def write_labels(path: Path, *values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([[0, *values]], np.uint8)).save(path)


def test_files_of_pascal_lie_in_the_protocols_folders(tmp_path):
    folder = tmp_path / "VOC2012"
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("b\na\nc\n")
    for name, values in (("a", (6, 10)), ("b", (7, 5, 11)), ("c", (8, 7))):
        write_labels(folder / "SegmentationClassAug" / f"{name}.png", *values)
    found = find_examples(VOC, str(tmp_path), "1")
    expected = [("b", 6), ("a", 5), ("a", 9), ("c", 6), ("c", 7)]
    assert found == [
        Example(
            folder / "JPEGImages" / f"{name}.jpg",
            folder / "SegmentationClassAug" / f"{name}.png",
            class_id,
        )
        for name, class_id in expected
    ]


def test_files_of_coco_come_by_class_and_then_by_name(tmp_path):
    folder = tmp_path / "COCO2014"
    of_fold = COCO.fold("1")
    first, second = of_fold[:2]
    for name, values in (("y", (first, second)), ("x", (second,)), ("z", (first + 1,))):
        labels = [class_id + 1 for class_id in values]
        write_labels(folder / "annotations" / "val2014" / f"{name}.png", *labels)
    expected = [("y", first), ("x", second), ("y", second)]
    assert find_examples(COCO, tmp_path, "1") == [
        Example(
            folder / "val2014" / f"{name}.jpg",
            folder / "annotations" / "val2014" / f"{name}.png",
            class_id,
        )
        for name, class_id in expected
    ]


@pytest.mark.parametrize("number", [1, 2])
def test_the_first_and_the_last_class_of_a_fold_may_be_listed_and_no_other(tmp_path, number):
    listed = tmp_path / "splits" / "pascal" / "val" / "fold2.txt"
    listed.parent.mkdir(parents=True)
    for class_number, is_good in ((11, True), (15, True), (10, False), (16, False)):
        listed.write_text("a__b__11\n" * number + f"a__b__{class_number}\n")
        if is_good:
            found = find_examples(VOC, tmp_path, "2")
            assert [each.class_id for each in found] == [10] * number + [class_number - 1]
            assert {each.image.name for each in found} == {"a__b.jpg"}
            continue
        with pytest.raises(ValueError, match=rf"one of 11, .*, 15; got 'a__b__{class_number}'"):
            find_examples(VOC, tmp_path, "2")


@pytest.mark.parametrize("name", ["pascal_5i", "coco_20i", "fss_1000"])
def test_a_benchmark_is_what_its_file_says(name):
    found = load_benchmark.__wrapped__(name)  # read anew
    content = json.loads(Path(benchmark_file.__file__).with_name(f"{name}.json").read_text())
    assert found.name == name
    assert list(found.classes) == content["classes"]
    assert list(found.release_texts) == content.get("release_texts", content["classes"])
    folds = {key: [found.classes[each] for each in fold] for key, fold in found.folds.items()}
    assert folds == content["folds"]
    assert (found.layout, found.num_episodes) == (content["layout"], content["episodes"])
    assert found.is_drawn == (content["order"] == "drawn")
    assert found == load_benchmark(name)


def test_benchmarks_are_what_their_protocols_are():
    assert [(each.layout, each.is_drawn, each.num_episodes) for each in (VOC, COCO, FSS)] == [
        ("voc", False, 1000),
        ("coco", True, 1000),
        ("fss", False, 0),
    ]
    assert [each.name for each in (VOC, COCO, FSS)] == ["pascal_5i", "coco_20i", "fss_1000"]
    for each in (VOC, COCO):
        folds = [each.fold(str(fold)) for fold in range(4)]
        assert sorted(sum(folds, ())) == list(range(len(each.classes))), "no class is in two folds"
