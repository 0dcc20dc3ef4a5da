"""Configuration keys of OneFormer's release, under their published names and defaults.

What is said to be unused is there so that published files load.
"""

from __future__ import annotations

from detectron2.config import CfgNode


def add_one_former_keys(cfg: CfgNode) -> None:
    """Adds the sections of the model, its tests and its texts; MASK_FORMER is there already."""
    cfg.MODEL.ONE_FORMER = node = cfg.MODEL.MASK_FORMER.clone()
    del node["TEST"]  # MODEL.TEST holds what MASK_FORMER.TEST does for the others
    node.CONTRASTIVE_WEIGHT = 0.5  # of the query-text loss; 0: without it and its text encoder
    node.CONTRASTIVE_TEMPERATURE = 0.07  # at the start
    node.CLASS_DEC_LAYERS = 2  # of the transformer that grows queries from the task
    node.NUM_OBJECT_QUERIES = 120  # with the task's own
    node.NUM_OBJECT_CTX = 16  # unused
    node.USE_TASK_NORM = True  # layer norm of the task token, and object queries begin from it
    node.TASK_INIT = True  # False: object queries begin from zeros, whatever USE_TASK_NORM says
    node.TRANSFORMER_DECODER_NAME = "ContrastiveMultiScaleMaskedTransformerDecoder"
    cfg.MODEL.IS_TRAIN = True  # False: build no text encoder, which only training needs
    cfg.MODEL.IS_DEMO = False  # unused
    cfg.MODEL.TEST = test = cfg.MODEL.MASK_FORMER.TEST.clone()
    test.DETECTION_ON = False  # evaluate boxes around the instances as well
    test.TASK = "panoptic"
    test.TASK_PER_OUTPUT = True  # False: every output under TASK's token, as the release evaluates
    cfg.MODEL.SEM_SEG_HEAD.SEM_EMBED_DIM = 256  # unused
    cfg.MODEL.SEM_SEG_HEAD.INST_EMBED_DIM = 256  # unused as well
    cfg.INPUT.TASK_SEQ_LEN = 77  # tokens of the task's sentence
    cfg.INPUT.MAX_SEQ_LEN = 77  # tokens of a text
    cfg.DATASETS.TEST_PANOPTIC = ("",)  # evaluated where DATASETS.TEST is empty
    cfg.DATASETS.TEST_INSTANCE = ("",)  # the release's, for its evaluation task by task
    cfg.DATASETS.TEST_SEMANTIC = ("",)
    augmentation = cfg.TEST.AUG
    augmentation.IS_SLIDE = False  # semantic scores from overlapping windows
    augmentation.CROP_SIZE = (640, 640)  # of a window
    augmentation.STRIDE = (426, 426)  # between windows
    augmentation.SCALE = (2048, 640)  # unused, like the three below
    augmentation.SETR_MULTI_SCALE = True
    augmentation.KEEP_RATIO = True
    augmentation.SIZE_DIVISOR = 32
    cfg.WANDB = CfgNode({"PROJECT": "OneFormer", "NAME": None})  # unused


def add_one_former_text_keys(cfg: CfgNode) -> None:
    """Adds the sizes of the text encoder that OneFormer trains to MODEL.TEXT_ENCODER."""
    node = cfg.MODEL.TEXT_ENCODER
    node.WIDTH = 256
    node.CONTEXT_LENGTH = 77
    node.NUM_LAYERS = 12
    node.VOCAB_SIZE = 49408
    node.PROJ_NUM_LAYERS = 2
    node.N_CTX = 16  # learned rows beside the texts of an image


def add_large_backbone_keys(cfg: CfgNode) -> None:
    """Adds the sections of ConvNeXt and DiNAT."""
    cfg.MODEL.CONVNEXT = convnext = CfgNode()
    convnext.IN_CHANNELS = 3
    convnext.DEPTHS = [3, 3, 27, 3]
    convnext.DIMS = [192, 384, 768, 1536]
    convnext.DROP_PATH_RATE = 0.4
    convnext.LSIT = 1.0  # start value of the layer scale
    convnext.OUT_INDICES = [0, 1, 2, 3]
    convnext.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.DiNAT = dinat = CfgNode()
    dinat.DEPTHS = [3, 4, 18, 5]
    dinat.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    dinat.EMBED_DIM = 64
    dinat.MLP_RATIO = 3.0
    dinat.NUM_HEADS = [2, 4, 8, 16]
    dinat.DROP_PATH_RATE = 0.2
    dinat.KERNEL_SIZE = 7
    dinat.DILATIONS = [[1, 16, 1], [1, 4, 1, 8], [1, 2, 1, 3, 1, 4], [1, 2, 1, 2, 1]]
    dinat.OUT_INDICES = (0, 1, 2, 3)
    dinat.QKV_BIAS = True
    dinat.QK_SCALE = None
    dinat.DROP_RATE = 0
    dinat.ATTN_DROP_RATE = 0.0
    dinat.IN_PATCH_SIZE = 4
