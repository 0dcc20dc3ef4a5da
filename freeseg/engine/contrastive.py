"""Trains the toy CLIP on Shapes: crops against class names, scenes against captions.

Shapes: B crops, K classes, M scenes, L tokens, D width of features.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.data.shapes import UNSEEN, categories
from freeseg.data.shapes.crops import CropSet
from freeseg.data.shapes.phrases import random_phrase
from freeseg.engine.optimizer import warmup_cosine
from freeseg.text.clip import CLIP
from freeseg.text.toy_clip import WordTokenizer

MAX_SCALE = 100.0  # of cosines, as CLIP's
CAPTION_WEIGHT = 0.25  # of whole scenes among the losses
MASKED_SHARE = 0.6  # of a batch's crops
TEMPLATE = "a photo of a {}."  # for judging

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainSettings:
    """How long and how fast.

    Attributes:
        steps: Of the optimizer.
        crops: B, crops per step.
        scenes: M, captioned scenes per step.
        learning_rate: At its highest; it rises linearly and falls with a cosine.
        warmup: Steps of the rise.
        seed: The result follows from it, the settings and the version of PyTorch.
    """

    steps: int = 2400
    crops: int = 192
    scenes: int = 48
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.05
    seed: int = 0


def pretrain(model: CLIP, train: CropSet, settings: PretrainSettings) -> None:
    """Trains both towers of `model`, in place."""
    generator = np.random.default_rng(settings.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    rate = partial(warmup_cosine, warmup=settings.warmup, steps=settings.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    names = [row.name for row in categories()]
    start = time.perf_counter()
    for step in range(settings.steps):
        pictures, classes = _crops(generator, train, settings.crops)
        phrases = [random_phrase(generator, name) for name in names]
        logits = _logits(model, pictures, phrases)  # [B, K]
        loss = _crop_loss(logits, classes)
        chosen = generator.choice(len(train.captions), settings.scenes, replace=False)
        captions = [train.captions[place] for place in chosen.tolist()]
        pairs = _logits(model, train.scenes[torch.from_numpy(chosen)], captions)  # [M, M]
        own = torch.arange(len(pairs))
        caption_loss = (F.cross_entropy(pairs, own) + F.cross_entropy(pairs.T, own)) / 2

        optimizer.zero_grad()
        (loss + CAPTION_WEIGHT * caption_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(MAX_SCALE)))
        if step % 100 == 0 or step == settings.steps - 1:
            right = (logits.argmax(1) == classes).float().mean()
            logger.info(
                "step %d of %d: crops %.3f (%.0f %% right), captions %.3f, %.0f s",
                *(
                    step,
                    settings.steps,
                    float(loss.detach()),
                    100 * right,
                    float(caption_loss.detach()),
                ),
                time.perf_counter() - start,
            )


def retrieval_accuracy(model: CLIP, crops: CropSet) -> dict[str, float]:
    """Share of crops whose own name is the nearest of all K, in percent.

    Returns:
        For crops "masked" and "plain", of classes "seen" and "unseen" (of the segmentation split;
        the CLIP has seen all), such as "masked_unseen".
    """
    names = [row.name for row in categories()]
    ids, ends = _tokens(model, [TEMPLATE.replace("{}", name) for name in names])
    is_unseen = torch.tensor([name in UNSEEN for name in names])[crops.classes]
    result = {}
    with torch.no_grad():
        text = F.normalize(model.encode_embeddings(model.embed_tokens(ids), ends), dim=-1)
        for kind, pictures in (("masked", crops.masked), ("plain", crops.plain)):
            features = torch.cat(
                [model.encode_image(_normalised(model, part)) for part in pictures.split(256)]
            )
            is_right = (features @ text.T).argmax(1) == crops.classes
            for group, members in (("seen", ~is_unseen), ("unseen", is_unseen)):
                result[f"{kind}_{group}"] = 100 * float(is_right[members].float().mean())
    return result


def _crops(generator: np.random.Generator, train: CropSet, count: int) -> tuple[Tensor, Tensor]:
    """Random crops, mirrored half of the time, with classes [B]."""
    places = torch.from_numpy(generator.integers(len(train.classes), size=count))
    is_masked = torch.from_numpy(generator.random(count) < MASKED_SHARE)[:, None, None, None]
    pictures = torch.where(is_masked, train.masked[places], train.plain[places])
    is_mirrored = torch.from_numpy(generator.random(count) < 0.5)[:, None, None, None]
    pictures = torch.where(is_mirrored, pictures.flip(-1), pictures)
    return pictures, train.classes[places]


def _logits(model: CLIP, pictures: Tensor, texts: Sequence[str]) -> Tensor:
    """Scaled cosines of pictures and texts."""
    ids, ends = _tokens(model, texts)
    text = F.normalize(model.encode_embeddings(model.embed_tokens(ids), ends), dim=-1)
    image = F.normalize(model.encode_image(_normalised(model, pictures)), dim=-1)
    return model.logit_scale.exp() * image @ text.T


def _crop_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Every crop finds its name among all, and every name that is there its crops."""
    belongs = F.one_hot(classes, logits.shape[1]).to(logits)  # [B, K]
    is_there = belongs.any(0)
    among_crops = logits.log_softmax(0)[:, is_there]
    share = belongs[:, is_there] / belongs[:, is_there].sum(0)
    return (F.cross_entropy(logits, classes) - (share * among_crops).sum(0).mean()) / 2


def _tokens(model: CLIP, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Ids [N, L] no longer than the longest text, and the places [N] of the ends.

    Unlike `CLIP.tokenize` it says nothing about unknown words, which are here on purpose.
    """
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, WordTokenizer)
    rows = [
        [*model.start_ids, *tokenizer.encode_known(tokenizer.split(text)), model.end_id]
        for text in texts
    ]
    ends = torch.tensor([len(row) - 1 for row in rows])
    ids = torch.full((len(rows), int(ends.max()) + 1), model.pad_id)
    for line, row in zip(ids, rows):
        line[: len(row)] = torch.tensor(row)
    return ids, ends


def _normalised(model: CLIP, pictures: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.pixel_mean, model.pixel_std))
    return (pictures.float() / 255 - mean) / std
