"""LSeg on stored inputs; the release has no configuration file, so sizes come from config.json."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from detectron2.config import CfgNode, get_cfg
from freeseg.config import add_freeseg_config
from freeseg.parity.golden import Golden
from freeseg.structures import Vocabulary
from freeseg.systems.lseg.system import LSeg
from freeseg.text import TextEncoder

BASE_VIT = "vit_base_patch16_384"  # any plain ViT: all sizes are given
NAMES = {  # config.json -> our keys
    "patch": "MODEL.DPT.PATCH_SIZE",
    "embed_dim": "MODEL.DPT.EMBED_DIM",
    "num_heads": "MODEL.DPT.NUM_HEADS",
    "depth": "MODEL.DPT.DEPTH",
    "hooks": "MODEL.DPT.TAPS",
    "vit_img_size": "MODEL.DPT.IMG_SIZE",
    "reassemble_channels": "MODEL.DPT.CHANNELS",
    "readout": "MODEL.DPT.READOUT",
    "features": "MODEL.SEM_SEG_HEAD.CONVS_DIM",
    "out_dim": "MODEL.LSEG.EMBEDDING_DIM",
    "head": "MODEL.LSEG.REGULARISATION",
    "block_depth": "MODEL.LSEG.BLOCK_DEPTH",
    "activation": "MODEL.LSEG.ACTIVATION",
}


def run_lseg(golden: Golden) -> dict[str, Tensor]:
    """Logits at the size of the image."""
    cfg = config_of(json.loads((golden.folder / "config.json").read_text()))
    texts = golden.tensors["text_features_unnormalised"]
    model = LSeg(cfg, text_encoder=TextTable(texts)).eval()
    golden.fill(model)
    # the model normalises what it is given, with a mean and deviation of 127.5
    images = golden.tensors["image_normalised"] * model.pixel_std + model.pixel_mean
    names = tuple(str(row) for row in range(len(texts)))
    vocabulary = Vocabulary(names, (False,) * len(names))
    outputs = model([{"image": image, "vocabulary": vocabulary} for image in images])
    return {"logits": torch.stack([output["sem_seg"] for output in outputs])}


def config_of(values: dict[str, Any]) -> CfgNode:
    """A configuration of a stored model's sizes.

    Parity: the release applies the regularisation once even at a depth of 0.
    """
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "LSeg"
    cfg.MODEL.BACKBONE.NAME = "DPTBackbone"
    cfg.MODEL.DPT.NAME = BASE_VIT
    cfg.MODEL.SEM_SEG_HEAD.NAME = "LSegHead"
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.SEM_SEG_HEAD.NORM = "BN"
    cfg.MODEL.PIXEL_MEAN = cfg.MODEL.PIXEL_STD = [127.5, 127.5, 127.5]
    cfg.MODEL.TEXT_ENCODER.CACHE = False
    values = {**values, "block_depth": max(1, values.get("block_depth", 1))}
    for name, value in values.items():
        if name in NAMES:
            cfg.merge_from_list([NAMES[name], value])
    return cfg


class TextTable(TextEncoder):
    """In place of a text encoder: text "3" has row 3 of a table [N, D]."""

    context_length = width = 1
    start_ids = ()
    end_id = pad_id = -1

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.dim = features.shape[1]
        self.register_buffer("features", features, persistent=False)

    def word_ids(self, text: str) -> list[int]:
        return [int(text)]

    def tokenize(self, texts: Any) -> Tensor:
        return torch.tensor([self.word_ids(text) for text in texts])  # [N, 1]

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return ids

    def encode_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        del eot_index
        features: Tensor = self.get_buffer("features")
        return features[embeddings[:, 0]]

    @property
    def device(self) -> torch.device:
        return self.get_buffer("features").device
