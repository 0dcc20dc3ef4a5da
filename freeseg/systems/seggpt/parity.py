"""SegGPT and Painter on stored inputs; config.json has the names of the release's constructor.

Shapes: N examples, S side of a square, h w rows and columns of patches of a canvas, C width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, get_cfg
from freeseg.config import add_freeseg_config
from freeseg.names import build_model
from freeseg.parity.golden import Golden
from freeseg.systems.seggpt.attention import Halves
from freeseg.systems.seggpt.system import SegGPT
from freeseg.systems.seggpt.training import INSTANCE, SEMANTIC, Canvases, painting_loss
from freeseg.systems.seggpt.tuning import example_gradients

LOSSES = ("l1", "l2", "l1l2")
THRESHOLD = 128  # of the mean of the channels, above which the release sees an object
DARK = 300  # Painter's: less visible target than this, summed in 0..1, weighs nothing
_INPUTS = (
    *("prompt_images", "prompt_targets", "query_image", "query_target"),
    *(f"train.{part}" for part in ("images", "targets", "mask", "valid", "seg_type")),
    *("tuning.images", "tuning.targets", "pipeline.photo", "video.frames", "video.prompt_target"),
)
NOT_COMPARED = {
    **dict.fromkeys(_INPUTS, "the input"),
    **{
        f"pipeline.prompt_{part}_{n}": "the input" for part in ("photo", "target") for n in range(9)
    },
}
UNITS = {  # of colours 0..255, and of such that are rounded
    **dict.fromkeys(("pipeline.one.output", "pipeline.many.output", "video.output"), 100.0),
    **dict.fromkeys(("pipeline.one.blend", "pipeline.many.blend", "video.blend"), 10_000.0),
}


def config_of(values: Mapping[str, Any], *, kinds: bool = True) -> CfgNode:
    """A configuration of a stored model's sizes."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    height, width = values["img_size"]
    if height != 2 * width or values["window_size"]:
        raise ValueError("the release's models have canvases of two squares and no windows")
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "SegGPT"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.TEST_RESIZE.SIZE, cfg.INPUT.TEST_RESIZE.FILTER = [width, width], "bicubic"
    node = cfg.MODEL.SEGGPT
    node.IMAGE_SIZE, node.PATCH_SIZE = width, values["patch_size"]
    node.EMBED_DIM, node.DEPTH = values["embed_dim"], values["depth"]
    node.NHEADS, node.MLP_RATIO = values["num_heads"], float(values["mlp_ratio"])
    node.QKV_BIAS, node.NORM_EPS = values["qkv_bias"], values["norm_eps"]
    node.PRETRAIN_GRID = values["pretrain_img_size"] // values["patch_size"]
    node.MERGE_BLOCK, node.TAPS = values["merge_idx"], list(values["out_indices"])
    node.DECODER_DIM, node.DROP_PATH = values["decoder_embed_dim"], values["drop_path_rate"]
    node.TRAIN.LOSS = values["loss_func"].replace("smoothl1", "smooth_l1")
    node.KINDS = kinds
    return cfg


def run_seggpt(golden: Golden) -> dict[str, Tensor]:
    """All that is stored: predictions, training, tuning, photos and a clip from their files."""
    values = json.loads((golden.folder / "config.json").read_text())
    model: SegGPT = build_model(config_of(values)).eval()
    golden.fill(model)
    stored, found = golden.tensors, {}
    with torch.no_grad():
        for case in golden.about("predictions"):
            found.update(_Case(model, stored, case).run())
        found.update(_pipeline(model, stored, golden.about("pipeline")))
        found.update(_video(model, stored, golden.about("video")))
        painter = build_model(config_of(values, kinds=False)).eval()
        painter.load_state_dict({name: golden.weights[name] for name in painter.state_dict()})
        found.update(_painter(painter, model, stored))
    with torch.enable_grad():
        found.update(_training(model, stored, golden.about("grad_norm_names")))
        found.update(_tuning(model, stored))
    return {name: value.detach() for name, value in found.items() if name in stored}


