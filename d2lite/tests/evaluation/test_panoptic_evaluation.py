"""COCOPanopticEvaluator against a slow, obvious PQ and against panopticapi."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.evaluation import COCOPanopticEvaluator

KEYS = [metric + group for group in ("", "_th", "_st") for metric in ("PQ", "SQ", "RQ")]
# Dataset ids with gaps; things are 2, 5, 9, stuff 11, 30, 31.
CATEGORIES = [{"id": i, "name": str(i), "isthing": int(i < 10)} for i in (2, 5, 9, 11, 30, 31)]
TO_CONTIGUOUS = {c["id"]: index for index, c in enumerate(CATEGORIES)}
THINGS = {c["id"]: TO_CONTIGUOUS[c["id"]] for c in CATEGORIES if c["isthing"]}


def to_rgb(ids):
    return np.stack([ids // 256**k % 256 for k in range(3)], axis=-1).astype(np.uint8)


def random_maps(rng, num_images=3, size=(40, 52), num_segments=9, with_crowd=True):
    """Ground truth: a list of (ids [H, W], segments). Id 0 is void, ids are spread over 24 bits."""
    images = []
    for _ in range(num_images):
        ids = np.zeros(size, dtype=np.int64)
        for number in range(num_segments):
            y, x = rng.integers(0, size[0] - 6), rng.integers(0, size[1] - 6)
            h, w = rng.integers(4, 25, size=2)
            ids[y : y + h, x : x + w] = (number + 1) * 1_000_003
        segments = []
        for segment_id in np.unique(ids[ids > 0]):
            category = CATEGORIES[rng.integers(len(CATEGORIES))]
            is_crowd = int(with_crowd and category["isthing"] and rng.random() < 0.25)
            segments.append(
                {
                    "id": int(segment_id),
                    "category_id": category["id"],
                    "area": int((ids == segment_id).sum()),
                    "iscrowd": is_crowd,
                }
            )
        images.append((ids, segments))
    return images


def as_prediction(ids, segments):
    """What a model would return for a perfect copy: contiguous ids, isthing."""
    return ids.astype(np.int32), [
        {
            "id": s["id"],
            "category_id": TO_CONTIGUOUS[s["category_id"]],
            "isthing": s["category_id"] in THINGS,
        }
        for s in segments
    ]


def present(ids, segments):
    """Keep the segments that still have pixels."""
    return ids, [s for s in segments if (ids == s["id"]).any()]


def corrupt_nothing(ids, segments, rng):
    return ids, segments


def corrupt_shift(ids, segments, rng):
    shifted = np.zeros_like(ids)
    shifted[3:, 2:] = ids[:-3, :-2]
    return present(shifted, segments)


def corrupt_merge(ids, segments, rng):
    """Give the second segment's pixels to the first."""
    ids = np.where(ids == segments[1]["id"], segments[0]["id"], ids)
    return present(ids, segments)


def corrupt_split(ids, segments, rng):
    """Cut every segment into left and right halves of the image."""
    right = np.arange(ids.shape[1]) >= ids.shape[1] // 2
    ids = np.where(right & (ids > 0), ids + 1, ids)
    return present(ids, segments + [{**s, "id": s["id"] + 1} for s in segments])


def corrupt_relabel(ids, segments, rng):
    """Rotate the category of the first half of the segments."""
    half = len(segments) // 2
    wrong = [{**s, "category_id": (s["category_id"] + 1) % 6} for s in segments[:half]]
    for s in wrong:
        s["isthing"] = s["category_id"] in THINGS.values()
    return ids, wrong + segments[half:]


def corrupt_drop(ids, segments, rng):
    """Leave out every other segment."""
    for s in segments[::2]:
        ids = np.where(ids == s["id"], 0, ids)
    return ids, segments[1::2]


