"""Small parts of LSeg for tests."""

from __future__ import annotations

import torch
from tiny_clip import SPEC, tiny_clip
from torch.nn import functional as F

from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.layers import ShapeSpec
from detectron2.structures import BitMasks, Instances
from freeseg import add_freeseg_config
from freeseg.systems import LSeg
from freeseg.systems.lseg.head import LSegHead

WIDTH = SPEC.embed_dim
STREET, FARM = ("car", "sky", "road"), ("cow", "sky")


def random_head(kind="none", depth=0, channels=6) -> LSegHead:
    torch.manual_seed(0)
    shape = {f"res{level}": ShapeSpec(channels=4, stride=2**level) for level in (2, 3, 4, 5)}
    return LSegHead(
        input_shape=shape,
        channels=channels,
        embedding_channels=WIDTH,
        norm="BN",
        logit_scale=1 / 0.07,
        regularisation={"kind": kind, "depth": depth, "activation": "lrelu"},
    ).eval()


def random_texts(count, width=WIDTH):
    torch.manual_seed(2)
    return F.normalize(torch.randn(count, width), dim=-1)


def lseg_config(**changes):
    """A tiny LSeg on two training sets with their own labels; `changes` are KEY__SUBKEY=value."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    for name, classes, seen in (("lseg_street", STREET, [1, 1, 1]), ("lseg_farm", FARM, [1, 1])):
        MetadataCatalog.pop(name, None)
        MetadataCatalog.get(name).set(stuff_classes=list(classes), trainable_flag=seen)
    options = {
        "DATASETS__TRAIN": ("lseg_street", "lseg_farm"),
        "DATASETS__MIX_LABEL_SETS": True,
        "INPUT__FORMAT": "RGB",
        "MODEL__DEVICE": "cpu",
        "MODEL__META_ARCHITECTURE": "LSeg",
        "MODEL__BACKBONE__NAME": "DPTBackbone",
        "MODEL__PIXEL_MEAN": [127.5, 127.5, 127.5],
        "MODEL__PIXEL_STD": [127.5, 127.5, 127.5],
        "MODEL__DPT__NAME": "vit_tiny_patch16_224",
        "MODEL__DPT__IMG_SIZE": 64,
        "MODEL__DPT__EMBED_DIM": 24,
        "MODEL__DPT__DEPTH": 4,
        "MODEL__DPT__NUM_HEADS": 2,
        "MODEL__DPT__TAPS": [0, 1, 2, 3],
        "MODEL__DPT__CHANNELS": [8, 8, 8, 8],
        "MODEL__TEXT_ENCODER__CACHE": False,
        "MODEL__SEM_SEG_HEAD__NAME": "LSegHead",
        "MODEL__SEM_SEG_HEAD__IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL__SEM_SEG_HEAD__CONVS_DIM": 12,
        "MODEL__SEM_SEG_HEAD__NORM": "BN",
        "MODEL__LSEG__EMBEDDING_DIM": WIDTH,
        **changes,
    }
    pairs = [(key.replace("__", "."), value) for key, value in options.items()]
    cfg.merge_from_list([item for pair in pairs for item in pair])
    return cfg


def tiny_lseg(**changes) -> LSeg:
    torch.manual_seed(4)
    return LSeg(lseg_config(**changes), text_encoder=tiny_clip())


def annotated(labels, dataset=None, seed=0):
    """A training input of a label map [H, W]; -1 is void."""
    labels = torch.as_tensor(labels)
    height, width = labels.shape
    present = [label for label in labels.unique().tolist() if label >= 0]
    instances = Instances((height, width))
    instances.gt_classes = torch.tensor(present, dtype=torch.int64)
    masks = [labels == label for label in present]
    instances.gt_masks = BitMasks(torch.stack(masks) if masks else torch.zeros(0, height, width))
    image = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed))
    found = {"image": image, "instances": instances}
    return found if dataset is None else {**found, "dataset_name": dataset}
