"""Features: rows are images, whatever a kind of features holds beside the base's frames."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest
import torch
from torch import Tensor

from freeseg.structures import Frame, ImageFeatures, PyramidFeatures, sizes_of

FRAMES = tuple(Frame.of_whole((40 + n, 60), (20 + n, 30), (32, 32)) for n in range(3))


@dataclass(frozen=True, eq=False)
class TokenFeatures(ImageFeatures):
    """A kind of somebody else's: one tensor, several, none, and what is no tensor."""

    tokens: Tensor
    taps: tuple[Tensor, ...] = ()
    positions: Tensor | None = None
    names: tuple[str, ...] = ()


def pyramid(batch: int = 3, with_pixels: bool = True) -> PyramidFeatures:
    rows = torch.arange(batch)
    return PyramidFeatures(
        FRAMES[:batch],
        tuple(rows.view(-1, 1, 1, 1).expand(batch, 4, side, side).float() for side in (1, 2)),
        rows.view(-1, 1, 1, 1).expand(batch, 5, 8, 8).double(),
        rows.view(-1, 1, 1, 1).expand(batch, 3, 32, 32).byte() if with_pixels else None,
    )


def tokens(batch: int = 3) -> TokenFeatures:
    rows = torch.arange(batch).view(-1, 1, 1)
    return TokenFeatures(
        FRAMES[:batch],
        rows.expand(batch, 7, 2).half(),
        (rows.expand(batch, 1, 1), rows.expand(batch, 2, 2).float()),
        names=("a", "b"),
    )


def tensors_of(features: ImageFeatures) -> dict[str, Tensor]:
    found = {}
    for each in fields(features):
        value = getattr(features, each.name)
        if isinstance(value, Tensor):
            found[each.name] = value
        elif value and isinstance(value[0], Tensor):
            found.update({f"{each.name}.{n}": one for n, one in enumerate(value)})
    return found


def assert_same(first: ImageFeatures, second: ImageFeatures) -> None:
    assert type(first) is type(second)
    assert first.frames == second.frames
    ours, theirs = tensors_of(first), tensors_of(second)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("make", [pyramid, tokens])
@pytest.mark.parametrize("rows", [[0], [2, 0], [1, 1, 1, 0], []], ids=str)
def test_selected_rows_are_those_images_in_every_tensor(make, rows):
    selected = make().select(rows)
    assert selected.batch_size == len(rows)
    assert selected.frames == tuple(FRAMES[row] for row in rows)
    for name, tensor in tensors_of(selected).items():
        assert torch.equal(tensor, tensors_of(make())[name][rows])
        assert len(tensor) == len(rows)


@pytest.mark.parametrize("make", [pyramid, tokens])
@pytest.mark.parametrize(("first", "second"), [([2, 0, 1], [1, 2]), ([1, 1, 2], [0, 2, 2, 1])])
def test_selections_compose(make, first, second):
    at_once = make().select([first[row] for row in second])
    assert_same(make().select(first).select(second), at_once)


@pytest.mark.parametrize("make", [pyramid, tokens])
def test_all_rows_in_their_order_are_the_features_themselves(make):
    features = make()
    assert features.select([0, 1, 2]) is features
    assert features.select(range(3)) is features
    assert features.select([0, 1]) is not features
    assert features.select([0, 2, 1]) is not features


def test_what_is_no_tensor_stays():
    assert tokens().select([1]).names == ("a", "b")
    assert tokens().select([1]).positions is None


@pytest.mark.parametrize("row", [3, -4])
def test_rows_that_are_not_there_are_refused(row):
    with pytest.raises(IndexError):
        pyramid().select([row])


def test_bytes_are_counted_by_hand():
    levels = 3 * 4 * (1 * 1 + 2 * 2) * 4
    assert pyramid(with_pixels=False).nbytes == levels + 3 * 5 * 8 * 8 * 8
    assert pyramid().nbytes == levels + 3 * 5 * 8 * 8 * 8 + 3 * 3 * 32 * 32
    assert tokens().nbytes == 3 * 7 * 2 * 2 + 3 * 1 * 8 + 3 * 4 * 4
    assert pyramid().select([1]).nbytes * 3 == pyramid().nbytes


@pytest.mark.parametrize("make", [pyramid, tokens])
def test_every_tensor_goes_to_a_device(make):
    """The device that holds nothing: shapes and types are left."""
    there = make().to("meta")
    assert there.frames == make().frames
    for name, tensor in tensors_of(make()).items():
        found = tensors_of(there)[name]
        assert found.device.type == "meta"
        assert (found.shape, found.dtype) == (tensor.shape, tensor.dtype)
    assert_same(make().to("cpu"), make())


def test_changes_are_made_to_a_copy():
    features = pyramid()
    before = {name: tensor.clone() for name, tensor in tensors_of(features).items()}
    features.select([2, 1])
    features.to("meta")
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(features).items())
    assert features.frames == FRAMES


def test_sizes_are_those_of_the_frames():
    features = pyramid()
    assert features.padded_size == (32, 32)
    assert features.image_sizes == ((20, 30), (21, 30), (22, 30))
    assert sizes_of(features.levels) == [(1, 1), (2, 2)]


def test_other_frames_leave_the_tensors():
    moved = tuple(Frame((80, 90), (20, 30), (32, 32), (10, 10, 40, 30)) for _ in range(3))
    features = pyramid()
    assert features.with_frames(moved).frames == moved
    assert all(
        one is other
        for one, other in zip(
            tensors_of(features.with_frames(moved)).values(), tensors_of(features).values()
        )
    )


@pytest.mark.parametrize("field", ["levels", "mask_features", "pixels", "frames"])
def test_one_tensor_of_another_number_of_images_is_refused(field):
    features, other = pyramid(3), pyramid(2)
    given = {each.name: getattr(features, each.name) for each in fields(features)}
    with pytest.raises(ValueError, match="features hold batches of"):
        PyramidFeatures(**{**given, field: getattr(other, field)})


def test_the_old_call_makes_a_pyramid_of_whole_photos():
    made = pyramid(2, with_pixels=False)
    sizes = ((20, 30), (32, 32))
    old = ImageFeatures(made.levels, made.mask_features, (32, 32), sizes)
    assert type(old) is PyramidFeatures
    assert old.padded_size == (32, 32)
    assert old.image_sizes == sizes
    assert [frame.photo_size for frame in old.frames] == list(sizes)
    assert_same(old, PyramidFeatures.of_sizes(made.levels, made.mask_features, (32, 32), sizes))