def corrupt_void(ids, segments, rng):
    """Predict something on all void pixels."""
    ids = np.where(ids == 0, 77, ids)
    return present(ids, [*segments, {"id": 77, "category_id": 0, "isthing": True}])


def corrupt_random(ids, segments, rng):
    """Predict another random map altogether."""
    ((ids, segments),) = random_maps(rng, num_images=1, size=ids.shape)
    return as_prediction(ids, segments)


CORRUPTIONS = {
    name[len("corrupt_") :]: function
    for name, function in globals().copy().items()
    if name.startswith("corrupt_")
}


def brute_force_pq(truths, predictions):
    """PQ by the definition, one pair of segments at a time, on predictions as_prediction()."""
    tally = {c["id"]: [0.0, 0, 0, 0] for c in CATEGORIES}  # iou, tp, fp, fn
    for truth, prediction in zip(truths, predictions):
        tally_image(tally, *truth, *prediction)
    scores = {}
    for suffix, kinds in (("", (0, 1)), ("_th", (1,)), ("_st", (0,))):
        rows = []
        for c in CATEGORIES:
            iou, tp, fp, fn = tally[c["id"]]
            if c["isthing"] in kinds and tp + fp + fn:
                weight = tp + fp / 2 + fn / 2
                rows.append([iou / weight, iou / max(tp, 1), tp / weight])
        for metric, value in zip(("PQ", "SQ", "RQ"), np.mean(rows, axis=0)):
            scores[metric + suffix] = 100 * value
    return scores


def tally_image(tally, gt_ids, gt_segments, pred_ids, pred_segments):
    to_dataset = {v: k for k, v in TO_CONTIGUOUS.items()}
    void = gt_ids == 0
    found_gt, found_pred = set(), set()
    for g in gt_segments:
        for p in pred_segments:
            category = to_dataset[p["category_id"]]
            a, b = gt_ids == g["id"], pred_ids == p["id"]
            iou = (a & b).sum() / (a | (b & ~void)).sum()
            if not g["iscrowd"] and category == g["category_id"] and iou > 0.5:
                tally[category][0] += iou
                tally[category][1] += 1
                found_gt.add(g["id"])
                found_pred.add(p["id"])
    for g in gt_segments:
        tally[g["category_id"]][3] += g["id"] not in found_gt and not g["iscrowd"]
    for p in pred_segments:
        category = to_dataset[p["category_id"]]
        crowds = [g for g in gt_segments if g["iscrowd"] and g["category_id"] == category]
        excuse = void.copy()
        for g in crowds[-1:]:
            excuse |= gt_ids == g["id"]
        mine = pred_ids == p["id"]
        is_excused = (mine & excuse).sum() > 0.5 * mine.sum()
        tally[category][2] += p["id"] not in found_pred and not is_excused


class PanopticSet:
    """Ground truth on disk, registered, and evaluated."""

    def __init__(self, truths, folder, register):
        self.png_folder = folder / "gt"
        self.png_folder.mkdir()
        self.json_file = folder / "gt.json"
        self.inputs, annotations = [], []
        for index, (ids, segments) in enumerate(truths):
            Image.fromarray(to_rgb(ids)).save(self.png_folder / f"{index}.png")
            annotations.append(
                {"image_id": index, "file_name": f"{index}.png", "segments_info": segments}
            )
            self.inputs.append({"image_id": index, "file_name": f"/somewhere/{index}.jpg"})
        content = {
            "images": [{"id": i["image_id"]} for i in self.inputs],
            "annotations": annotations,
            "categories": CATEGORIES,
        }
        self.json_file.write_text(json.dumps(content))
        self.name = register(
            panoptic_json=str(self.json_file),
            panoptic_root=str(self.png_folder),
            thing_dataset_id_to_contiguous_id=THINGS,
            stuff_dataset_id_to_contiguous_id=TO_CONTIGUOUS,
            label_divisor=1000,
        )

    def evaluate(self, predictions, output_dir=None):
        evaluator = COCOPanopticEvaluator(self.name, output_dir)
        evaluator.reset()
        for image, (ids, segments) in zip(self.inputs, predictions):
            output = {"panoptic_seg": (torch.as_tensor(ids), copy.deepcopy(segments))}
            evaluator.process([image], [output])
        with contextlib.redirect_stdout(io.StringIO()):
            return evaluator.evaluate()["panoptic_seg"]


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_scores_equal_brute_force(corruption, tmp_path, register):
    rng = np.random.default_rng(sorted(CORRUPTIONS).index(corruption))
    truths = random_maps(rng)
    predictions = [CORRUPTIONS[corruption](*as_prediction(*truth), rng) for truth in truths]
    scores = PanopticSet(truths, tmp_path, register).evaluate(predictions)
    assert list(scores) == KEYS
    assert scores == pytest.approx(brute_force_pq(truths, predictions), abs=1e-9)
    is_perfect = corruption in ("nothing", "void")
    assert (scores["RQ"] == pytest.approx(100)) == is_perfect