def _normalised(model: SegGPT, pictures: Tensor) -> Tensor:
    """[..., 3, H, W] of uint8 [..., H, W, 3]."""
    return (pictures.movedim(-1, -3) - model.pixel_mean) / model.pixel_std


class _Case:
    """One prediction of examples out of the bank."""

    def __init__(self, model: SegGPT, stored: Mapping[str, Tensor], case: Mapping[str, Any]):
        self.model, self.name = model, case["name"]
        self.kind, self.mean_from = case["seg_type"], case["merge_between_batch"]
        rows = case["examples"]
        self.photos = _normalised(model, stored["prompt_images"][rows])
        self.targets = _normalised(model, stored["prompt_targets"][rows])
        self.query = _normalised(model, stored["query_image"])

    def run(self) -> dict[str, Tensor]:
        """Every row's query half, and with one example the other half and what is on the way."""
        network = self.model.network
        with _blocks(network) as seen:
            taps = self._taps()
        count = len(self.photos)
        rows = [  # the query of a row sees the last pixels of the row's example
            network.decode(taps.lower[:, row if self._is_late else 0], taps.upper[:, row, -1])[0]
            for row in range(count)
        ]
        whole = taps.rows()[0]  # [N, h, w, T C]
        merge = network.sizes.merge_block
        found = {
            "pred_query": rows[0],
            "query_rows": torch.stack([row[:, :2] for row in rows]),
            "taps": whole,
            "pred_prompt": network.decode(whole)[0, :, : rows[0].shape[-1]],
            "tokens_embedded": torch.cat(seen["in.0"][::-1]),
            "tokens_block_0": torch.cat(seen["out.0"][::-1]),
            f"tokens_block_{merge}": torch.cat(seen[f"out.{merge}"][::-1]),
            "tokens_merged": seen[f"in.{merge + 1}"][0],
            "loss": self._loss(rows),
        }
        return {f"{self.name}.{name}": value for name, value in found.items()}

    @property
    def _is_late(self) -> bool:
        """Whether canvases differ before the ensemble begins."""
        return self.mean_from > 0

    def _taps(self) -> Halves:
        network, count = self.model.network, len(self.photos)
        if not self._is_late:
            target = network.target_stream(self.targets, self.kind)
            query = network.patches(self.query[None, None])
            photo = network.photo_stream(network.patches(self.photos), query, self.kind)
            return network.after_merge(network.merged(target, photo))
        streams = []
        upper = network.patches(self.targets)[None]
        masked = network.mask_token.expand_as(upper)
        queries = network.patches(self.query[None, None]).expand_as(upper)
        photos = network.patches(self.photos)[None]
        for halves, is_target in ((Halves(upper, masked), True), (Halves(photos, queries), False)):
            placed = network.placed(halves, is_target, self.kind)
            streams.append(network.before_merge(placed, self.mean_from))
        assert streams[0].upper.shape[1] == count
        return network.after_merge(network.merged(*streams), self.mean_from)

    def _loss(self, rows: Sequence[Tensor]) -> Tensor:
        """Against the example's target, as the release computes it where nobody asks for it."""
        predicted = torch.stack(list(rows))
        return painting_loss(predicted, self.targets, torch.ones_like(predicted), self.model.loss)


