"""CLIP (Radford et al., arXiv 2103.00020) with a ViT image tower, under OpenAI's parameter names.

Shapes: N images or texts, L tokens, W width, D feature size, P image patches.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from freeseg.layers import MultiheadAttention
from freeseg.text.class_token import class_token_sees
from freeseg.text.encoder import TEXT_ENCODER_REGISTRY, ImageTextEncoder, TextEncoder
from freeseg.text.spans import Span, byte_pair_spans
from freeseg.text.weights import read_state_dict

HEAD_WIDTH = 64  # channels of an attention head in every published CLIP
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of images in 0..1
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
START_SCALE = math.log(1 / 0.07)  # start value of the learned temperature

logger = logging.getLogger(__name__)


class Tokenizer(Protocol):
    """Cuts a text into token ids other than 0, which is padding."""

    start_id: int
    end_id: int

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone, without start and end."""

    def spans(self, text: str) -> list[Span]:
        """The characters of the text that each of these ids was made of."""


@dataclass(frozen=True)
class ClipSpec:
    """Sizes of a CLIP; heads of 0 follow from the width as in the published models."""

    embed_dim: int
    image_size: int
    patch_size: int
    vision_width: int
    vision_layers: int
    text_width: int
    text_layers: int
    vision_heads: int = 0
    text_heads: int = 0
    context_length: int = 77
    vocabulary_size: int = 49408
    quick_gelu: bool = True

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], **known: Any) -> ClipSpec:
        """Reads the sizes off OpenAI-format weights; what no weight shows comes from `known`.

        Raises:
            ValueError: When the weights have no ViT image tower.
        """
        if "visual.conv1.weight" not in state or "visual.proj" not in state:
            raise ValueError("these are no weights of a CLIP with a ViT image tower")
        patches = state["visual.positional_embedding"].shape[0] - 1
        patch_size = state["visual.conv1.weight"].shape[-1]
        read: dict[str, Any] = {
            "embed_dim": state["text_projection"].shape[1],
            "image_size": round(patches**0.5) * patch_size,
            "patch_size": patch_size,
            "vision_width": state["visual.conv1.weight"].shape[0],
            "vision_layers": _count_blocks(state, "visual.transformer."),
            "text_width": state["token_embedding.weight"].shape[1],
            "text_layers": _count_blocks(state, "transformer."),
            "context_length": state["positional_embedding"].shape[0],
            "vocabulary_size": state["token_embedding.weight"].shape[0],
        }
        return cls(**{**read, **known})


PUBLISHED: Mapping[str, ClipSpec] = {  # by OpenAI's names
    "ViT-B/32": ClipSpec(512, 224, 32, 768, 12, 512, 12),
    "ViT-B/16": ClipSpec(512, 224, 16, 768, 12, 512, 12),
    "ViT-L/14": ClipSpec(768, 224, 14, 1024, 24, 768, 12),
    "ViT-L/14@336px": ClipSpec(768, 336, 14, 1024, 24, 768, 12),
}
# of models whose image half is a ResNet: their text half alone can be had
TEXT_ALONE: Mapping[str, ClipSpec] = {
    "RN50": ClipSpec(1024, 224, 32, 0, 0, 512, 12),
    "RN101": ClipSpec(512, 224, 32, 0, 0, 512, 12),
    "RN50x4": ClipSpec(640, 288, 32, 0, 0, 640, 12),
    "RN50x16": ClipSpec(768, 384, 32, 0, 0, 768, 12),
}


class _TextTower(TextEncoder):
    """The text half of a CLIP under OpenAI's parameter names."""

    pad_id = 0
    spec: ClipSpec
    tokenizer: Tokenizer

    def add_text_tower(self, spec: ClipSpec, tokenizer: Tokenizer | None) -> None:
        """Builds the untrained tower; a tokenizer of None is CLIP's own byte pairs."""
        self.spec = spec
        self.tokenizer = tokenizer or BytePairs()
        self.start_ids, self.end_id = (self.tokenizer.start_id,), self.tokenizer.end_id
        self.context_length, self.width, self.dim = (
            spec.context_length,
            spec.text_width,
            spec.embed_dim,
        )
        self.transformer = Transformer(
            width=spec.text_width,
            num_layers=spec.text_layers,
            num_heads=spec.text_heads or spec.text_width // HEAD_WIDTH,
            quick_gelu=spec.quick_gelu,
        )
        self.token_embedding = nn.Embedding(spec.vocabulary_size, spec.text_width)
        self.positional_embedding = _random(0.01, spec.context_length, spec.text_width)
        self.ln_final = nn.LayerNorm(spec.text_width)
        self.text_projection = _random(spec.text_width**-0.5, spec.text_width, spec.embed_dim)

    def word_ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def word_spans(self, text: str) -> list[Span]:
        return self.tokenizer.spans(text)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids)

    def encode_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        refined = self._refined(embeddings)  # [N, L, W]
        return self.ln_final(_at(refined, eot_index)) @ self.text_projection

    def encode_states(self, embeddings: Tensor, eot_index: Tensor) -> tuple[Tensor, Tensor]:
        states = self.ln_final(self._refined(embeddings))  # [N, L, W]
        return states, _at(states, eot_index) @ self.text_projection

    def _refined(self, embeddings: Tensor) -> Tensor:
        length = embeddings.shape[1]
        causal = torch.ones(1, length, length, dtype=torch.bool, device=embeddings.device).tril()
        return self.transformer(embeddings + self.positional_embedding[:length], causal)


