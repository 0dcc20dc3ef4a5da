"""Sets of clips: every layout is read as it is meant, and what is wrong with one is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.catalog import dataset_metadata, kept
from freeseg.cli import main
from freeseg.data import register_custom
from freeseg.data.clips import clip_of
from freeseg.data.datasets.json_rows import MissingDataError
from freeseg.data.problems import DataError

sys.path.insert(0, str(Path(__file__).parents[2]))
from clip_files import SIZE, scene, write_clip, write_davis, write_frame, write_mask, write_meta

NAMES = [
    *(f"davis_{year}_{split}" for year in (2016, 2017) for split in ("train", "val")),
    *(f"youtube_vos_{year}_{split}" for year in (2018, 2019) for split in ("train", "valid")),
    *("mose_train", "mose_valid"),
]


def blank():
    return np.zeros(SIZE, np.uint8)


def boxes(*numbers):
    """A square of each number, side by side."""
    labels = blank()
    for place, number in enumerate(numbers):
        labels[10:20, 12 * place : 12 * place + 10] = number
    return labels


def clips(name):
    return {record["image_id"]: clip_of(record) for record in kept(name).load()}


def faults(name):
    with pytest.raises(DataError) as raised:
        kept(name).load()
    return "\n".join(raised.value.problems)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_known_and_a_missing_set_says_what_to_do(root, name):
    assert dataset_metadata(name).evaluator_type == "clips"
    with pytest.raises(MissingDataError, match="see clips under 'Datasets' in the documentation"):
        kept(name).load()


def test_davis_is_read_in_order_with_all_objects_on_the_first_frame(root):
    write_davis(root, {"b": [scene(0), scene(3)], "a": [boxes(1, 3), boxes(1, 2, 3, 255), blank()]})
    found = clips("davis_2017_val")
    assert list(found) == ["b", "a"]
    clip = found["a"]
    assert [Path(file).name for file in clip.frames] == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert (clip.size, clip.begins) == (SIZE, {1: 0, 2: 0, 3: 0})  # 2 is missing: empty
    np.testing.assert_array_equal(clip.begun(0), boxes(1, 3))
    assert clip.begun(1) is None
    np.testing.assert_array_equal(clip.truth(1), boxes(1, 2, 3, 0))  # void is background
    assert [clip.judged(frame) for frame in range(3)] == [[], [1, 2, 3], []]
    record = kept("davis_2017_val").load()[1]
    assert (record["file_name"], record["height"], record["width"]) == (clip.frames[0], *SIZE)


@pytest.mark.parametrize("palette", [True, False], ids=["palette", "grey"])
def test_in_davis_2016_all_objects_are_one(root, palette):
    write_davis(root, {"a": [boxes(2, 3, 255), boxes(255)]}, year="2016", palette=palette)
    clip = clips("davis_2016_val")["a"]
    assert clip.begins == {1: 0}
    np.testing.assert_array_equal(clip.begun(0), boxes(1, 1, 0))
    assert not clip.truth(1).any()


def test_masks_of_0_and_255_as_davis_2016_came_with_are_the_object(root):
    write_davis(root, {"a": [boxes(255), boxes(0, 255)]}, year="2016", palette=False)
    clip = clips("davis_2016_val")["a"]
    np.testing.assert_array_equal(clip.begun(0), boxes(1))
    np.testing.assert_array_equal(clip.truth(1), boxes(0, 1))


def youtube_vos(root, split="valid"):
    folder = root / "youtube_vos/2019" / split
    write_clip(folder, "v", {0: boxes(1), 2: boxes(1, 2)}, frames=4)
    objects = {"1": ("dog", ["00000", "00001"]), "2": ("yak", ["00002", "00003"])}
    write_meta(folder, {"v": objects})
    return folder


def test_youtube_vos_says_where_objects_begin_and_which_classes_are_seen(root):
    folder = youtube_vos(root)
    clip = clips("youtube_vos_2019_valid")["v"]
    assert (clip.begins, clip.is_seen) == ({1: 0, 2: 2}, None)
    np.testing.assert_array_equal(clip.begun(2), boxes(0, 2))  # without 1, which has begun before
    assert not clip.has_truth
    write_meta(folder.parent / "train", {"w": {"1": ("dog", ["00000"])}})
    assert clips("youtube_vos_2019_valid")["v"].is_seen == {1: True, 2: False}
    write_meta(folder.parent / "train", {"w": {"1": ("dog", [])}})
    with pytest.raises(DataError, match=r"train/meta.json: w: object '1' is none"):
        kept("youtube_vos_2019_valid").load()
    write_meta(folder.parent / "train", {"w": {"1": ("dog", ["00000"])}})
    write_mask(folder / "Annotations/v/00003.png", boxes(1, 2))
    clip = clips("youtube_vos_2019_valid")["v"]
    assert [clip.judged(frame) for frame in range(4)] == [[], [], [1], [1, 2]]  # the last one, too


def test_mose_lists_its_folders(root):
    for name in ("q", "p"):
        write_clip(root / "MOSE/valid", name, [boxes(1)], frames=3)
    found = clips("mose_valid")
    assert list(found) == ["p", "q"]
    assert [found["p"].judged(frame) for frame in range(3)] == [[], [], []]


@pytest.fixture
def own(tmp_path, request):
    """Registers clips of one's own; gives the name of the set and its folder."""
    name = f"own_clips_{request.node.name}"

    def register(listed="c\n"):
        (tmp_path / "list.txt").write_text(listed)
        folders = [str(tmp_path / each) for each in ("JPEGImages", "Annotations")]
        register_custom([[name, str(tmp_path / "list.txt"), *folders]])
        return name

    return register


