"""Keys of the trunk: the releases', under their published names and defaults, and ours.

Those that are said to be unused are there so that published files load: `freeseg.config.unused`.
"""

from __future__ import annotations

from detectron2.config import CfgNode


def add_input_keys(cfg: CfgNode) -> None:
    """Adds augmentation, tasks of training, and datasets of the user's own."""
    node = cfg.INPUT
    node.DATASET_MAPPER_NAME = "mask_former_semantic"  # a row of data/mapper_registry.py
    node.COLOR_AUG_SSD = False  # brightness, contrast, saturation, hue jitter
    node.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0  # retry crops that one class fills beyond this share
    node.SIZE_DIVISIBILITY = -1  # pad training images to a multiple of this; -1: not
    node.IMAGE_SIZE = 1024  # side of the large-scale-jitter crop
    node.BASE_SIZE = 0  # what large-scale jitter scales, the long side; 0: IMAGE_SIZE
    node.MIN_SCALE = 0.1  # large-scale jitter, relative to IMAGE_SIZE
    node.MAX_SCALE = 2.0
    node.TASK = ""  # targets: semantic, instance, panoptic, random; "": what the mapper name says
    node.TEST_RESIZE = resize = CfgNode()  # of test images, beside MIN_SIZE_TEST, MAX_SIZE_TEST
    resize.SIZE = []  # height and width whatever an image's shape, in place of these two
    resize.LONG_SIDE = 0  # of every image, half a pixel up, in place of these two; 0: they count
    resize.DIVISOR = 0  # sides are stretched to multiples of it; 0: not
    resize.FILTER = "bilinear"  # PIL's: nearest, bilinear, bicubic, lanczos, box, hamming
    resize.ROUNDS_DOWN = False  # cut sides off as the processors of Hugging Face do
    resize.AS_DETR = False  # likewise, the long side from the rounded short one
    node.TASK_NAME = ["semantic segmentation."]  # tasks drawn from, one per step
    node.TASK_PROB = CfgNode()  # cumulative, for TASK "random": the rest is panoptic
    node.TASK_PROB.SEMANTIC = 0.33
    node.TASK_PROB.INSTANCE = 0.66
    cfg.DATASETS.MERGE_TWINS = False  # put the objects of records together that have one photo
    cfg.DATASETS.IGNORE_UNKNOWN = False  # evaluate without classes that the model does not know
    cfg.DATASETS.CHECK = True  # look at all photos and annotation before the first step
    node.EXIF = "auto"  # frame of photos: as annotated by their sizes; or always upright, stored
    node.WHITE_LEVEL = 65535  # the value of 16-bit photos that is white; 4095 of 12-bit cameras
    cfg.DATASETS.MIX_LABEL_SETS = False  # train sets with different classes, each on its own
    cfg.DATASETS.CUSTOM = []  # rows [name, json_file, image_root, panoptic_root or ""]


def add_context_keys(cfg: CfgNode) -> None:
    """Adds the samples of the mapper in_context, with the values of SegGPT's and Painter's recipes.

    Photos are flipped by INPUT.RANDOM_FLIP; "none" where left and right are told apart.
    """
    cfg.INPUT.CONTEXT = node = CfgNode()
    node.SIDE = 448  # of a square view, whatever the photo's shape
    node.EXAMPLES = 1  # of a query
    node.SCALE = (0.3, 1.0)  # share of a photo that a view shows
    node.ASPECT = (3 / 4, 4 / 3)  # of that part, width to height
    node.JITTER = (0.4, 0.4, 0.2, 0.1)  # of brightness, contrast, saturation, hue
    node.JITTER_PROBABILITY = 0.8
    node.SAME_PHOTO = 0.5  # probability that examples of classes are views of the query's photo
    node.WEIGHTS = []  # how often each set is drawn (with DATASETS.MIX_LABEL_SETS); []: equally
    node.INSTANCE_SHARES = [0.5]  # of instances, where a set has classes too; one, or of every set
    node.SUBSETS = True  # ask for some of what a query shares with its examples; False: for all
    node.LEAST_AREA = 0.0005  # share of a view that an object must fill to be seen
    node.MIX_PROBABILITY = 0.25  # that an example, or the query, is a grid of views
    node.MIX_ACROSS = 2  # views in a row and a column of such a grid


def add_solver_keys(cfg: CfgNode) -> None:
    """Adds what the releases' optimizers need."""
    node = cfg.SOLVER
    node.WEIGHT_DECAY_EMBED = 0.0  # weight decay of embeddings
    node.OPTIMIZER = "ADAMW"  # ADAMW or SGD
    node.ACCUMULATION_STEPS = 1  # parts in which a batch goes through the model, for memory's sake
    node.FSDP = False  # divide parameters and optimizer states among the processes
    node.BACKBONE_MULTIPLIER = 0.1  # learning rate of the backbone relative to BASE_LR


