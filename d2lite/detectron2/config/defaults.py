"""Default values of every config key; names and values are the file format of published configs.

The meaning of each key is documented upstream (Detectron2's config reference).
"""

from __future__ import annotations

from detectron2.config.config import CfgNode

_UNIT_BOX_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
_C4 = ["res4"]  # the one feature map of a C4 model
_ROI_POOLER = {
    "POOLER_RESOLUTION": 14,
    "POOLER_SAMPLING_RATIO": 0,
    "POOLER_TYPE": "ROIAlignV2",
}


def _section(**values: object) -> CfgNode:
    return CfgNode(values)


_INPUT = _section(
    FORMAT="BGR",
    MASK_FORMAT="polygon",
    MIN_SIZE_TRAIN=(800,),
    MIN_SIZE_TRAIN_SAMPLING="choice",
    MIN_SIZE_TEST=800,
    MAX_SIZE_TRAIN=1333,
    MAX_SIZE_TEST=1333,
    RANDOM_FLIP="horizontal",
    CROP=_section(ENABLED=False, TYPE="relative_range", SIZE=[0.9, 0.9]),
)

_DATASETS = _section(
    TRAIN=(),
    TEST=(),
    PROPOSAL_FILES_TRAIN=(),
    PROPOSAL_FILES_TEST=(),
    PRECOMPUTED_PROPOSAL_TOPK_TRAIN=2000,
    PRECOMPUTED_PROPOSAL_TOPK_TEST=1000,
)

_DATALOADER = _section(
    NUM_WORKERS=4,
    SAMPLER_TRAIN="TrainingSampler",
    ASPECT_RATIO_GROUPING=True,
    FILTER_EMPTY_ANNOTATIONS=True,
    REPEAT_THRESHOLD=0.0,
    REPEAT_SQRT=True,
)

_RESNETS = _section(
    DEPTH=50,
    OUT_FEATURES=_C4,
    NORM="FrozenBN",
    NUM_GROUPS=1,
    WIDTH_PER_GROUP=64,
    STRIDE_IN_1X1=True,
    RES5_DILATION=1,
    RES2_OUT_CHANNELS=256,
    STEM_OUT_CHANNELS=64,
    DEFORM_ON_PER_STAGE=[False] * 4,
    DEFORM_MODULATED=False,
    DEFORM_NUM_GROUPS=1,
)

_RPN = _section(
    HEAD_NAME="StandardRPNHead",
    IN_FEATURES=_C4,
    CONV_DIMS=[-1],
    BOUNDARY_THRESH=-1,
    IOU_THRESHOLDS=[0.3, 0.7],
    IOU_LABELS=[0, -1, 1],
    BATCH_SIZE_PER_IMAGE=256,
    POSITIVE_FRACTION=0.5,
    BBOX_REG_LOSS_TYPE="smooth_l1",
    BBOX_REG_LOSS_WEIGHT=1.0,
    BBOX_REG_WEIGHTS=_UNIT_BOX_WEIGHTS,
    SMOOTH_L1_BETA=0.0,
    LOSS_WEIGHT=1.0,
    PRE_NMS_TOPK_TRAIN=12000,
    PRE_NMS_TOPK_TEST=6000,
    POST_NMS_TOPK_TRAIN=2000,
    POST_NMS_TOPK_TEST=1000,
    NMS_THRESH=0.7,
)

_ROI_HEADS = _section(
    NAME="Res5ROIHeads",
    NUM_CLASSES=80,
    IN_FEATURES=_C4,
    IOU_THRESHOLDS=[0.5],
    IOU_LABELS=[0, 1],
    BATCH_SIZE_PER_IMAGE=512,
    POSITIVE_FRACTION=0.25,
    PROPOSAL_APPEND_GT=True,
    SCORE_THRESH_TEST=0.05,
    NMS_THRESH_TEST=0.5,
)

_ROI_BOX_HEAD = _section(
    NAME="",
    NORM="",
    NUM_CONV=0,
    CONV_DIM=256,
    NUM_FC=0,
    FC_DIM=1024,
    BBOX_REG_LOSS_TYPE="smooth_l1",
    BBOX_REG_LOSS_WEIGHT=1.0,
    BBOX_REG_WEIGHTS=(10.0, 10.0, 5.0, 5.0),
    SMOOTH_L1_BETA=0.0,
    CLS_AGNOSTIC_BBOX_REG=False,
    TRAIN_ON_PRED_BOXES=False,
    USE_SIGMOID_CE=False,
    USE_FED_LOSS=False,
    FED_LOSS_FREQ_WEIGHT_POWER=0.5,
    FED_LOSS_NUM_CLASSES=50,
    **_ROI_POOLER,
)

_ROI_BOX_CASCADE_HEAD = _section(
    IOUS=(0.5, 0.6, 0.7),
    BBOX_REG_WEIGHTS=tuple((a, a, a / 2, a / 2) for a in (10.0, 20.0, 30.0)),
)

_ROI_MASK_HEAD = _section(
    NAME="MaskRCNNConvUpsampleHead",
    NORM="",
    NUM_CONV=0,
    CONV_DIM=256,
    CLS_AGNOSTIC_MASK=False,
    **_ROI_POOLER,
)

_ROI_KEYPOINT_HEAD = _section(
    NAME="KRCNNConvDeconvUpsampleHead",
    CONV_DIMS=(512,) * 8,
    NUM_KEYPOINTS=17,
    MIN_KEYPOINTS_PER_IMAGE=1,
    NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS=True,
    LOSS_WEIGHT=1.0,
    **_ROI_POOLER,
)

