"""The benchmarks' folds, episodes, and a miniature in the protocol's folders."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.data.few_shot import (
    EpisodeMapper,
    Example,
    find_examples,
    load_benchmark,
    read_mask,
    sample_episodes,
)

VOC, COCO, FSS = (load_benchmark(name) for name in ("pascal_5i", "coco_20i", "fss_1000"))


def save(path: Path, pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
    return path


def photo(path: Path, labels) -> Path:
    return save(path, np.zeros((*np.shape(labels), 3)))


@pytest.fixture
def voc(tmp_path):
    """Two val images: one with aeroplane (1) and dog (12), one with bird (3); void on both."""
    folder = tmp_path / "VOC2012"
    for name, labels in (
        ("2007_000001", [[1, 1, 12, 255]]),
        ("2007_000002", [[3, 0, 0, 255]]),
        ("2007_000003", [[1, 1, 1, 1]]),  # not in the list
    ):
        photo(folder / "JPEGImages" / f"{name}.jpg", labels)
        save(folder / "SegmentationClassAug" / f"{name}.png", labels)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_000001\n2007_000002\n")
    return tmp_path


@pytest.fixture
def coco(tmp_path):
    """Person (1) in two images, airplane (5) in one, bicycle (2) in one."""
    folder = tmp_path / "COCO2014"
    for number, labels in enumerate([[[1, 5, 0]], [[1, 2, 0]]]):
        photo(folder / "val2014" / f"COCO_val2014_{number}.jpg", labels)
        save(folder / "annotations" / "val2014" / f"COCO_val2014_{number}.png", labels)
    return tmp_path


@pytest.fixture
def fss(tmp_path):
    """Three grey masks of three test classes; what is nearly white is foreground too."""
    for class_id in FSS.fold("test")[:3]:
        for number in range(1, 4):
            stem = tmp_path / "FSS-1000" / FSS.classes[class_id] / str(number)
            grey = [[0, 127, 128, 255]]
            photo(stem.with_suffix(".jpg"), grey)
            save(stem.with_suffix(".png"), grey)
    return tmp_path


def test_folds_are_the_publications():
    assert [len(each.classes) for each in (VOC, COCO, FSS)] == [20, 80, 1000]
    assert [VOC.fold(str(fold)) for fold in range(4)] == [
        tuple(range(5 * fold, 5 * fold + 5)) for fold in range(4)
    ]
    assert [COCO.fold(str(fold)) for fold in range(4)] == [
        tuple(4 * j + fold for j in range(20)) for fold in range(4)
    ]
    assert [VOC.classes[each] for each in VOC.fold("1")] == ["bus", "car", "cat", "chair", "cow"]
    assert COCO.classes[COCO.fold("0")[1]] == "airplane"
    assert len(FSS.fold("test")) == 240
    assert not set(FSS.fold("test")) & set(FSS.fold("val"))
    assert len(set(FSS.classes)) == 1000


def test_texts_are_words_and_the_releases_are_known():
    assert VOC.text(15) == "potted plant"
    assert VOC.release_texts[15] == "pottedplant"
    assert COCO.release_texts[4] == "aeroplane"
    assert FSS.text(FSS.classes.index("burj_al")) == "burj al"
    assert all(len(each.release_texts) == len(each.classes) for each in (VOC, COCO, FSS))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="coco_20i, fss_1000, pascal_5i"):
        load_benchmark("imagenet")
    with pytest.raises(ValueError, match="it has 0, 1, 2, 3"):
        VOC.fold("4")


def test_pascal_without_lists_takes_every_val_image_that_shows_a_class(voc):
    found = find_examples(VOC, voc, "0")
    assert [(each.image.stem, each.class_id) for each in found] == [
        ("2007_000001", 0),
        ("2007_000002", 2),
    ]
    assert [each.class_id for each in find_examples(VOC, voc, "2")] == [11]
    assert find_examples(VOC, voc, "1") == []


def test_pascal_with_the_protocols_lists_takes_these(voc):
    listed = voc / "splits" / "pascal" / "val" / "fold0.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("2007_000003__01\n2007_000001__01\n")
    found = find_examples(VOC, voc, "0")
    assert [(each.image.stem, each.class_id) for each in found] == [
        ("2007_000003", 0),
        ("2007_000001", 0),
    ]


@pytest.mark.parametrize("row", ["2007_000001__16", "2007_000001__00", "2007_000001", "__01"])
def test_lists_of_other_folds_and_other_things_are_refused(voc, row):
    listed = voc / "splits" / "pascal" / "val" / "fold0.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text(f"{row}\n")
    with pytest.raises(ValueError, match=rf"fold0.txt: .* 1, 2, 3, 4, 5; got '{row}'"):
        find_examples(VOC, voc, "0")


def test_pascal_masks_have_void(voc):
    first, second = find_examples(VOC, voc, "0")
    assert read_mask(VOC, first).tolist() == [[1, 1, 0, 255]]
    assert read_mask(VOC, second).tolist() == [[1, 0, 0, 255]]


def test_coco_with_and_without_the_protocols_lists(coco):
    found = find_examples(COCO, coco, "0")
    names = [(each.image.name[-5:], each.class_id) for each in found]
    assert names == [("0.jpg", 0), ("1.jpg", 0), ("0.jpg", 4)]
    assert read_mask(COCO, found[2]).tolist() == [[0, 1, 0]]
    listed = coco / "splits" / "coco" / "val" / "fold0.pkl"
    listed.parent.mkdir(parents=True)
    listed.write_bytes(pickle.dumps({0: ["val2014/COCO_val2014_1.jpg"], 4: []}))
    assert find_examples(COCO, coco, "0") == [found[1]]


@pytest.mark.parametrize("content", [[1], 3, {"0": []}, {0: None}, {0: [], 4: 1}, {0: [], "4": []}])
def test_pickles_that_are_no_lists_of_names_are_refused(coco, content):
    listed = coco / "splits" / "coco" / "val" / "fold0.pkl"
    listed.parent.mkdir(parents=True)
    listed.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"fold0.pkl: wanted a pickle of \{class number"):
        find_examples(COCO, coco, "0")


def test_lists_are_never_executed(coco):
    listed = coco / "splits" / "coco" / "val" / "fold0.pkl"
    listed.parent.mkdir(parents=True)
    listed.write_bytes(pickle.dumps(print))
    with pytest.raises(ValueError, match="more than data"):
        find_examples(COCO, coco, "0")


def test_fss_masks_are_halves_of_grey(fss, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no images in"):
        find_examples(FSS, fss, "test")  # 237 classes are missing
    few = load_benchmark("fss_1000")
    monkeypatch.setitem(few.folds, "test", few.fold("test")[:3])
    found = find_examples(few, fss, "test")
    assert len(found) == 9
    assert read_mask(few, found[0]).tolist() == [[0, 0, 1, 1]]


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"val.txt does not exist; see 'Few-shot"):
        find_examples(VOC, tmp_path, "0")
    with pytest.raises(FileNotFoundError, match="no masks in"):
        find_examples(COCO, tmp_path, "0")


def test_a_missing_mask_is_named_with_where_to_get_it(voc):
    (first, _) = find_examples(VOC, voc, "0")
    first.mask.unlink()
    for use in (lambda: read_mask(VOC, first), lambda: find_examples(VOC, voc, "0")):
        with pytest.raises(FileNotFoundError, match=r"000001.png does not exist; see 'Few-shot"):
            use()


def examples(counts):
    return [
        Example(Path(f"{class_id}-{number}.jpg"), Path("mask.png"), class_id)
        for class_id, count in counts.items()
        for number in range(count)
    ]


def test_pascal_walks_through_its_list_until_a_thousand():
    listed = examples({0: 3, 2: 4})
    episodes = sample_episodes(VOC, listed)
    assert len(episodes) == 1000
    assert [each.query for each in episodes[:9]] == [*listed, *listed[:2]]
    assert all(each.supports == () for each in episodes)


def test_coco_draws_classes_evenly_whatever_their_number():
    episodes = sample_episodes(COCO, examples({0: 200, 4: 2}))
    counts = Counter(each.query.class_id for each in episodes)
    assert len(episodes) == 1000
    assert 400 < counts[4] < 600


def test_fss_asks_for_every_image_once():
    listed = examples({760: 10, 761: 10})
    assert [each.query for each in sample_episodes(FSS, listed)] == listed


@pytest.mark.parametrize("benchmark", [VOC, COCO, FSS], ids=lambda each: each.name)
def test_supports_are_other_images_of_the_class(benchmark):
    listed = examples({0: 7, 1: 6})
    episodes = sample_episodes(benchmark, listed, shots=5, seed=3, count=50)
    assert len(episodes) == 50
    for each in episodes:
        assert len({*each.supports, each.query}) == 6
        assert {one.class_id for one in each.supports} == {each.query.class_id}
    assert episodes == sample_episodes(benchmark, listed, shots=5, seed=3, count=50)
    assert episodes != sample_episodes(benchmark, listed, shots=5, seed=4, count=50)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="aeroplane has 5 images, an episode with 5 shots"):
        sample_episodes(VOC, examples({0: 5}), shots=5)
    with pytest.raises(ValueError, match="no examples"):
        sample_episodes(VOC, [])


def test_an_episode_is_an_input_for_readers_and_for_lookers(voc):
    listed = find_examples(VOC, voc, "0")
    (episode,) = sample_episodes(VOC, [listed[0], Example(*listed[0].__dict__.values())], count=1)
    mapped = EpisodeMapper(VOC, side=8)(episode)
    assert mapped["image"].shape == (3, 8, 8)
    assert mapped["truth"].tolist() == [[1, 1, 1, 1, 0, 0, 255, 255]] * 8
    assert mapped["vocabulary"].names == ("others", "aeroplane")
    assert (mapped["height"], mapped["width"]) == (8, 8)
    whole = EpisodeMapper(VOC, side=0, background="everything else")(episode)
    assert whole["truth"].tolist() == [[1, 1, 0, 255]]
    assert whole["vocabulary"].names[0] == "everything else"
    assert whole["supports"] == []


def test_a_mask_of_another_size_is_refused(voc):
    (first, _) = find_examples(VOC, voc, "0")
    save(first.mask, [[1, 1], [0, 0]])
    with pytest.raises(ValueError, match=r"2007_000001.png is \(2, 2\) pixels, .*jpg \(4, 1\)"):
        EpisodeMapper(VOC, side=8)(sample_episodes(VOC, [first], count=1)[0])