def add_mask_former_keys(cfg: CfgNode) -> None:
    """Adds the sections of Mask2Former."""
    cfg.MODEL.MASK_FORMER = node = CfgNode()
    node.DEEP_SUPERVISION = True  # losses on the prediction of every layer
    node.NO_OBJECT_WEIGHT = 0.1  # cross-entropy weight of unmatched queries
    node.CLASS_WEIGHT = 1.0
    node.DICE_WEIGHT = 1.0
    node.MASK_WEIGHT = 20.0
    node.NHEADS = 8
    node.DROPOUT = 0.1  # of the pixel decoder's encoder; the query decoder has none
    node.DIM_FEEDFORWARD = 2048  # of the query decoder
    node.ENC_LAYERS = 0  # unused; kept so that published files load
    node.DEC_LAYERS = 6  # predictions, counting the one of the initial queries
    node.PRE_NORM = False  # layer norm before instead of after each sub-layer
    node.HIDDEN_DIM = 256
    node.NUM_OBJECT_QUERIES = 100
    node.TRANSFORMER_IN_FEATURE = "multi_scale_pixel_decoder"  # what the query decoder reads
    node.ENFORCE_INPUT_PROJ = False  # 1x1 convolution before the decoder even at equal width
    node.SIZE_DIVISIBILITY = 32  # batches are padded to a multiple; -1: the backbone's
    node.TRANSFORMER_DECODER_NAME = "MultiScaleMaskedTransformerDecoder"
    node.TRAIN_NUM_POINTS = 112 * 112  # sampled points of a mask, for matching and losses
    node.OVERSAMPLE_RATIO = 3.0  # candidates per point when uncertain ones are sought
    node.IMPORTANCE_SAMPLE_RATIO = 0.75  # share of the points that are the most uncertain
    node.TEST = CfgNode()
    node.TEST.SEMANTIC_ON = True
    node.TEST.INSTANCE_ON = False
    node.TEST.PANOPTIC_ON = False
    node.TEST.OBJECT_MASK_THRESHOLD = 0.0  # least class score of a panoptic segment
    node.TEST.OVERLAP_THRESHOLD = 0.0  # least visible share of a panoptic segment's mask
    node.TEST.MIN_AREA = 0  # least pixels of a panoptic segment
    node.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = False  # resize masks, then score pixels
    head = cfg.MODEL.SEM_SEG_HEAD
    head.MASK_DIM = 256  # channels of the per-pixel mask embedding
    head.TRANSFORMER_ENC_LAYERS = 0
    head.TRANSFORMER_ENC_DIM_FEEDFORWARD = (
        1024  # a constant in every release; small models take less
    )
    head.PIXEL_DECODER_NAME = "MSDeformAttnPixelDecoder"
    head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES = ["res3", "res4", "res5"]
    head.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS = 4
    head.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS = 8


def add_text_keys(cfg: CfgNode) -> None:
    """Adds the section of the text encoder."""
    cfg.MODEL.TEXT_ENCODER = node = CfgNode()
    node.NAME = "open_clip"  # open_clip, clip, clip_text, minilm, bert, bert_untrained or toy_clip
    node.MODEL = "ViT-B-16-quickgelu"  # open_clip: any of its models, hf-hub:..., local-dir:...
    node.WEIGHTS = ""  # a file, or what open_clip calls a pretraining; "": random, or as shipped
    node.SAVE = True  # keep the frozen encoder in checkpoints; they load with and without
    node.CACHE = True  # keep text features on the disk: $FREESEG_CACHE or the user's cache folder
    node.BERT = bert = CfgNode()  # sizes of bert_untrained, here those of bert-base-uncased
    bert.WIDTH = 768
    bert.DEPTH = 12
    bert.NHEADS = 12
    bert.DIM_FEEDFORWARD = 3072
    bert.POSITIONS = 512


