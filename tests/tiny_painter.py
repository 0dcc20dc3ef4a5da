"""An inpainting pipeline of diffusers in a folder, untrained and tiny, of nothing but sizes."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import torch

SIDE = 64  # of the pictures that it is for: a sample size of 8 by a factor of 8
MAX_TOKENS = 16


def write_painter(folder: Path) -> Path:
    """Writes the pipeline, whose words are letters; skips without diffusers."""
    diffusers = pytest.importorskip("diffusers")
    letters = string.ascii_lowercase
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        painter = diffusers.StableDiffusionInpaintPipeline(
            vae=diffusers.AutoencoderKL(
                block_out_channels=(8,) * 4,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                norm_num_groups=4,
            ),
            unet=diffusers.UNet2DConditionModel(
                sample_size=SIDE // 8,
                in_channels=9,  # 4 of the photo, 4 of what is painted, 1 of the mask
                block_out_channels=(8, 8),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                layers_per_block=1,
                cross_attention_dim=16,
                attention_head_dim=2,
                norm_num_groups=4,
            ),
            text_encoder=_text_encoder(len(tokens)),
            tokenizer=_tokenizer(tokens),
            scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    painter.save_pretrained(folder)
    return folder


def _text_encoder(num_tokens: int) -> torch.nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=num_tokens,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def _tokenizer(tokens: list[str]):
    from transformers import CLIPTokenizer

    numbers = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=numbers, merges=[], model_max_length=MAX_TOKENS)