def test_in_own_clips_objects_begin_where_they_are_first_marked(own, tmp_path):
    write_clip(tmp_path, "c", {1: boxes(2), 3: boxes(2, 7), 4: boxes(7), 5: boxes(7)}, frames=7)
    clip = clips(own())["c"]
    assert clip.begins == {2: 1, 7: 3}
    assert [clip.judged(frame) for frame in range(7)] == [[], [], [], [2], [2, 7], [2, 7], []]
    np.testing.assert_array_equal(clip.begun(3), boxes(0, 7))


def test_the_real_clip_with_a_late_object_is_read(shared, own):
    folder = shared / "video"
    files = ("ImageSets/2017/val.txt", "JPEGImages/480p", "Annotations/480p")
    register_custom([["real_clips", *(str(folder / file) for file in files)]])
    clip = clips("real_clips")["caps"]
    assert (len(clip.frames), sorted(clip.masks)) == (23, [0, 5, 11, 14, 22])
    assert clip.begins == {1: 0, 2: 11}
    assert [frame for frame in range(23) if clip.judged(frame)] == [5, 11, 14]
    assert clip.judged(11) == [1]
    shown = [frame for frame in clip.shown() if frame.begins is not None]
    assert [np.unique(frame.begins).tolist() for frame in shown] == [[0, 1], [0, 2]]
    assert shown[0].image.shape == (*clip.size, 3)


def spoil_list(folder):
    (folder / "ImageSets/2017/val.txt").write_text("a\nabsent\na2\n")


def spoil_colors(folder):
    picture = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    Image.fromarray(picture).save(folder / "Annotations/480p/a/00000.png")