def test_no_corruption_scores_100(tmp_path, register):
    truths = random_maps(np.random.default_rng(3), with_crowd=False)
    scores = PanopticSet(truths, tmp_path, register).evaluate(
        [as_prediction(*truth) for truth in truths]
    )
    assert scores == pytest.approx(dict.fromkeys(KEYS, 100.0))


def test_ids_may_encode_the_category(tmp_path, register):
    """Without segments_info, id = category * label_divisor + number and -1 is void."""
    truths = random_maps(np.random.default_rng(5), with_crowd=False)
    coded = []
    for ids, segments in truths:
        map_ = np.full(ids.shape, -1, dtype=np.int32)
        for number, s in enumerate(segments):
            map_[ids == s["id"]] = TO_CONTIGUOUS[s["category_id"]] * 1000 + number
        coded.append((map_, None))
    scores = PanopticSet(truths, tmp_path, register).evaluate(coded)
    assert scores == pytest.approx(dict.fromkeys(KEYS, 100.0))


def test_predictions_are_written_in_dataset_ids(tmp_path, register):
    truths = random_maps(np.random.default_rng(7), num_images=2)
    panoptic_set = PanopticSet(truths, tmp_path, register)
    panoptic_set.evaluate([as_prediction(*t) for t in truths], str(tmp_path / "out"))
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    assert written["categories"] == CATEGORIES
    for annotation, (_, segments) in zip(written["annotations"], truths):
        assert annotation["file_name"] == f"{annotation['image_id']}.png"
        expected = [{"id": s["id"], "category_id": s["category_id"]} for s in segments]
        assert annotation["segments_info"] == expected


def _missing_image(predictions):
    return predictions[:1]


def _unlisted_segment(predictions):
    (ids, segments), *rest = predictions
    return [(ids, segments[1:]), *rest]


def _pixelless_segment(predictions):
    (ids, segments), *rest = predictions
    return [(ids, [*segments, {"id": 9, "category_id": 0, "isthing": True}]), *rest]


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(_missing_image, Exception), (_unlisted_segment, KeyError), (_pixelless_segment, KeyError)],
)
def test_inconsistent_predictions_are_refused(spoil, error, tmp_path, register):
    truths = random_maps(np.random.default_rng(9), num_images=2)
    predictions = spoil([as_prediction(*t) for t in truths])
    with pytest.raises(error):
        PanopticSet(truths, tmp_path, register).evaluate(predictions)