def add_backbone_keys(cfg: CfgNode) -> None:
    """Adds the sections of Swin, ConvNeXt, DiNAT and timm."""
    cfg.MODEL.SWIN = swin = CfgNode()
    swin.PRETRAIN_IMG_SIZE = 224
    swin.PATCH_SIZE = 4
    swin.EMBED_DIM = 96
    swin.DEPTHS = [2, 2, 6, 2]
    swin.NUM_HEADS = [3, 6, 12, 24]
    swin.WINDOW_SIZE = 7
    swin.MLP_RATIO = 4.0
    swin.QKV_BIAS = True
    swin.QK_SCALE = None
    swin.DROP_RATE = 0.0
    swin.ATTN_DROP_RATE = 0.0
    swin.DROP_PATH_RATE = 0.3
    swin.APE = False  # absolute position embedding
    swin.PATCH_NORM = True
    swin.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    swin.USE_CHECKPOINT = False  # recompute activations to save memory
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
    cfg.MODEL.TIMM = timm = CfgNode()
    timm.NAME = "resnet18"  # any timm model that supports features_only
    timm.PRETRAINED = False  # let timm download its weights
    timm.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    timm.DROP_PATH_RATE = 0.0
    timm.NORM = ""  # "FrozenBN": batch norms are never trained
    timm.FREEZE_AT = ""  # map, such as "res2", up to which nothing is trained


def add_vit_keys(cfg: CfgNode) -> None:
    """Adds the section of DPT's plain ViT."""
    cfg.MODEL.DPT = vit = CfgNode()
    vit.NAME = "vit_large_patch16_384"  # any ViT of timm
    vit.PRETRAINED = False  # let timm download its weights where a training starts
    vit.TAPS = [5, 11, 17, 23]  # blocks after which tokens are read, from 0
    vit.CHANNELS = [256, 512, 1024, 1024]  # of the four maps
    vit.READOUT = "project"  # what becomes of the class token: project, add, ignore
    vit.DROP_PATH_RATE = 0.0
    for key in ("IMG_SIZE", "PATCH_SIZE", "EMBED_DIM", "DEPTH", "NUM_HEADS"):
        vit[key] = 0  # as the model's name says


def add_test_keys(cfg: CfgNode) -> None:
    """Adds sliding windows, the test sets of a task, and how systems without classes are judged."""
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
    # of a system that knows no classes: prompts are made of the truth
    cfg.TEST.POINTING = pointing = CfgNode()
    pointing.KINDS = ["clicks", "boxes"]  # of clicks, boxes, proposals
    pointing.MAX_CLICKS = 20  # on an object
    pointing.BOX_ROUNDS = 1  # 2: the box once more, with the mask logits of the answer
    pointing.BOX_ZOOM = False  # then closer, in the part of the photo around the object
    pointing.OBJECTS_AT_ONCE = 16  # that a system is asked about together
    pointing.POINTS_PER_SIDE = 64  # of proposals, and the three below
    pointing.MIN_QUALITY = 0.0
    pointing.MIN_STABILITY = 0.0
    pointing.MAX_OVERLAP = 0.9  # of the boxes of two proposals
    # of a system that follows examples: a class is shown on some photos and sought on another
    cfg.TEST.EPISODES = episodes = CfgNode()
    episodes.SHOTS = 1  # examples
    episodes.COUNT = 1000
    episodes.SEED = 0
    episodes.CLASSES = []  # names; []: all that enough photos show
    episodes.SIDE = 0  # of squares that photos are resized to; 0: not


def add_engine_keys(cfg: CfgNode) -> None:
    """Adds what the trainer and the evaluation of this package need."""
    cfg.MODEL.IS_TRAIN = True  # False: what only training needs is not built
    cfg.SOLVER.LOG_PERIOD = 20  # iterations between lines of the log, metrics.json, TensorBoard
    cfg.MODEL.CLASSES = ""  # a classes.json that a training has written; "": DATASETS.TRAIN says
    cfg.MODEL.KNOWS = ""  # the photos it learned from in a few words: "streets from a car"
    cfg.MODEL.ALLOW_MISFIT = False  # use weights that leave parameters out or have others
    cfg.TEST.EDGES = edges = CfgNode()  # of sets with drawn boundaries
    edges.POINTS = 16  # per side of the grid that is pointed at
    edges.MAX_OVERLAP = 0.7  # of boxes above which the worse mask gives no edge
    edges.THRESHOLDS = 99  # strengths at which edges are cut
    cfg.TEST.PANOPTIC_INSTANCES = False  # AP also against the things of the panoptic annotation
    cfg.TEST.SEEN_UNSEEN = (
        True  # also judge seen and unseen classes apart, where a dataset flags them
    )
    # The best model by it is kept: "auto" is PQ, AP or mIoU, whichever the first test set gives
    # first; or a name as in results.json, such as "sem_seg/mIoU"; "": none is kept.
    cfg.TEST.BEST_METRIC = "auto"
    # Photos of a lower certainty are called unsure; `freeseg measure-doubt` measures it; 0: none.
    cfg.TEST.UNSURE_BELOW = 0.0
    cfg.TEST.VIS_PERIOD = 0  # iterations between prediction pictures; 0: none are drawn
    cfg.TEST.VIS_IMAGES = 4  # number of test images in them