def _at(states: Tensor, places: Tensor) -> Tensor:
    """States [N, W] of [N, L, W], one place [N] of each row."""
    return states[torch.arange(len(states), device=states.device), places]


class CLIP(_TextTower, ImageTextEncoder):
    """Text transformer and image transformer into one feature space."""

    pixel_mean = PIXEL_MEAN
    pixel_std = PIXEL_STD

    def __init__(self, spec: ClipSpec, tokenizer: Tokenizer | None = None) -> None:
        """Builds an untrained model.

        Args:
            spec: Its sizes.
            tokenizer: None is CLIP's own byte pairs.
        """
        super().__init__()
        self.image_size = (spec.image_size, spec.image_size)
        self.visual = VisionTransformer(spec)
        self.add_text_tower(spec, tokenizer)
        self.logit_scale = nn.Parameter(torch.tensor(START_SCALE))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.visual(images)

    def encode_inside(self, images: Tensor, masks: Tensor) -> Tensor:
        patch_size = self.visual.conv1.kernel_size[0]
        return self.visual(images, class_token_sees(masks, patch_size))


class ClipText(_TextTower):
    """The text half of a CLIP alone, whatever its image half is."""

    def __init__(self, spec: ClipSpec, tokenizer: Tokenizer | None = None) -> None:
        """Builds an untrained model; see `CLIP`."""
        super().__init__()
        self.add_text_tower(spec, tokenizer)
        nn.init.normal_(self.token_embedding.weight, std=0.02)


