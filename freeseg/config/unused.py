"""Keys of the releases that nothing here reads; they exist so that published files load.

The table in docs/architecture.md says the same for readers.
"""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode

# key -> why nothing reads it
UNUSED = {
    "DATASETS.TEST_INSTANCE": "DATASETS.TEST is evaluated for all tasks that a set judges",
    "DATASETS.TEST_SEMANTIC": "DATASETS.TEST is evaluated for all tasks that a set judges",
    "MODEL.CLIP_ADAPTER.PROMPT_DIM": "the text encoder knows its width",
    "MODEL.CLIP_ADAPTER.REGION_CLIP_ADAPTER.CLIP_MODEL_NAME": "of SEPERATE_ADAPTER, refused",
    "MODEL.CLIP_ADAPTER.REGION_CLIP_ADAPTER.PREDEFINED_PROMPT_TEMPLATES": "the same",
    "MODEL.CLIP_ADAPTER.REGION_CLIP_ADAPTER.PROMPT_CHECKPOINT": "the same",
    "MODEL.CLIP_ADAPTER.REGION_CLIP_ADAPTER.PROMPT_DIM": "the same",
    "MODEL.CLIP_ADAPTER.REGION_CLIP_ADAPTER.PROMPT_LEARNER": "the same",
    "MODEL.CLIP_ADAPTER.REGION_CLIP_ADAPTER.PROMPT_SHAPE": "the same",
    "MODEL.CONVNEXT.OUT_INDICES": "OUT_FEATURES says it",
    "MODEL.DiNAT.IN_PATCH_SIZE": "the stem's stride is 4 in every release, which reads it nowhere",
    "MODEL.DiNAT.OUT_INDICES": "OUT_FEATURES says it",
    "MODEL.IS_DEMO": "its demo drops improbable instances; least scores are the caller's here",
    "MODEL.MASK_FORMER.ENC_LAYERS": "of DETR's encoder, which no masked decoder has",
    "MODEL.ONE_FORMER.NUM_OBJECT_CTX": "the release reads it nowhere",
    "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS": "NHEADS says it, as there",
    "MODEL.SEM_SEG_HEAD.INST_EMBED_DIM": "the release reads it nowhere",
    "MODEL.SEM_SEG_HEAD.SEM_EMBED_DIM": "the release reads it nowhere",
    "ORACLE": "the prompt stage is MODEL.META_ARCHITECTURE FreeSegPrompts",
    "PSEUDO_FLAG_NAME": "of PSEUDO, refused",
    "PSEUDO_REJECT_THRESHOLD": "of PSEUDO, refused",
    "PSEUDO_WITH_PRIOR": "of PSEUDO, refused",
    "SOLVER.TEST_IMS_PER_BATCH": "evaluation takes one image at a time",
    "TEST.AUG.KEEP_RATIO": "the release reads it nowhere",
    "TEST.AUG.SCALE": "the release reads it nowhere",
    "TEST.AUG.SETR_MULTI_SCALE": "the release reads it nowhere",
    "TEST.AUG.SIZE_DIVISOR": "the release reads it nowhere",
    "TEST.OPTIM.LR": "TEST.PROMPT_TUNING.LR is the rate of test-time prompt tuning",
    "TEST.SLIDING_OVERLAP": "of SLIDING_WINDOW, refused",
    "TEST.SLIDING_TILE_SIZE": "of SLIDING_WINDOW, refused",
    "WANDB.NAME": "metrics go to metrics.json and TensorBoard",
    "WANDB.PROJECT": "metrics go to metrics.json and TensorBoard",
}
# switch -> what to do instead of turning it on
REFUSED = {
    "PSEUDO": "pseudo labels are not made here",
    "TEST.DENSE_CRF": "masks are not refined by a CRF",
    "TEST.SLIDING_WINDOW": "TEST.AUG.IS_SLIDE, CROP_SIZE and STRIDE slide windows",
}


def add_unused_keys(cfg: CfgNode) -> None:
    """Adds those switches of FreeSeg's release that no system has, with its defaults."""
    cfg.ORACLE = False
    cfg.PSEUDO = False
    cfg.PSEUDO_WITH_PRIOR = True
    cfg.PSEUDO_REJECT_THRESHOLD = 0.0
    cfg.PSEUDO_FLAG_NAME = "trainable_flag"
    cfg.SOLVER.TEST_IMS_PER_BATCH = 1
    cfg.TEST.SLIDING_WINDOW = False
    cfg.TEST.SLIDING_TILE_SIZE = 224
    cfg.TEST.SLIDING_OVERLAP = 2 / 3
    cfg.TEST.DENSE_CRF = False
    cfg.TEST.OPTIM = CfgNode({"LR": 0.001})


def refuse_unsupported(cfg: CfgNode) -> None:
    """Refuses what a release does and this package does not.

    Raises:
        ValueError: It names the switch that is on.
    """
    for key, advice in REFUSED.items():
        value: Any = cfg
        for name in key.split("."):
            value = value.get(name, {})  # a configuration of others may lack it
        if value:
            raise ValueError(f"{key} {value} is not supported: {advice}")