def test_real_sample_against_itself(shared_data, register):
    folder = shared_data / "coco_panoptic_sample"
    content = json.loads((folder / "panoptic_examples.json").read_text())
    ids = [c["id"] for c in content["categories"]]
    to_contiguous = {dataset_id: index for index, dataset_id in enumerate(ids)}
    things = {c["id"]: to_contiguous[c["id"]] for c in content["categories"] if c["isthing"]}
    name = register(
        panoptic_json=str(folder / "panoptic_examples.json"),
        panoptic_root=str(folder / "panoptic_examples"),
        thing_dataset_id_to_contiguous_id=things,
        stuff_dataset_id_to_contiguous_id=to_contiguous,
    )
    evaluator = COCOPanopticEvaluator(name)
    evaluator.reset()
    for annotation in content["annotations"]:
        rgb = np.asarray(Image.open(folder / "panoptic_examples" / annotation["file_name"]))
        panoptic = torch.as_tensor(rgb.astype(np.int32) @ np.array([1, 256, 65536], np.int32))
        segments = [
            {
                "id": s["id"],
                "category_id": to_contiguous[s["category_id"]],
                "isthing": s["category_id"] in things,
            }
            for s in annotation["segments_info"]
        ]
        image = {"image_id": annotation["image_id"], "file_name": annotation["file_name"]}
        evaluator.process([image], [{"panoptic_seg": (panoptic, segments)}])
    with contextlib.redirect_stdout(io.StringIO()):
        scores = evaluator.evaluate()["panoptic_seg"]
    assert scores == pytest.approx(dict.fromkeys(KEYS, 100.0))


