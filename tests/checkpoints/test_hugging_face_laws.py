"""Every value of a Hugging Face folder arrives under its key, and what holds at every limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from freeseg.catalog import dataset_metadata
from freeseg.checkpoints import config_from_hugging_face, hugging_face_origins
from freeseg.checkpoints.hugging_face_labels import read_labels
from freeseg.checkpoints.hugging_face_processor import FILTERS, read_processor
from freeseg.structures import Vocabulary

# the port's key -> ours; the first of the pair is the section of the model's kind
SHARED = {
    "encoder_layers": "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS",
    "encoder_feedforward_dim": "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_DIM_FEEDFORWARD",
    "common_stride": "MODEL.SEM_SEG_HEAD.COMMON_STRIDE",
}
DECODER = {
    "num_attention_heads": "NHEADS",
    "dim_feedforward": "DIM_FEEDFORWARD",
    "hidden_dim": "HIDDEN_DIM",
    "num_queries": "NUM_OBJECT_QUERIES",
    "decoder_layers": "DEC_LAYERS",
    "pre_norm": "PRE_NORM",
    "dropout": "DROPOUT",
    "no_object_weight": "NO_OBJECT_WEIGHT",
    "class_weight": "CLASS_WEIGHT",
    "mask_weight": "MASK_WEIGHT",
    "dice_weight": "DICE_WEIGHT",
    "train_num_points": "TRAIN_NUM_POINTS",
    "oversample_ratio": "OVERSAMPLE_RATIO",
    "importance_sample_ratio": "IMPORTANCE_SAMPLE_RATIO",
}
OWN = {
    "mask2former": {
        "feature_size": "MODEL.SEM_SEG_HEAD.CONVS_DIM",
        "mask_feature_size": "MODEL.SEM_SEG_HEAD.MASK_DIM",
        "enforce_input_projection": "MODEL.MASK_FORMER.ENFORCE_INPUT_PROJ",
    },
    "oneformer": {
        "conv_dim": "MODEL.SEM_SEG_HEAD.CONVS_DIM",
        "mask_dim": "MODEL.SEM_SEG_HEAD.MASK_DIM",
        "enforce_input_proj": "MODEL.ONE_FORMER.ENFORCE_INPUT_PROJ",
        "query_dec_layers": "MODEL.ONE_FORMER.CLASS_DEC_LAYERS",
        "use_task_norm": "MODEL.ONE_FORMER.USE_TASK_NORM",
        "contrastive_weight": "MODEL.ONE_FORMER.CONTRASTIVE_WEIGHT",
        "contrastive_temperature": "MODEL.ONE_FORMER.CONTRASTIVE_TEMPERATURE",
        "is_training": "MODEL.IS_TRAIN",
        "text_encoder_width": "MODEL.TEXT_ENCODER.WIDTH",
        "text_encoder_num_layers": "MODEL.TEXT_ENCODER.NUM_LAYERS",
        "text_encoder_context_length": "MODEL.TEXT_ENCODER.CONTEXT_LENGTH",
        "text_encoder_vocab_size": "MODEL.TEXT_ENCODER.VOCAB_SIZE",
        "text_encoder_proj_layers": "MODEL.TEXT_ENCODER.PROJ_NUM_LAYERS",
        "text_encoder_n_ctx": "MODEL.TEXT_ENCODER.N_CTX",
        "task_seq_len": "INPUT.TASK_SEQ_LEN",
    },
}
SECTION = {"mask2former": "MODEL.MASK_FORMER", "oneformer": "MODEL.ONE_FORMER"}
RATIOS = ("dropout", "weight", "ratio", "temperature")  # how keys of floats end
FLAGS = ("pre_norm", "enforce_input", "use_task_norm", "is_training")
SWIN = {
    "image_size": "PRETRAIN_IMG_SIZE",
    "patch_size": "PATCH_SIZE",
    "embed_dim": "EMBED_DIM",
    "depths": "DEPTHS",
    "num_heads": "NUM_HEADS",
    "window_size": "WINDOW_SIZE",
    "mlp_ratio": "MLP_RATIO",
    "qkv_bias": "QKV_BIAS",
    "drop_path_rate": "DROP_PATH_RATE",
    "use_absolute_embeddings": "APE",
}
SWIN_VALUES = (201, 5, 17, [1, 2, 3, 4], [5, 6, 7, 8], 9, 3.5, False, 0.375, True)
RESNET = {
    "model_type": "resnet",
    "layer_type": "bottleneck",
    "hidden_sizes": [24, 48, 96, 192],
    "embedding_size": 11,
    "downsample_in_bottleneck": True,
}


def at(cfg, key: str):
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def port_of(kind: str, backbone: dict, **more) -> tuple[dict, dict]:
    """A config.json whose values are all different, and what is wanted by our keys."""
    decoder = {name: f"{SECTION[kind]}.{key}" for name, key in DECODER.items()}
    keys = {**SHARED, **decoder, **OWN[kind]}
    values: dict = {}
    for number, name in enumerate(keys, start=31):
        values[name] = number / 64 if name.endswith(RATIOS) else number
        if name.startswith(FLAGS):
            values[name] = number % 2 == 0
    port = {"model_type": kind, "backbone_config": backbone, **values, **more}
    return port, {keys[name]: value for name, value in values.items()}


def config_of(folder: Path, port: dict):
    (folder / "config.json").write_text(json.dumps(port))
    return config_from_hugging_face(folder)


@pytest.mark.parametrize("kind", SECTION)
@pytest.mark.parametrize("are_flags_on", [True, False])
def test_every_value_of_the_port_has_its_key(tmp_path, kind, are_flags_on):
    swin = {"model_type": "swin", **dict(zip(SWIN, SWIN_VALUES))}
    port, wanted = port_of(kind, swin, id2label={"0": "a", "1": "b", "2": "c"})
    flags = {name: are_flags_on for name in port if name.startswith(FLAGS)}
    port |= flags
    cfg = config_of(tmp_path, port)
    wanted |= {f"MODEL.SWIN.{key}": port["backbone_config"][name] for name, key in SWIN.items()}
    wanted |= {key: are_flags_on for key, value in wanted.items() if value in (True, False)} | {
        "MODEL.SWIN.APE": True,
        "MODEL.SWIN.QKV_BIAS": False,
        "MODEL.BACKBONE.NAME": "D2SwinTransformer",
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 3,
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.WEIGHTS": str(tmp_path),
        "TEST.DETECTIONS_PER_IMAGE": port["num_queries"],
    }
    assert {key: at(cfg, key) for key in wanted} == wanted
    test = cfg.MODEL.MASK_FORMER.TEST if kind == "mask2former" else cfg.MODEL.TEST
    assert [test.SEMANTIC_ON, test.INSTANCE_ON, test.PANOPTIC_ON] == [True] * 3
    assert (test.OBJECT_MASK_THRESHOLD, test.OVERLAP_THRESHOLD) == (0.5, 0.8)
    name = {"mask2former": "MaskFormer", "oneformer": "OneFormer"}[kind]
    found = [cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.SEM_SEG_HEAD.NAME]
    assert found == [name, f"{name}Head"]


DEPTHS = {50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}  # He et al., table 1


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", SECTION)
def test_every_resnet_has_its_depth_and_widths(tmp_path, kind, depth):
    port, _ = port_of(kind, {**RESNET, "depths": DEPTHS[depth]})
    cfg = config_of(tmp_path, port)
    node = cfg.MODEL.RESNETS
    assert (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_AT) == ("build_resnet_backbone", 0)
    sizes = [node.DEPTH, node.STEM_OUT_CHANNELS, node.RES2_OUT_CHANNELS]
    assert sizes == [depth, 11, 24]
    assert (node.WIDTH_PER_GROUP, node.STRIDE_IN_1X1) == (6, True)
    assert node.OUT_FEATURES == ["res2", "res3", "res4", "res5"]


# classes

PAIRS = {  # number of classes -> the training and the test set that have them
    8: ("cityscapes_fine_instance_seg_train", "cityscapes_fine_instance_seg_val"),
    19: ("cityscapes_fine_panoptic_train", "cityscapes_fine_panoptic_val"),
    65: ("mapillary_vistas_panoptic_train", "mapillary_vistas_panoptic_val"),
    80: ("coco_2017_train", "coco_2017_val"),
    100: ("ade20k_instance_train", "ade20k_instance_val"),
    133: ("coco_2017_train_panoptic", "coco_2017_val_panoptic"),
    150: ("ade20k_panoptic_train", "ade20k_panoptic_val"),
}


def names_of(number: int) -> tuple[str, ...]:
    return Vocabulary.of_dataset(dataset_metadata(PAIRS[number][0])).names


def by_label(names) -> dict[str, str]:
    return {str(label): name for label, name in enumerate(names)}


@pytest.mark.parametrize("number", PAIRS)
@pytest.mark.parametrize("kind", SECTION)
def test_known_classes_are_those_of_both_sets_of_a_dataset(tmp_path, kind, number):
    names = names_of(number)
    assert len(names) == number
    port, _ = port_of(kind, {**RESNET, "depths": DEPTHS[50]}, id2label=by_label(names))
    cfg = config_of(tmp_path, port)
    assert (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST) == PAIRS[number]
    test = cfg.MODEL.MASK_FORMER.TEST if kind == "mask2former" else cfg.MODEL.TEST
    assert (test.OBJECT_MASK_THRESHOLD, test.OVERLAP_THRESHOLD) == (0.8, 0.8)
    found = cfg.TEST.DETECTIONS_PER_IMAGE
    assert found == (port["num_queries"] if kind == "oneformer" else 100)
    assert hugging_face_origins(tmp_path) == {
        "classes": f"config.json, the dataset {PAIRS[number][1]}",
        "things": f"the dataset {PAIRS[number][1]}",
        "input": "the port's own: no preprocessor_config.json",
        "thresholds": "the release of these classes",
    }


def labels_of(folder: Path, processor=None, **port):
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return read_labels(folder, port, read_processor(folder, "oneformer"))


@pytest.mark.parametrize(("same", "is_known"), [(4, True), (3, False)])
def test_half_of_the_names_of_a_dataset_are_enough(tmp_path, same, is_known):
    names = [*(f" {name.upper()} , b" for name in names_of(8)[:same]), *("own",) * (8 - same)]
    labels = labels_of(tmp_path, id2label=by_label(names))
    assert labels.datasets == (PAIRS[8] if is_known else None)
    assert labels.names == (names_of(8) if is_known else tuple(names))


def test_names_at_other_places_are_others(tmp_path):
    names = (*names_of(8)[1:], names_of(8)[0])
    assert labels_of(tmp_path, id2label=by_label(names)).datasets is None


def test_some_numbered_labels_are_named(tmp_path):
    labels = labels_of(tmp_path, id2label={"0": "LABEL_0", "1": "b"})
    assert labels.doubts() == "does not say which classes are things: all are taken for things"
    port, _ = port_of("mask2former", {**RESNET, "depths": DEPTHS[50]}, id2label={"0": "a"})
    config_of(tmp_path, port)
    assert hugging_face_origins(tmp_path) == {
        "classes": "config.json",
        "things": "the port: nothing says which are things",
        "input": "the port's own: no preprocessor_config.json",
        "thresholds": "defaults of the port's post-processing",
    }


@pytest.mark.parametrize(
    ("missing", "said"), [(5, "1, 2, 3, 4, 5"), (6, "1, 2, 3, 4, 5 and 1 more")]
)
def test_missing_names_are_listed_up_to_five(tmp_path, missing, said):
    with pytest.raises(ValueError, match=f"id2label has no name for {said}, wanted"):
        labels_of(tmp_path, id2label={"0": "a"}, num_labels=missing + 1)


def test_all_and_none_may_be_things(tmp_path):
    for things in ([0, 1], []):
        found = labels_of(
            tmp_path, {"metadata": {"thing_ids": things}}, id2label={"0": "a", "1": "b"}
        )
        assert found.things == set(things)
        assert found.things_from == "metadata of preprocessor_config.json"


def test_own_classes_are_registered_with_their_own_ids_and_things(tmp_path):
    rows = [{"id": 7, "name": "a", "isthing": 0}, {"id": 2, "name": "b", "isthing": 1}]
    (tmp_path / "classes.json").write_text(json.dumps(rows))
    labels = labels_of(tmp_path, num_labels=2)
    train, test = labels.register(f"own classes of {tmp_path}")
    assert train == test == f"own classes of {tmp_path}"
    found = dataset_metadata(test)
    assert (found.stuff_classes, found.thing_classes) == (["a", "b"], ["a", "b"])
    assert found.stuff_dataset_id_to_contiguous_id == {7: 0, 2: 1}
    assert found.thing_dataset_id_to_contiguous_id == {2: 1}


# photos


def processed(folder: Path, kind="mask2former", **values) -> dict:
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    return read_processor(folder, kind).config()


def test_filters_are_pils_by_their_numbers(tmp_path):
    own = [Image.Resampling(number).name.lower() for number in range(6)]
    assert list(FILTERS) == own
    for number, name in enumerate(FILTERS):
        assert processed(tmp_path, resample=number)["INPUT.TEST_RESIZE.FILTER"] == name
    for number in (-1, len(FILTERS), "2", None):
        with pytest.raises(ValueError, match="resample is a number of PIL's filters"):
            processed(tmp_path, resample=number)
    assert processed(tmp_path)["INPUT.TEST_RESIZE.FILTER"] == "bilinear"


@pytest.mark.parametrize(
    ("values", "shortest", "longest"),
    [
        ({}, 800, 1333),
        ({"size": 1}, 1, 1333),
        ({"size": 640, "max_size": 70}, 640, 70),
        ({"_max_size": 50}, 800, 50),
        ({"_max_size": 50, "max_size": 60}, 800, 60),
        ({"size": {"shortest_edge": 3, "longest_edge": 9}, "max_size": 60}, 3, 9),
        ({"size": {"shortest_edge": 3, "longest_edge": None}, "max_size": 60}, 3, 60),
        ({"size": {"shortest_edge": 3, "height": None}}, 3, 1333),
    ],
)
def test_sizes_of_every_spelling(tmp_path, values, shortest, longest):
    found = processed(tmp_path, **values)
    assert (found["INPUT.MIN_SIZE_TEST"], found["INPUT.MAX_SIZE_TEST"]) == (shortest, longest)
    assert "INPUT.TEST_RESIZE.SIZE" not in found


@pytest.mark.parametrize("size", [0, True, 2.5, [3], [3, 4, 5], {"height": 3, "width": True}])
def test_sizes_that_are_none_are_refused(tmp_path, size):
    with pytest.raises(ValueError, match="wanted size as shortest_edge and longest_edge or as"):
        processed(tmp_path, size=size)


@pytest.mark.parametrize(
    ("kind", "values", "divisor"),
    [
        ("mask2former", {}, 32),
        ("maskformer", {}, 32),
        ("oneformer", {}, 0),
        ("oneformer", {"size_divisor": 16}, 0),
        ("mask2former", {"size_divisor": 0}, 0),
        ("mask2former", {"size_divisor": 1, "size_divisibility": 8}, 1),
        ("mask2former", {"size_divisibility": 8}, 8),
        ("mask2former", {"image_processor_type": "ONEFORMERImageProcessor"}, 0),
        ("oneformer", {"feature_extractor_type": "MaskFormerFeatureExtractor"}, 32),
        ("oneformer", {"image_processor_type": "DetrImageProcessor"}, 0),
    ],
)
def test_sides_are_multiples_of_what_the_processor_says(tmp_path, kind, values, divisor):
    found = processed(tmp_path, kind, **values)
    assert found["INPUT.TEST_RESIZE.DIVISOR"] == divisor
    assert found["INPUT.TEST_RESIZE.ROUNDS_DOWN"] is True
    for name in ("MASK_FORMER", "ONE_FORMER"):
        assert found[f"MODEL.{name}.SIZE_DIVISIBILITY"] == 0


def test_what_is_left_out_is_left_out(tmp_path):
    found = processed(tmp_path, do_resize=False, do_normalize=False, do_rescale=False, resample=77)
    assert found["INPUT.MIN_SIZE_TEST"] == 0
    assert not [key for key in found if "RESIZE" in key or "MAX_SIZE" in key]
    assert (found["MODEL.PIXEL_MEAN"], found["MODEL.PIXEL_STD"]) == ([0.0] * 3, [1.0] * 3)
    assert found["INPUT.FORMAT"] == "RGB"


def test_means_are_of_every_channel_and_scaled(tmp_path):
    found = processed(tmp_path, image_mean=[0.1, 0.2, 0.3], image_std=0.5, rescale_factor=0.01)
    assert found["MODEL.PIXEL_MEAN"] == pytest.approx([10, 20, 30])
    assert found["MODEL.PIXEL_STD"] == pytest.approx([50, 50, 50])
    found = processed(tmp_path)
    assert found["MODEL.PIXEL_MEAN"] == pytest.approx(
        [255 * each for each in (0.485, 0.456, 0.406)]
    )
    assert found["MODEL.PIXEL_STD"] == pytest.approx([255 * each for each in (0.229, 0.224, 0.225)])
    for wrong in ([0.1, 0.2, "x"], [0.1] * 4, "0.5", None):
        with pytest.raises(ValueError, match="image_mean is a number per channel"):
            processed(tmp_path, image_mean=wrong)


def test_of_both_files_the_first_counts(tmp_path):
    (tmp_path / "processor_config.json").write_text(json.dumps({"size": 10}))
    assert read_processor(tmp_path, "oneformer").source == "processor_config.json"
    assert processed(tmp_path, size=20)["INPUT.MIN_SIZE_TEST"] == 20
    assert read_processor(tmp_path, "oneformer").source == "preprocessor_config.json"
