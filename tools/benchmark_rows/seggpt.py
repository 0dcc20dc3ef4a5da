"""SegGPT against Hugging Face's port with the same weights."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmark_rows.contest import Contest, Row, assert_close
from freeseg import build_model
from freeseg.checkpoints import KEY_MAPS, config_from_hugging_face
from freeseg.systems.seggpt.training import INSTANCE
from freeseg.tracking import SystemView, Tracker

TOLERANCE = 1e-3  # of normalised pixels, after 24 blocks
FRAMES, MEMORY = 20, 8


class _AtLeast(int):
    """Mends the port: it averages the two streams together in the block before they are one."""

    __gt__ = int.__ge__


def _pair():
    """A port of the release's size with random weights, and ours with the same."""
    import transformers

    torch.manual_seed(0)
    theirs = transformers.SegGptForImageSegmentation(transformers.SegGptConfig()).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.config.save_pretrained(folder)
        cfg = config_from_hugging_face(Path(folder))
    cfg.MODEL.DEVICE = "cpu"
    ours = build_model(cfg).eval()
    with torch.no_grad():
        for layer in theirs.model.encoder.layers:  # tables of zeros would hide a fault
            for table in (layer.attention.rel_pos_h, layer.attention.rel_pos_w):
                table.normal_(std=0.02)
    ours.load_state_dict(KEY_MAPS["hf-seggpt"].convert(theirs.state_dict()).state)
    theirs.model.encoder.config.merge_index = _AtLeast(theirs.config.merge_index)
    return ours, theirs


def _normalised(ours, pictures: Tensor) -> Tensor:
    return (pictures - ours.pixel_mean) / ours.pixel_std


def _asked_theirs(theirs, photos: Tensor, targets: Tensor, query: Tensor) -> Tensor:
    """The query's half [3, S, S] of the first example's row."""
    found = theirs(
        pixel_values=query.expand_as(photos),
        prompt_pixel_values=photos,
        prompt_masks=targets,
        feature_ensemble=len(photos) > 1,
        embedding_type="instance",
    )
    return found.pred_masks[0, :, query.shape[-1] :]


def _examples(count: int) -> Contest:
    """A photo under some examples, all of them new."""
    ours, theirs = _pair()
    side = ours.network.sizes.side
    photos, targets = (
        _normalised(ours, torch.randint(0, 256, (count, 3, side, side))) for _ in range(2)
    )
    query = _normalised(ours, torch.randint(0, 256, (3, side, side)))
    network = ours.network

    @torch.inference_mode()
    def answer():
        stream = network.target_stream(targets, INSTANCE)
        patches = network.patches(query[None, None])
        seen = network.photo_stream(network.patches(photos), patches, INSTANCE)
        taps = network.after_merge(network.merged(stream, seen), upper_rows=1)
        return [network.decode(taps.lower[:, 0], taps.upper[:, 0, -1])[0]]

    @torch.inference_mode()
    def answer_theirs():
        return [_asked_theirs(theirs, photos, targets, query)]

    return Contest(answer, answer_theirs, lambda one, other: assert_close(one, other, TOLERANCE))


def _video() -> Contest:
    """A clip whose frames are remembered, with a mask on the first."""
    ours, theirs = _pair()
    side = ours.network.sizes.side
    clip = torch.randint(0, 256, (FRAMES, 3, side, side), dtype=torch.uint8)
    mask = torch.zeros(side, side, dtype=torch.int32)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 1

    def track() -> list[Tensor]:
        tracker = Tracker(memory=MEMORY, min_score=0.0)
        views = [SystemView(ours, ours.photo_input, each.permute(1, 2, 0).numpy()) for each in clip]
        return [tracker.step(v, mask if n == 0 else None).labels for n, v in enumerate(views)][1:]

    @torch.inference_mode()
    def track_theirs() -> list[Tensor]:
        memory: list[tuple[Tensor, Tensor]] = []
        first, found = (clip[0], mask), []
        for frame in clip[1:]:
            shown: Sequence[tuple[Tensor, Tensor]] = [first, *memory]
            photos = _normalised(ours, torch.stack([photo for photo, _ in shown]))
            white = torch.stack([labels * 255 for _, labels in shown])[:, None]
            targets = _normalised(ours, white.expand(-1, 3, -1, -1))
            query = _normalised(ours, frame)
            painted = ours.colours_of(_asked_theirs(theirs, photos, targets, query))
            labels = (painted.norm(dim=0) > (painted - 255).norm(dim=0)).int()
            if labels.any():
                memory = [*memory, (frame, labels)][-MEMORY:]
            found.append(labels)
        return found

    def check(one: list[Tensor], other: list[Tensor]) -> None:
        """A pixel between two colours may fall to either side, and what it does stays in memory."""
        same = [float((a == b).float().mean()) for a, b in zip(one, other, strict=True)]
        assert min(same) > 0.99, same

    return Contest(track, track_theirs, check)


ROWS = (
    Row(
        "seggpt-one",
        "SegGPT ViT-L, a photo under one example",
        "Hugging Face's port",
        1.5,
        lambda: _examples(1),
    ),
    Row(
        "seggpt-four",
        "SegGPT ViT-L, a photo under four examples",
        "Hugging Face's port, mended",
        1.5,
        lambda: _examples(4),
    ),
    Row(
        "seggpt-video",
        f"a video of {FRAMES} frames, {MEMORY} of them remembered",
        "a loop over Hugging Face's port, mended",
        2.0,
        _video,
    ),
)