class TestAgainstPanopticApi:
    """Our own PQ, where it is used, and the reference implementation."""

    @pytest.fixture(autouse=True)
    def _modules(self):
        self.ours = pytest.importorskip(
            "detectron2.evaluation._panoptic_quality", reason="the real package has no own PQ"
        )
        self.reference = pytest.importorskip("panopticapi.evaluation")

    def write(self, folder, maps, segments_of):
        (folder / "png").mkdir(parents=True)
        annotations = []
        for index, (ids, segments) in enumerate(maps):
            Image.fromarray(to_rgb(ids)).save(folder / "png" / f"{index}.png")
            annotations.append(
                {
                    "image_id": index,
                    "file_name": f"{index}.png",
                    "segments_info": segments_of(segments),
                }
            )
        content = {"annotations": annotations, "categories": CATEGORIES}
        (folder / "a.json").write_text(json.dumps(content))
        return folder / "a.json", folder / "png"

    @pytest.mark.parametrize("cpus", [{0}, {0, 1, 2}])
    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_equal(self, corruption, cpus, tmp_path, monkeypatch):
        monkeypatch.setattr(self.ours, "_IMAGES_PER_PROCESS", 1)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: cpus, raising=False)
        rng = np.random.default_rng(100 + sorted(CORRUPTIONS).index(corruption))
        truths = random_maps(rng, num_images=4)
        predictions = [CORRUPTIONS[corruption](*as_prediction(*t), rng) for t in truths]
        to_dataset = {v: k for k, v in TO_CONTIGUOUS.items()}
        gt_json, gt_png = self.write(tmp_path / "gt", truths, list)
        pred_json, pred_png = self.write(
            tmp_path / "pred",
            predictions,
            lambda segments: [
                {"id": s["id"], "category_id": to_dataset[s["category_id"]]} for s in segments
            ],
        )
        arguments = [str(path) for path in (gt_json, pred_json, gt_png, pred_png)]
        monkeypatch.setattr(  # the same function, without its process pool
            self.reference,
            "pq_compute_multi_core",
            lambda pairs, *rest: self.reference.pq_compute_single_core(0, pairs, *rest),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            expected = self.reference.pq_compute(*arguments)
        result = self.ours.pq_compute(*arguments)
        assert result["per_class"].keys() == expected["per_class"].keys()
        for category, values in expected["per_class"].items():
            assert result["per_class"][category] == pytest.approx(values, abs=1e-12)
        for group in ("All", "Things", "Stuff"):
            assert result[group] == pytest.approx(expected[group], abs=1e-12)

    @pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
    def test_two_processes_share_the_images(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        items = list(range(2 * self.ours._IMAGES_PER_PROCESS + 1))
        done = self.ours._map(lambda item: (item, os.getpid()), items)
        assert [item for item, _ in done] == items
        pids = [pid for _, pid in done]
        assert set(pids[::2]) == {os.getpid()}
        assert len(set(pids[1::2])) == 1
        assert set(pids[1::2]) != {os.getpid()}

    @pytest.mark.parametrize("cpus", [{0}, {0, 1}])
    @pytest.mark.parametrize("wrong", [0, 1])  # of the first process, and of the second
    def test_an_error_of_any_process_is_raised(self, wrong, cpus, tmp_path, monkeypatch):
        monkeypatch.setattr(self.ours, "_IMAGES_PER_PROCESS", 1)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: cpus, raising=False)
        maps = random_maps(np.random.default_rng(0), num_images=2)
        gt = self.write(tmp_path / "gt", maps, list)
        pred = self.write(tmp_path / "pred", maps, list)
        content = json.loads(pred[0].read_text())
        content["annotations"][wrong]["segments_info"][0]["category_id"] = 999
        pred[0].write_text(json.dumps(content))
        with pytest.raises(KeyError, match=f"image {wrong}: unknown category_id 999"):
            self.ours.pq_compute(gt[0], pred[0], gt[1], pred[1])

    def test_image_without_ground_truth_segments(self):
        matching = self.ours.match_segments(
            np.zeros((4, 5), int), np.ones((4, 5), int), [], [{"id": 1, "category_id": 2}]
        )
        assert not len(matching.fp_categories)  # all of it lies on void
        assert not len(matching.tp_categories)

    def test_group_without_categories_is_nan(self):
        quality = self.ours.PanopticQuality([{"id": 1, "isthing": 1}])
        assert np.isnan(quality.averages()["Stuff"]["pq"])

    def test_sizes_must_agree(self):
        with pytest.raises(ValueError, match="shape"):
            self.ours.match_segments(np.zeros((4, 5), int), np.ones((5, 4), int), [], [])

    def test_an_id_that_no_png_can_hold_is_a_miss_or_named(self):
        ids, large = np.ones((4, 5), int), [{"id": 2**24 + 5, "category_id": 2, "area": 9}]
        matching = self.ours.match_segments(ids, ids * 0, large, [])
        assert matching.fn_categories.tolist() == [2]
        with pytest.raises(KeyError, match="16777221"):
            self.ours.match_segments(ids, ids * 0, [], large)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    def test_ids_survive_the_png(self, mode):
        ids = np.array([[0, 1, 256], [65536, 2**24 - 1, 3_000_000]])
        file = io.BytesIO()
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        colours = {"palette": Image.Palette.ADAPTIVE, "colors": 6} if mode == "P" else {}
        Image.fromarray(rgb).convert(mode, **colours).save(file, format="PNG")
        file.seek(0)
        assert (self.ours.read_ids(file) == ids).all()

    def test_any_rows_of_a_png_are_read(self):
        ids = np.random.default_rng(0).integers(0, 2**24, (37, 53)).cumsum(0) % 2**24
        ids[10:20] = ids[10]  # so that an encoder chooses different filters
        file = io.BytesIO()
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        Image.fromarray(rgb).save(file, format="PNG")
        file.seek(0)
        assert (self.ours.read_ids(file) == ids).all()

    def test_half_a_picture_is_named(self, tmp_path):
        file = io.BytesIO()
        Image.fromarray(np.ones((9, 9, 3), np.uint8)).save(file, format="PNG")
        (tmp_path / "map.png").write_bytes(file.getvalue()[:-25])
        with pytest.raises(ValueError, match=r"map\.png is not a picture"):
            self.ours.read_ids(tmp_path / "map.png")

    def test_what_is_no_picture_is_named(self, tmp_path):
        (tmp_path / "map.png").write_text("not a PNG")
        with pytest.raises(ValueError, match="is not a picture"):
            self.ours.read_ids(tmp_path / "map.png")
