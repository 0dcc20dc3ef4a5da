"""A CLIP of a few thousand weights whose tokens are letters, and a FreeSeg around it."""

from __future__ import annotations

from pathlib import Path

import torch

from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from freeseg import add_freeseg_config
from freeseg.text import CLIP, ClipSpec

CONFIG = Path(__file__).resolve().parents[1] / "configs/Base-Mask2Former-small.yaml"
DATASET = "tiny_freeseg_train"
NAMES = ("cat", "dog", "sky", "sea")  # two things, two stuff
SEEN = (1, 0, 1, 0)
SPEC = ClipSpec(
    embed_dim=16,
    image_size=16,
    patch_size=8,
    vision_width=16,
    vision_layers=1,
    text_width=24,
    text_layers=2,
    vision_heads=2,
    text_heads=2,
    context_length=40,
    vocabulary_size=130,
)


class Letters:
    """One token per character."""

    start_id = 128
    end_id = 129

    def encode(self, text: str) -> list[int]:
        return [ord(letter) % 128 for letter in text]

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [(place, place + 1) for place in range(len(text))]


def tiny_clip(seed: int = 0, spec: ClipSpec = SPEC) -> CLIP:
    torch.manual_seed(seed)
    clip = CLIP(spec, Letters()).requires_grad_(False).eval()
    with torch.no_grad():  # start values give all texts nearly one feature
        for weight in (clip.token_embedding.weight, clip.positional_embedding):
            weight.mul_(30)
    return clip


def tiny_config(**changes):
    """A small FreeSeg over four classes; `changes` are KEY__SUBKEY=value."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIG))
    MetadataCatalog.pop(DATASET, None)
    MetadataCatalog.get(DATASET).set(
        stuff_classes=list(NAMES),
        thing_dataset_id_to_contiguous_id={1: 0, 2: 1},
        trainable_flag=list(SEEN),
    )
    options = {
        "DATASETS__TRAIN": (DATASET,),
        "MODEL__META_ARCHITECTURE": "FreeSeg",
        "MODEL__TEXT_ENCODER__CACHE": False,
        "MODEL__SEM_SEG_HEAD__NAME": "MaskFormerInteractionHead",
        "MODEL__SEM_SEG_HEAD__NUM_CLASSES": len(NAMES),
        "MODEL__SEM_SEG_HEAD__CONVS_DIM": 32,
        "MODEL__SEM_SEG_HEAD__MASK_DIM": 32,
        "MODEL__SEM_SEG_HEAD__EMB_SIZE": 32,
        "MODEL__SEM_SEG_HEAD__EMBED_DIM": 32,
        "MODEL__SEM_SEG_HEAD__NUM_HEADS": 2,
        "MODEL__SEM_SEG_HEAD__EMBEDDING_DIM": SPEC.embed_dim,
        "MODEL__SEM_SEG_HEAD__EMBED_HIDDEN_DIM": 32,
        "MODEL__SEM_SEG_HEAD__TRANSFORMER_ENC_LAYERS": 1,
        "MODEL__MASK_FORMER__HIDDEN_DIM": 32,
        "MODEL__MASK_FORMER__DIM_FEEDFORWARD": 32,
        "MODEL__MASK_FORMER__DEC_LAYERS": 2,
        "MODEL__MASK_FORMER__NUM_OBJECT_QUERIES": 6,
        "MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD": 0.0,
        "MODEL__CLIP_ADAPTER__PROMPT_SHAPE": (3, 0),
        "MODEL__CLIP_ADAPTER__TASK_PROMPT_SHAPE": 2,
        "MODEL__FREESEG__MIN_SCORE": 0.0,
        **changes,
    }
    pairs = [(key.replace("__", "."), value) for key, value in options.items()]
    cfg.merge_from_list([item for pair in pairs for item in pair])
    return cfg
