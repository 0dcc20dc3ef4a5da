"""Results of tiles become those of the whole: things that cross borders, scores, damaged edges."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from detectron2.structures import Boxes, Instances
from freeseg.inference import segment_in_tiles
from freeseg.inference.joining import JoinedInstances, JoinedLabels, JoinedPanoptic, agreement_of

SKY, SEA = 4, 5  # stuff; 0 to 3 are things
HEIGHT, WIDTH = 192, 320


def instances_of(size, masks, scores, labels):
    return Instances(
        size,
        pred_masks=masks,
        pred_boxes=Boxes(torch.zeros(len(masks), 4)),  # nobody reads a tile's own boxes
        scores=torch.tensor(scores, dtype=torch.float32),
        pred_classes=torch.tensor(labels, dtype=torch.int64),
    )


class Numbers:
    """Answers by a picture whose values are numbers of things, or of stuff.

    What is within `damage` (rows, columns) of its input's edges it takes for nothing.
    """

    def __init__(self, label_of, damage=(0, 0), seed=0, has_scores=True):
        self.label_of, self.damage, self.has_scores = label_of, damage, has_scores
        self.chance = random.Random(seed)
        self.scores_of = {number: [] for number in label_of}

    def __call__(self, batch):
        (one,) = batch
        numbers = one["image"][0].long()
        rows, columns = self.damage
        sound = torch.zeros_like(numbers, dtype=torch.bool)
        sound[rows : numbers.shape[0] - rows, columns : numbers.shape[1] - columns] = True
        down, across = one["height"] // numbers.shape[0], one["width"] // numbers.shape[1]
        numbers = torch.where(sound, numbers, 0)
        numbers = numbers.repeat_interleave(down, 0).repeat_interleave(across, 1)
        found = [number for number in numbers.unique().tolist() if number]
        self.chance.shuffle(found)  # tiles number as they like
        scores = [round(self.chance.uniform(0.1, 1), 4) for _ in found]
        for number, score in zip(found, scores):
            self.scores_of[number].append(score)
        ids = torch.zeros_like(numbers, dtype=torch.int32)
        infos = []
        for index, (number, score) in enumerate(zip(found, scores), start=10):
            ids[numbers == number] = index
            label = self.label_of[number]
            info = {"id": index, "category_id": label, "isthing": label < SKY, "area": -1}
            infos.append({**info, "score": score} if self.has_scores else info)
        things = [(n, s) for n, s in zip(found, scores) if self.label_of[n] < SKY]
        masks = [numbers == number for number, _ in things]
        instances = instances_of(
            tuple(numbers.shape),
            torch.stack(masks) if masks else torch.zeros(0, *numbers.shape, dtype=torch.bool),
            [score for _, score in things],
            [self.label_of[number] for number, _ in things],
        )
        return [{"sem_seg": numbers, "panoptic_seg": (ids, infos), "instances": instances}]


def scene(seed):
    """A picture of numbered rectangles that do not touch, on two kinds of stuff; their labels."""
    chance = random.Random(seed)
    numbers = torch.full((HEIGHT, WIDTH), 1)
    numbers[:, WIDTH // 3 :] = 2
    label_of = {1: SKY, 2: SEA}
    while len(label_of) < 14:
        top, left = chance.randrange(HEIGHT - 8), chance.randrange(WIDTH - 8)
        height, width = chance.randint(6, 140), chance.randint(6, 200)
        around = numbers[max(top - 1, 0) : top + height + 1, max(left - 1, 0) : left + width + 1]
        if (around <= 2).all():
            number = len(label_of) + 1
            numbers[top : top + height, left : left + width] = number
            label_of[number] = chance.randrange(SKY)
    return numbers, label_of


def segmented(model, numbers, parts, scale=(1, 1)):
    height, width = numbers.shape
    inputs = {"image": numbers[None], "height": scale[0] * height, "width": scale[1] * width}
    return segment_in_tiles(model, inputs, parts)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_joined_things_are_those_of_the_picture_with_the_best_score_of_any_tile(seed, parts):
    numbers, label_of = scene(seed)
    model = Numbers(label_of, seed=seed)
    output = segmented(model, numbers, parts)
    assert torch.equal(output["sem_seg"], numbers)
    wanted = {
        number: (label, max(model.scores_of[number]), numbers == number)
        for number, label in label_of.items()
    }
    ids, infos = output["panoptic_seg"]
    assert ids.dtype == torch.int32
    assert len({info["id"] for info in infos}) == len(infos) == len(wanted)
    for info in infos:
        mask = ids == info["id"]
        label, score, expected = wanted[int(numbers[mask][0])]
        assert torch.equal(mask, expected)
        assert info == {
            "id": info["id"],
            "category_id": label,
            "isthing": label < SKY,
            "score": score,
            "area": int(expected.sum()),
        }
    found = output["instances"]
    best = sorted((row for row in wanted.values() if row[0] < SKY), key=lambda row: -row[1])
    assert len(found) == len(best)
    assert found.pred_classes.tolist() == [label for label, _, _ in best]
    assert found.scores.tolist() == pytest.approx([score for _, score, _ in best])
    for mask, box, (_, _, expected) in zip(found.pred_masks, found.pred_boxes.tensor, best):
        assert torch.equal(mask, expected)
        rows, columns = expected.nonzero().unbind(1)
        corners = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert box.tolist() == [float(side) for side in corners]


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_the_best_instances_of_the_whole_are_kept(limit):
    numbers, label_of = scene(0)
    inputs = {"image": numbers[None], "height": HEIGHT, "width": WIDTH}
    every, some = (
        segment_in_tiles(Numbers(label_of), inputs, 3, most)["instances"] for most in (None, limit)
    )
    assert len(every) > 7
    assert torch.equal(some.scores, every.scores[:limit])
    assert torch.equal(some.pred_masks, every.pred_masks[:limit])


def test_segments_without_scores_stay_without():
    numbers, label_of = scene(0)
    infos = segmented(Numbers(label_of, has_scores=False), numbers, 3)["panoptic_seg"][1]
    assert len(infos) == len(label_of)
    assert all("score" not in info for info in infos)


@pytest.mark.parametrize(("parts", "scale"), [(2, (1, 1)), (3, (1, 1)), (2, (2, 3))])
def test_no_tile_decides_at_its_own_edge(parts, scale):
    """An eighth of a tile's side may be wrong, and is told from the whole's one pixel later."""
    numbers, label_of = scene(1)
    margin = HEIGHT // parts // 8, WIDTH // parts // 8

    def differ(damage):
        model = Numbers(label_of, damage)
        output = segmented(model, numbers, parts, scale)
        asked = {"image": numbers[None], "height": scale[0] * HEIGHT, "width": scale[1] * WIDTH}
        whole = Numbers(label_of, damage)([asked])[0]
        return int((output["sem_seg"] != whole["sem_seg"]).sum())

    assert differ(margin) == 0
    assert differ((margin[0] + 1, margin[1])) > 0
    assert differ((margin[0], margin[1] + 1)) > 0


@pytest.mark.parametrize("parts", [2, 3])
def test_things_go_on_where_half_of_the_overlap_is_lost_at_each_edge(parts):
    numbers, label_of = scene(2)
    damage = HEIGHT // parts // 16, WIDTH // parts // 16
    output = segmented(Numbers(label_of, damage), numbers, parts)
    left = torch.zeros_like(numbers)
    inside = slice(damage[0], -damage[0]), slice(damage[1], -damage[1])
    left[inside] = numbers[inside]
    ids, infos = output["panoptic_seg"]
    assert torch.equal(ids > 0, left > 0)
    number_of = {info["id"]: int(left[ids == info["id"]][0]) for info in infos}
    assert sorted(number_of.values()) == sorted(set(left.unique().tolist()) - {0})
    for info in infos:
        assert info["area"] == (left == number_of[info["id"]]).sum()
        assert torch.equal(ids == info["id"], left == number_of[info["id"]])


STRIPS = [
    (slice(0, 4), slice(start, start + 6)) for start in (0, 3, 6)
]  # each shares three columns


def panoptic_of(mask, score, label=1):
    info = {"id": 7, "category_id": label, "isthing": True, "score": score, "area": 0}
    return torch.where(mask, 7, 0).int(), [info]


@pytest.mark.parametrize("scores", list(itertools.permutations([0.3, 0.9, 0.6])))
def test_a_joined_thing_has_the_best_score_whichever_tile_it_comes_from(scores):
    panoptic, instances = JoinedPanoptic((4, 12)), JoinedInstances((4, 12))
    mask = torch.ones(4, 6, dtype=torch.bool)
    for place, score in zip(STRIPS, scores):
        own = (0, 0 if place[1].start == 0 else 1)
        panoptic.add(panoptic_of(mask, score), place, own)
        instances.add(instances_of((4, 6), mask[None], [score], [1]), place, own)
    ((info,), found) = panoptic.result()[1], instances.result()
    assert (info["score"], info["area"]) == (0.9, 48)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.pred_boxes.tensor.tolist() == [[0, 0, 12, 4]]


@pytest.mark.parametrize("scores", list(itertools.permutations([0.5, None, 0.2])))
def test_a_tile_that_tells_no_score_takes_none_away(scores):
    panoptic, mask = JoinedPanoptic((4, 12)), torch.ones(4, 6, dtype=torch.bool)
    for place, score in zip(STRIPS, scores):
        ids, (info,) = panoptic_of(mask, score)
        panoptic.add((ids, [info]), place, (0, 1))
    assert panoptic.result()[1][0]["score"] == 0.5


@pytest.mark.parametrize("scores", list(itertools.permutations([0.3, 0.9, 0.6])))
def test_a_later_tile_that_shows_two_things_to_be_one_joins_them(scores):
    """Two legs in two tiles above, which meet in the tile below; a third thing stays apart."""
    size = (12, 12)
    picture = torch.zeros(size, dtype=torch.bool)
    picture[:, 1:4] = picture[:, 8:11] = picture[8:, 1:11] = True
    panoptic, instances = JoinedPanoptic(size), JoinedInstances(size)
    places = [(slice(0, 8), slice(0, 6)), (slice(0, 8), slice(6, 12)), (slice(4, 12), slice(0, 12))]
    for place, own, score in zip(places, [(0, 0), (0, 0), (2, 0)], scores):
        mask = picture[place]
        panoptic.add(panoptic_of(mask, score), place, own)
        other = torch.zeros_like(mask)
        other[0, 5] = place[0].start == 0
        masks, labels = torch.stack([mask, other]), [1, 1]
        instances.add(instances_of(mask.shape, masks, [score, 0.1], labels), place, own)
    ids, (info,) = panoptic.result()
    assert torch.equal(ids == info["id"], picture)
    assert (info["score"], info["area"]) == (0.9, int(picture.sum()))
    found = instances.result()
    assert torch.equal(found.pred_masks[0], picture)
    assert found.scores.tolist() == pytest.approx([0.9, 0.1, 0.1])
    assert found.pred_masks[1:].sum((1, 2)).tolist() == [1, 1]


def shared_by(columns_of_first, columns_of_second):
    """Two strips that share three columns of four pixels; what each says is a thing."""
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    for mask, cells in zip(masks, (columns_of_first, columns_of_second)):
        for row, column in cells:
            mask[row, column] = True
    return masks


@pytest.mark.parametrize(("common", "is_one"), [(1, False), (2, True), (3, True)])
def test_exactly_half_of_the_smaller_part_is_enough_to_be_one(common, is_one):
    """Of four pixels here and six there, that both tiles could see, some are the same."""
    shared = [(row, column) for column in range(3) for row in range(4)]  # of the second strip
    second, first = shared[:4], shared[4 - common : 10 - common]
    masks = shared_by([(row, column + 3) for row, column in first] + [(0, 0)], [*second, (3, 5)])
    panoptic, instances = JoinedPanoptic((4, 9)), JoinedInstances((4, 9))
    for mask, place in zip(masks, STRIPS):
        panoptic.add(panoptic_of(mask, 0.5), place, (0, 0))
        instances.add(instances_of((4, 6), mask[None], [0.5], [1]), place, (0, 0))
    assert len(panoptic.result()[1]) == len(instances.result()) == (1 if is_one else 2)


@pytest.mark.parametrize("label", [1, 2])
def test_of_two_classes_nothing_is_joined(label):
    panoptic, instances = JoinedPanoptic((4, 9)), JoinedInstances((4, 9))
    mask = torch.ones(4, 6, dtype=torch.bool)
    for place, its in zip(STRIPS, (1, label)):
        panoptic.add(panoptic_of(mask, 0.5, its), place, (0, 1))
        instances.add(instances_of((4, 6), mask[None], [0.5], [its]), place, (0, 1))
    assert [info["category_id"] for info in panoptic.result()[1]] == list(dict.fromkeys([1, label]))
    assert sorted(instances.result().pred_classes) == list(dict.fromkeys([1, label]))


def test_what_a_tile_tells_apart_stays_apart():
    """Two things of a tile go on with one of the last: with the better of the two alone."""
    first = torch.ones(1, 4, 6, dtype=torch.bool)
    upper = torch.zeros(4, 6, dtype=torch.bool)
    upper[:3] = True
    panoptic, instances = JoinedPanoptic((4, 9)), JoinedInstances((4, 9))
    panoptic.add(panoptic_of(first[0], 0.5), STRIPS[0], (0, 0))
    instances.add(instances_of((4, 6), first, [0.5], [1]), STRIPS[0], (0, 0))
    infos = [
        {"id": number, "category_id": 1, "isthing": True, "score": score, "area": 0}
        for number, score in ((2, 0.4), (3, 0.3))
    ]
    panoptic.add((torch.where(upper, 2, 3).int(), infos), STRIPS[1], (0, 1))
    masks = torch.stack([upper, ~upper])
    instances.add(instances_of((4, 6), masks, [0.4, 0.3], [1, 1]), STRIPS[1], (0, 1))
    ids, (whole, part) = panoptic.result()
    assert (whole["score"], part["score"]) == (0.5, 0.3)
    assert (ids == part["id"]).nonzero().tolist() == [[3, column] for column in range(4, 9)]
    assert (whole["area"], part["area"]) == (31, 5)
    found = instances.result()
    assert found.scores.tolist() == pytest.approx([0.5, 0.3])
    assert found.pred_boxes.tensor.tolist() == [[0, 0, 9, 4], [3, 3, 9, 4]]


def test_agreement_is_the_share_of_the_smaller_mask():
    masks = torch.zeros(3, 4, 5, dtype=torch.bool)
    masks[0, 0, :4] = masks[1, 0, 3:] = masks[1, 1] = True
    assert agreement_of(masks[0], masks[1]) == agreement_of(masks[1], masks[0]) == 1 / 4
    assert agreement_of(masks[0], masks[0]) == 1
    assert agreement_of(masks[0], masks[2]) == agreement_of(masks[2], masks[2]) == 0


def test_classes_beyond_a_byte_keep_their_numbers():
    labels = JoinedLabels((1, 260))
    labels.add(torch.eye(260)[:, None], (slice(0, 1), slice(0, 260)), (0, 0))
    assert labels.result().dtype == torch.int64
    assert labels.result()[0].tolist() == list(range(260))


def test_boxes_without_masks_are_not_joined():
    boxes = Instances((4, 6))
    boxes.pred_boxes, boxes.scores = Boxes(torch.zeros(1, 4)), torch.ones(1)
    boxes.pred_classes = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="boxes of parts of it cannot be joined: make it smaller"):
        JoinedInstances((4, 12)).add(boxes, (slice(0, 4), slice(0, 6)), (0, 0))