class VisionTransformer(nn.Module):
    """Image tower: patches and a class token, whose final state is the feature."""

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__()
        width, num_patches = spec.vision_width, (spec.image_size // spec.patch_size) ** 2
        self.image_size = (spec.image_size, spec.image_size)
        self.conv1 = nn.Conv2d(3, width, spec.patch_size, stride=spec.patch_size, bias=False)
        self.class_embedding = _random(width**-0.5, width)
        self.positional_embedding = _random(width**-0.5, num_patches + 1, width)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(
            width=width,
            num_layers=spec.vision_layers,
            num_heads=spec.vision_heads or max(1, width // HEAD_WIDTH),
            quick_gelu=spec.quick_gelu,
        )
        self.ln_post = nn.LayerNorm(width)
        self.proj = _random(width**-0.5, width, spec.embed_dim)

    def forward(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """Features [N, D] of images [N, 3, image_size, image_size].

        Args:
            images: Normalised.
            visible: Bool [N, P+1, P+1], where tokens look in the last block; None: everywhere.
        """
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f"wanted images of {self.image_size} pixels, got {tuple(images.shape[-2:])}"
            )
        patches = self.conv1(images).flatten(2).mT  # [N, P, W]
        first = self.class_embedding.expand(len(patches), 1, -1)
        tokens = torch.cat([first, patches], dim=1) + self.positional_embedding  # [N, P+1, W]
        tokens = self.ln_pre(tokens)
        *earlier, last = self.transformer.resblocks
        for block in earlier:
            tokens = block(tokens, None)
        return self.ln_post(last(tokens, visible)[:, 0]) @ self.proj


class Transformer(nn.Module):
    """Residual attention blocks."""

    def __init__(self, *, width: int, num_layers: int, num_heads: int, quick_gelu: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(
            ResidualBlock(width=width, depth=num_layers, num_heads=num_heads, quick_gelu=quick_gelu)
            for _ in range(num_layers)
        )

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Refines tokens [N, L, W]; `visible` [1 or N, L, L] is True where a token may look."""
        for block in self.resblocks:
            x = block(x, visible)
        return x


class ResidualBlock(nn.Module):
    """Self-attention and a feed-forward net, layer norm before each."""

    def __init__(self, *, width: int, depth: int, num_heads: int, quick_gelu: bool) -> None:
        """Builds a block of a transformer with `depth` blocks, which its start values follow."""
        super().__init__()
        self.attn = MultiheadAttention(channels=width, num_heads=num_heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, QuickGELU() if quick_gelu else nn.GELU())
        self.ln_2 = nn.LayerNorm(width)
        nn.init.normal_(self.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        for residual in (self.attn.out_proj, self.mlp.c_proj):
            nn.init.normal_(residual.weight, std=(2 * depth * width) ** -0.5)

    def forward(self, x: Tensor, visible: Tensor | None) -> Tensor:
        """Refines tokens [N, L, W]."""
        normalised = self.ln_1(x)
        x = x + self.attn(normalised, normalised, normalised, visible)
        return x + self.mlp(self.ln_2(x))


class FeedForward(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.activation = activation
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., W] to [..., W]."""
        return self.c_proj(self.activation(self.c_fc(x)))


class QuickGELU(nn.Module):
    """The approximation of GELU that OpenAI's weights were trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps x to x * sigmoid(1.702 x)."""
        return x * torch.sigmoid(1.702 * x)


class BytePairs:
    """CLIP's own tokens: byte pairs of lower-cased text."""

    start_id = 49406
    end_id = 49407

    def encode(self, text: str) -> list[int]:
        return list(_byte_pairs().encode(text))

    def spans(self, text: str) -> list[Span]:
        return byte_pair_spans(_byte_pairs(), text)


@functools.lru_cache(maxsize=1)
def _byte_pairs() -> Any:
    from open_clip.tokenizer import SimpleTokenizer  # slow to import; carries the merges table

    return SimpleTokenizer()


@TEXT_ENCODER_REGISTRY.register()
def clip(cfg: Any) -> CLIP:
    """OpenAI's CLIP that MODEL.TEXT_ENCODER.MODEL names, with MODEL.TEXT_ENCODER.WEIGHTS."""
    return load_clip(cfg.MODEL.TEXT_ENCODER.MODEL, cfg.MODEL.TEXT_ENCODER.WEIGHTS)


def load_clip(name: str, weights: str = "") -> CLIP:
    """A frozen CLIP under OpenAI's parameter names.

    Args:
        name: Of `PUBLISHED`.
        weights: A file in OpenAI's format, whose sizes count then; empty for random weights.

    Raises:
        ValueError: On an unknown name, or weights of something else.
    """
    if name not in PUBLISHED:
        raise ValueError(f"wanted one of OpenAI's models {', '.join(PUBLISHED)}, got {name!r}")
    if not weights:
        logger.info("no weights for CLIP %s: it is random until a checkpoint is loaded", name)
        return CLIP(PUBLISHED[name]).requires_grad_(False).eval()
    state = read_state_dict(weights)
    model = CLIP(ClipSpec.from_state_dict(state))
    model.load_state_dict({key: state[key] for key in model.state_dict()})
    return model.requires_grad_(False).eval()


@TEXT_ENCODER_REGISTRY.register()
def clip_text(cfg: Any) -> ClipText:
    """The text half of the CLIP that MODEL.TEXT_ENCODER.MODEL names, from the same file."""
    return load_clip_text(cfg.MODEL.TEXT_ENCODER.MODEL, cfg.MODEL.TEXT_ENCODER.WEIGHTS)


def load_clip_text(name: str, weights: str = "") -> ClipText:
    """The frozen text half of a CLIP under OpenAI's parameter names.

    Args:
        name: Of `PUBLISHED` or `TEXT_ALONE`.
        weights: A file of the whole CLIP in OpenAI's format; empty for random weights.

    Raises:
        ValueError: On an unknown name, or weights of another model.
    """
    known = {**PUBLISHED, **TEXT_ALONE}
    if name not in known:
        raise ValueError(f"wanted one of OpenAI's models {', '.join(known)}, got {name!r}")
    model = ClipText(known[name])
    if not weights:
        logger.info("no weights for CLIP %s: it is random until a checkpoint is loaded", name)
        return model.requires_grad_(False).eval()
    state = read_state_dict(weights)
    names = model.state_dict()
    if any(key not in state or state[key].shape != names[key].shape for key in names):
        raise ValueError(f"{weights} has no text half of CLIP {name}")
    model.load_state_dict({key: state[key] for key in names})
    return model.requires_grad_(False).eval()


def _random(std: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * std)


def _count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    start = f"{prefix}resblocks."
    return len({key[len(start) :].split(".")[0] for key in state if key.startswith(start)})