@contextmanager
def _blocks(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """What goes into blocks and comes out, as [N, h, w, C]: of targets first, then of photos."""
    seen: dict[str, list[Tensor]] = {}

    def keep(number: int) -> Any:
        def hook(_: nn.Module, inputs: Any, output: Halves) -> None:
            seen.setdefault(f"in.{number}", []).append(inputs[0].rows()[0])
            seen.setdefault(f"out.{number}", []).append(output.rows()[0])

        return hook

    blocks: Any = network.blocks
    handles = [block.register_forward_hook(keep(number)) for number, block in enumerate(blocks)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _canvases(model: SegGPT, stored: Mapping[str, Tensor]) -> Canvases:
    return Canvases(
        _normalised(model, stored["train.images"]),
        _normalised(model, stored["train.targets"]),
        stored["train.mask"].bool(),
        stored["train.valid"].float(),
        stored["train.seg_type"],
    )


def _painted_loss(model: SegGPT, canvases: Canvases, kind: str) -> Tensor:
    painted = model.network(canvases.images, canvases.targets, canvases.masked, canvases.kinds)
    return painting_loss(painted, canvases.targets, canvases.hidden_weights, kind)


def _training(
    model: SegGPT, stored: Mapping[str, Tensor], names: Sequence[str]
) -> dict[str, Tensor]:
    """The losses of a stored batch, and the gradient of the configuration's."""
    canvases = _canvases(model, stored)
    with torch.no_grad():
        found = {f"train.loss_{kind}": _painted_loss(model, canvases, kind) for kind in LOSSES}
    loss = _painted_loss(model, canvases, model.loss)
    parameters = dict(model.network.named_parameters())
    gradients = dict(
        zip(parameters, torch.autograd.grad(loss, list(parameters.values()), allow_unused=True))
    )
    given = {name: value for name, value in gradients.items() if value is not None}
    norms = [given[name].norm().log() if name in given else torch.tensor(-torch.inf)
             for name in names]  # fmt: skip
    found["train.loss"], found["train.log_grad_norms"] = loss, torch.stack(norms)
    for name, gradient in given.items():
        found[f"train.grad_over_max.{name}"] = gradient / gradient.abs().max()
    return found


def _tuning(model: SegGPT, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of a learned example, of a batch of two."""
    example = [_normalised(model, stored[f"prompt_{part}"][0]) for part in ("images", "targets")]
    queries = [_normalised(model, stored[f"tuning.{part}"]) for part in ("images", "targets")]
    loss, image, target = example_gradients(model, *example, *queries, kind=SEMANTIC)
    return {
        "tuning.loss": loss,
        "tuning.grad_image_x1000": 1000 * image,
        "tuning.grad_target_x1000": 1000 * target,
    }


def _released(model: SegGPT, photos: Tensor, targets: Tensor, query: Tensor, kind: int) -> Tensor:
    """Colours 0..255 [S, S, 3], cut off, whose first pixel row sees the first example."""
    network = model.network
    stream = network.target_stream(targets, kind)
    seen = network.photo_stream(network.patches(photos), network.patches(query[None, None]), kind)
    taps = network.after_merge(network.merged(stream, seen), upper_rows=1)
    painted = network.decode(taps.lower[:, 0], taps.upper[:, 0, -1])[0]
    return model.colours_of(painted).clamp(0, 255).permute(1, 2, 0)


def _squares(model: SegGPT, picture: Tensor, is_target: bool) -> Tensor:
    """uint8 [S, S, 3] of uint8 [H, W, 3], by PIL: targets by the nearest pixel."""
    side = model.network.sizes.side
    if not is_target:
        return model._square(picture.permute(2, 0, 1)).permute(1, 2, 0)
    image = Image.fromarray(picture.numpy()).resize((side, side), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(image))


def _spread(output: Tensor, size: Sequence[int]) -> Tensor:
    """A picture [S, S, 3] at a size [H, W, 3], by the nearest pixel as PyTorch has it."""
    large = F.interpolate(output.permute(2, 0, 1)[None], tuple(size), mode="nearest")
    return large[0].permute(1, 2, 0)


def _blend(photo: Tensor, output: Tensor) -> Tensor:
    """The picture that the release writes: the photo in the light of the painting."""
    spread = _spread(output, photo.shape[:2])
    return (photo * (0.6 * spread / 255 + 0.4)).to(torch.uint8)


def _pipeline(
    model: SegGPT, stored: Mapping[str, Tensor], about: Mapping[str, Any]
) -> dict[str, Tensor]:
    """A photo and examples of other sizes, from their pixels to a mask on the photo's grid."""
    kind = INSTANCE if about["seg_type"] == "instance" else SEMANTIC
    photo = stored["pipeline.photo"]
    resized = _squares(model, photo, False)
    examples = [
        [
            _squares(model, stored[f"pipeline.prompt_{part}_{number}"], part == "target")
            for number in range(about["examples"])
        ]
        for part in ("photo", "target")
    ]
    found = {"pipeline.resized_photo": resized, "pipeline.resized_target_0": examples[1][0]}
    photos, targets = (_normalised(model, torch.stack(each)) for each in examples)
    query = _normalised(model, resized)
    for name, count in (("one", 1), ("many", about["examples"])):
        output = _released(model, photos[:count], targets[:count], query, kind)
        found[f"pipeline.{name}.output"] = output
        found[f"pipeline.{name}.mask"] = _spread(output, photo.shape[:2]).mean(-1) > THRESHOLD
        found[f"pipeline.{name}.blend"] = _blend(photo, output)
    return found


def _video(
    model: SegGPT, stored: Mapping[str, Tensor], about: Mapping[str, Any]
) -> dict[str, Tensor]:
    """A clip with the release's memory, which is black and white."""
    kind = INSTANCE if about["seg_type"] == "instance" else SEMANTIC
    frames = stored["video.frames"]
    squares = [_normalised(model, _squares(model, frame, False)) for frame in frames]
    first = _normalised(model, _squares(model, stored["video.prompt_target"], True))
    memory: list[tuple[Tensor, Tensor]] = []
    outputs, masks = [], []
    for square in squares[1:]:
        shown = [(squares[0], first), *memory]
        photos, targets = (torch.stack(each) for each in zip(*shown))
        output = _released(model, photos, targets, square, kind)
        mask = output.mean(-1) > THRESHOLD
        painted = (mask[..., None].expand(-1, -1, 3) * 255).to(torch.uint8)
        kept = [*memory, (square, _normalised(model, painted))]
        memory = kept[max(len(kept) - about["num_frames"], 0) :]
        outputs.append(output)
        masks.append(mask)
    return {
        "video.output": torch.stack(outputs),
        "video.memory": torch.stack(masks),
        "video.blend": torch.stack([_blend(one, out) for one, out in zip(frames[1:], outputs)]),
    }


def _painter(painter: SegGPT, model: SegGPT, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without type tokens, and with Painter's losses."""
    case = {"name": "one", "examples": [0], "seg_type": SEMANTIC, "merge_between_batch": -1}
    found = {"painter.pred_query": _Case(painter, stored, case).run()["one.pred_query"]}
    dark = stored["train.targets"].clone()
    dark[1] = 0
    for name, targets in (("loss", stored["train.targets"]), ("loss_dark", dark)):
        canvases = _canvases(painter, {**stored, "train.targets": targets})
        weights = _without_dark(model, canvases)
        painted = painter.network(
            canvases.images, canvases.targets, canvases.masked, canvases.kinds
        )
        total = weights.sum() + 0.01  # Painter's
        found[f"painter.{name}"] = painting_loss(
            painted, canvases.targets, weights, painter.loss, total=total
        )
    return found


def _without_dark(model: SegGPT, canvases: Canvases) -> Tensor:
    """Weights of hidden pixels, 0 of canvases whose visible target is nearly black."""
    weights = canvases.hidden_weights
    shown = model.colours_of(canvases.targets) / 255
    hidden = canvases.masked.repeat_interleave(weights.shape[-1] // canvases.masked.shape[-1], 1)
    hidden = hidden.repeat_interleave(weights.shape[-1] // canvases.masked.shape[-1], 2)
    visible = (shown * ~hidden[:, None]).flatten(1).sum(1)
    return weights * (visible >= DARK).view(-1, 1, 1, 1)