_RETINANET = _section(
    NUM_CLASSES=80,
    IN_FEATURES=["p3", "p4", "p5", "p6", "p7"],
    NUM_CONVS=4,
    NORM="",
    IOU_THRESHOLDS=[0.4, 0.5],
    IOU_LABELS=[0, -1, 1],
    PRIOR_PROB=0.01,
    SCORE_THRESH_TEST=0.05,
    TOPK_CANDIDATES_TEST=1000,
    NMS_THRESH_TEST=0.5,
    BBOX_REG_WEIGHTS=_UNIT_BOX_WEIGHTS,
    BBOX_REG_LOSS_TYPE="smooth_l1",
    SMOOTH_L1_LOSS_BETA=0.1,
    FOCAL_LOSS_ALPHA=0.25,
    FOCAL_LOSS_GAMMA=2.0,
)

_SEM_SEG_HEAD = _section(
    NAME="SemSegFPNHead",
    IN_FEATURES=["p2", "p3", "p4", "p5"],
    NUM_CLASSES=54,
    IGNORE_VALUE=255,
    CONVS_DIM=128,
    COMMON_STRIDE=4,
    NORM="GN",
    LOSS_WEIGHT=1.0,
)

_PANOPTIC_FPN = _section(
    INSTANCE_LOSS_WEIGHT=1.0,
    COMBINE=_section(
        ENABLED=True,
        OVERLAP_THRESH=0.5,
        STUFF_AREA_LIMIT=4096,
        INSTANCES_CONFIDENCE_THRESH=0.5,
    ),
)

_MODEL = _section(
    META_ARCHITECTURE="GeneralizedRCNN",
    DEVICE="cuda",
    WEIGHTS="",
    LOAD_PROPOSALS=False,
    MASK_ON=False,
    KEYPOINT_ON=False,
    PIXEL_MEAN=[103.530, 116.280, 123.675],  # ImageNet, in BGR
    PIXEL_STD=[1.0, 1.0, 1.0],
    BACKBONE=_section(NAME="build_resnet_backbone", FREEZE_AT=2),
    FPN=_section(IN_FEATURES=[], OUT_CHANNELS=256, NORM="", FUSE_TYPE="sum"),
    PROPOSAL_GENERATOR=_section(NAME="RPN", MIN_SIZE=0),
    ANCHOR_GENERATOR=_section(
        NAME="DefaultAnchorGenerator",
        SIZES=[[32, 64, 128, 256, 512]],
        ASPECT_RATIOS=[[0.5, 1.0, 2.0]],
        ANGLES=[[-90, 0, 90]],
        OFFSET=0.0,
    ),
    RPN=_RPN,
    ROI_HEADS=_ROI_HEADS,
    ROI_BOX_HEAD=_ROI_BOX_HEAD,
    ROI_BOX_CASCADE_HEAD=_ROI_BOX_CASCADE_HEAD,
    ROI_MASK_HEAD=_ROI_MASK_HEAD,
    ROI_KEYPOINT_HEAD=_ROI_KEYPOINT_HEAD,
    SEM_SEG_HEAD=_SEM_SEG_HEAD,
    PANOPTIC_FPN=_PANOPTIC_FPN,
    RETINANET=_RETINANET,
    RESNETS=_RESNETS,
)

_SOLVER = _section(
    IMS_PER_BATCH=16,
    REFERENCE_WORLD_SIZE=0,
    MAX_ITER=40000,
    CHECKPOINT_PERIOD=5000,
    BASE_LR=0.001,
    BASE_LR_END=0.0,
    BIAS_LR_FACTOR=1.0,
    MOMENTUM=0.9,
    NESTEROV=False,
    WEIGHT_DECAY=0.0001,
    WEIGHT_DECAY_NORM=0.0,
    WEIGHT_DECAY_BIAS=None,
    LR_SCHEDULER_NAME="WarmupMultiStepLR",
    STEPS=(30000,),
    GAMMA=0.1,
    NUM_DECAYS=3,
    RESCALE_INTERVAL=False,
    WARMUP_FACTOR=1.0 / 1000,
    WARMUP_ITERS=1000,
    WARMUP_METHOD="linear",
    CLIP_GRADIENTS=_section(ENABLED=False, CLIP_TYPE="value", CLIP_VALUE=1.0, NORM_TYPE=2.0),
    AMP=_section(ENABLED=False),
)

_TEST = _section(
    EXPECTED_RESULTS=[],
    EVAL_PERIOD=0,
    KEYPOINT_OKS_SIGMAS=[],
    DETECTIONS_PER_IMAGE=100,
    AUG=_section(ENABLED=False, MIN_SIZES=tuple(range(400, 1201, 100)), MAX_SIZE=4000, FLIP=True),
    PRECISE_BN=_section(ENABLED=False, NUM_ITER=200),
)

_C = _section(
    VERSION=2,  # of the format; raised when a key goes away or changes its meaning
    MODEL=_MODEL,
    INPUT=_INPUT,
    DATASETS=_DATASETS,
    DATALOADER=_DATALOADER,
    SOLVER=_SOLVER,
    TEST=_TEST,
    OUTPUT_DIR="./output",
    SEED=-1,
    CUDNN_BENCHMARK=False,
    FLOAT32_PRECISION="",
    VIS_PERIOD=0,
    GLOBAL=_section(HACK=1.0),
)
