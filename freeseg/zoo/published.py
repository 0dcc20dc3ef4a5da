"""How a published configuration tests a model, for weights whose own folder tests it otherwise.

Repositories on Hugging Face's hub have the figures' weights, not always the figures' settings: the
Mask2Former processors of their authors make every photo 384x384.
"""

from __future__ import annotations

from detectron2.config import CfgNode

TEST_SETTINGS = (
    "INPUT.MIN_SIZE_TEST",
    "INPUT.MAX_SIZE_TEST",
    "INPUT.TEST_RESIZE",
    "MODEL.MASK_FORMER.SIZE_DIVISIBILITY",
    "MODEL.MASK_FORMER.TEST",
    "MODEL.ONE_FORMER.SIZE_DIVISIBILITY",
    "MODEL.TEST",
    "TEST.DETECTIONS_PER_IMAGE",
)


def with_test_settings(cfg: CfgNode, published: CfgNode) -> CfgNode:
    """A copy of `cfg` that sees photos and answers as `published` does."""
    copy = cfg.clone()
    copy.defrost()
    for key in TEST_SETTINGS:
        *sections, name = key.split(".")
        target, source = copy, published
        for section in sections:
            target, source = target[section], source[section]
        target[name] = source[name]
    return copy