FAULTS = {
    "no frames": (spoil_list, "JPEGImages/480p/absent with the frames of a clip does not exist"),
    "mask without frame": (
        lambda folder: (folder / "JPEGImages/480p/a/00001.jpg").unlink(),
        "Annotations/480p/a/00001.png: the clip a has no frame 00001",
    ),
    "first frame without mask": (
        lambda folder: (folder / "Annotations/480p/a/00000.png").unlink(),
        "Annotations/480p/a has no masks of the first frame",
    ),
    "no object": (
        lambda folder: write_mask(folder / "Annotations/480p/a/00000.png", boxes(255)),
        "a/00000.png has no object, 0 and 255 are none",
    ),
    "colours": (spoil_colors, "a/00000.png has colours, wanted a PNG with a palette, or a grey"),
    "no masks": (
        lambda folder: [file.unlink() for file in (folder / "Annotations/480p/a").iterdir()],
        "Annotations/480p/a has no masks",
    ),
    "two of one name": (
        lambda folder: write_frame(folder / "JPEGImages/480p/a/00000.png"),
        "00000.jpg and 00000.png have one name",
    ),
    "no picture": (
        lambda folder: (folder / "JPEGImages/480p/a/00000.jpg").write_text("none"),
        "a/00000.jpg is no picture",
    ),
    "path": (
        lambda folder: (folder / "ImageSets/2017/val.txt").write_text("../a\n"),
        "'../a' is no name of a clip",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_clip_is_named_and_others_are_kept(root, fault):
    spoil, told = FAULTS[fault]
    spoil(write_davis(root, {"a": [scene(0), scene(1)], "a2": [scene(0)]}))
    assert told in faults("davis_2017_val")


def test_a_list_with_a_clip_twice_or_none_is_refused(root):
    folder = write_davis(root, {"a": [scene(0)]})
    for content, told in (("a\na\n", "val.txt lists a twice"), ("\n", "val.txt lists no clip")):
        (folder / "ImageSets/2017/val.txt").write_text(content)
        with pytest.raises(ValueError, match=told):
            kept("davis_2017_val").load()


def test_masks_that_do_not_fit_are_refused_where_they_are_read(root):
    folder = write_davis(root, {"a": [boxes(1), boxes(1), boxes(1, 4)]})
    write_mask(folder / "Annotations/480p/a/00001.png", np.zeros((9, 8)))
    write_frame(folder / "JPEGImages/480p/a/00002.jpg", (30, 40))
    clip = clips("davis_2017_val")["a"]
    with pytest.raises(ValueError, match=r"a/00001.png is 8x9 pixels, its clip 120x90"):
        clip.truth(1)
    with pytest.raises(ValueError, match=r"a/00002.png has object 4, the clip has 1: an object"):
        clip.truth(2)
    with pytest.raises(ValueError, match=r"a/00002.jpg is 40x30 pixels, the first frame of a 120"):
        list(clip.shown())


@pytest.mark.parametrize(
    ("objects", "told"),
    [
        ({"1": ("dog", ["00009"])}, "object 1 of v has no frame 00009"),
        ({"1": ("dog", ["00001"])}, "no masks of the frame where object 1 begins, 00001"),
        ({"x": ("dog", ["00000"])}, "v: object 'x' is none: wanted"),
        ({"1": ("dog", [])}, "v: object '1' is none: wanted"),
        ({}, "meta.json: v has no objects"),
    ],
)
def test_a_fault_of_a_list_of_objects_is_named(root, objects, told):
    folder = youtube_vos(root)
    write_meta(folder, {"v": objects})
    assert told in faults("youtube_vos_2019_valid")


def test_what_is_no_list_of_objects_is_refused(root):
    folder = youtube_vos(root)
    (folder / "meta.json").write_text('{"videos": []}')
    with pytest.raises(ValueError, match=r"meta.json is no list of objects: wanted"):
        kept("youtube_vos_2019_valid").load()


def test_own_clips_need_their_folders(own, tmp_path):
    write_clip(tmp_path, "c", [boxes(0, 255)])
    row = ["clips_without_masks", str(tmp_path / "list.txt"), str(tmp_path / "JPEGImages"), ""]
    with pytest.raises(ValueError, match="lists clips, so the last item"):
        register_custom([row])
    assert "Annotations/c: no mask has an object" in faults(own())


def test_check_reads_all_frames_and_masks(root, capsys):
    folder = write_davis(root, {"a": [boxes(1, 3), boxes(1), boxes(1)]})
    assert main(["check", "davis_2017_val"]) == 0
    assert "a/00000.png: object 2 begins there and has no pixel" in "".join(capsys.readouterr())
    write_mask(folder / "Annotations/480p/a/00001.png", boxes(1, 9))
    (folder / "JPEGImages/480p/a/00002.jpg").write_text("none")
    assert main(["check", "davis_2017_val"]) == 1
    told = "".join(capsys.readouterr())
    assert "a/00001.png has object 9, the clip has 1, 2, 3" in told
    assert "a/00002.jpg is no picture that can be read" in told
