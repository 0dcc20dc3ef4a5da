"""Names of weights both ways: nothing is lost, merged, renamed twice or turned on its side."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from freeseg.checkpoints import KEY_MAPS, detect_system, read_checkpoint
from freeseg.systems.lseg.weights import RELEASE as LSEG

sys.path.insert(0, str(Path(__file__).parents[1]))
from hugging_face_ports import REASON, backbone_config

TWINS = Path(__file__).parents[1] / "golden/twins"
SIDE = 64  # of every layer of the ports: many weights are square
CLASSES = {"mask2former": "Mask2Former", "oneformer": "OneFormer"}


def port_of(kind: str, backbone: str):
    """A port of transformers whose weights are all different numbers."""
    transformers = pytest.importorskip("transformers", "5", reason=REASON)
    sizes = {"hidden_dim": SIDE, "encoder_feedforward_dim": SIDE, "dim_feedforward": SIDE}
    sizes |= {"encoder_layers": 1, "decoder_layers": 3, "num_queries": 5, "num_labels": 3}
    own = {
        "mask2former": {"feature_size": SIDE, "mask_feature_size": SIDE},
        "oneformer": {
            **{"conv_dim": SIDE, "mask_dim": SIDE, "is_training": True},
            **{"text_encoder_width": SIDE, "text_encoder_num_layers": 1},
            **{"text_encoder_vocab_size": 90},
        },
    }[kind]
    config = getattr(transformers, f"{CLASSES[kind]}Config")
    port = config(backbone_config=backbone_config(transformers, backbone), **sizes, **own)
    model = getattr(transformers, f"{CLASSES[kind]}ForUniversalSegmentation")(port)
    torch.manual_seed(0)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.normal_()
    return model


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("backbone", ["swin", "resnet"])
def test_every_weight_of_a_port_has_one_place_and_keeps_its_sides(tmp_path, kind, backbone):
    model = port_of(kind, backbone)
    model.save_pretrained(tmp_path)
    for state in (read_checkpoint(tmp_path / "model.safetensors"), dict(model.state_dict())):
        system = detect_system(state)
        assert system == f"hf-{kind}"
        conversion = KEY_MAPS[system].convert(state)
        kept = {key: value for key, value in state.items() if key not in conversion.dropped}
        known, found = {identity(value) for value in kept.values()}, []
        for value in conversion.state.values():  # as it was, or three that are stacked
            found += [value] if identity(value) in known else value.chunk(3)
        assert len(known) == len(kept) == len(found), "no more and no fewer"
        assert {identity(value) for value in found} == known
        assert all(
            re.search(r"layernorm\.(weight|bias)|num_batches_tracked", key)
            for key in conversion.dropped
        )
        ours = conversion.state
        assert detect_system(ours) == kind
        again = KEY_MAPS[kind].convert(ours)
        assert again.state.keys() == ours.keys()
        assert not again.renamed
        assert not again.dropped


def identity(value: torch.Tensor) -> tuple:
    """Tells tensors of different random numbers apart, and one from its transpose."""
    flat = value.double().reshape(-1)
    weights = torch.arange(1, len(flat) + 1, dtype=torch.float64)
    return tuple(value.shape), round(float(flat @ weights), 4), round(float(flat.sum()), 4)


def test_queries_keys_and_values_are_stacked_in_this_order():
    stem = "model.pixel_level_module.encoder.encoder.layers.0.blocks.0.attention.self"
    other = "model.transformer_module.decoder.layers.0.self_attn"
    state = {
        f"{stem}.{name}.weight": torch.full((2, 2), number)
        for number, name in enumerate(("value", "query", "key"))
    }
    state |= {
        f"{other}.{name}_proj.bias": torch.full((3,), number)
        for number, name in enumerate(("k", "v", "q"))
    }
    found = KEY_MAPS["hf-mask2former"].convert(state).state
    (own, decoder) = sorted(found)
    assert own.endswith("attn.qkv.weight")
    assert decoder.endswith("self_attn.in_proj_bias")
    assert found[own][:, 0].tolist() == [1, 1, 2, 2, 0, 0]
    assert found[decoder].tolist() == [2, 2, 2, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("system", ["freeseg", "mask2former", "oneformer"])
def test_names_of_the_release_are_ours_and_stay_as_they_are(system):
    """The names of the twins were written down from the originals."""
    names = list(json.loads((TWINS / f"{system}.json").read_text())["gradients"])
    assert len(names) > 100
    assert detect_system(names) == system
    state = {name: torch.full((2, 3), number) for number, name in enumerate(names)}
    conversion = KEY_MAPS[system].convert(state)
    assert list(conversion.state) == names
    assert all(conversion.state[name] is state[name] for name in names)
    assert (conversion.renamed, conversion.dropped) == ({}, ())


def test_the_first_version_of_mask2former_calls_its_queries_otherwise():
    old = "sem_seg_head.predictor.static_query.weight"
    conversion = KEY_MAPS["mask2former"].convert({old: torch.eye(2)})
    assert list(conversion.state) == ["sem_seg_head.predictor.query_feat.weight"]
    assert conversion.renamed == {old: "sem_seg_head.predictor.query_feat.weight"}


RESNET = {  # torchvision's -> Detectron2's; the stem is a part of the release's first stage
    "layer1.0.weight": "stem.conv1.weight",
    "layer1.1.running_var": "stem.conv1.norm.running_var",
    "layer1.4.0.conv1.weight": "res2.0.conv1.weight",
    "layer1.4.2.bn3.bias": "res2.2.conv3.norm.bias",
    "layer1.4.0.downsample.0.weight": "res2.0.shortcut.weight",
    "layer2.3.bn1.weight": "res3.3.conv1.norm.weight",
    "layer3.22.conv2.weight": "res4.22.conv2.weight",
    "layer4.0.downsample.1.running_mean": "res5.0.shortcut.norm.running_mean",
}
LSEG_NAMES = {
    **{f"pretrained.{theirs}": f"backbone.{ours}" for theirs, ours in RESNET.items()},
    "pretrained.model.blocks.5.attn.qkv.weight": "backbone.model.blocks.5.attn.qkv.weight",
    "pretrained.act_postprocess1.3.weight": "backbone.act_postprocess1.3.weight",
    "pretrained.act_postprocess4.4.bias": "backbone.act_postprocess4.4.bias",
    "scratch.layer1_rn.weight": "sem_seg_head.layer1_rn.weight",
    "scratch.refinenet4.out_conv.weight": "sem_seg_head.refinenet4.out_conv.weight",
    "clip_pretrained.ln_final.bias": "text_adapter.clip_model.ln_final.bias",
    "clip_pretrained.transformer.resblocks.0.ln_1.bias": (
        "text_adapter.clip_model.transformer.resblocks.0.ln_1.bias"
    ),
}
LSEG_DROPPED = (
    *("train_accuracy.total", "val_iou.confmat", "criterion.weight"),
    *("net.clip_pretrained.visual.proj", "clip_pretrained.logit_scale"),
    *("net.clip_pretrained.vocab_size", "clip_pretrained.input_resolution"),
    "net.clip_pretrained.context_length",
)


@pytest.mark.parametrize("prefix", ["", "net."])
def test_names_of_lseg_one_by_one(prefix):
    state = {f"{prefix}{name}": torch.ones(n, 2) for n, name in enumerate(LSEG_NAMES, 1)}
    dropped = {name: torch.ones(1) for name in LSEG_DROPPED}
    conversion = LSEG.convert({**dropped, **state})
    assert {key: len(value) for key, value in conversion.state.items()} == {
        name: n for n, name in enumerate(LSEG_NAMES.values(), 1)
    }
    assert conversion.renamed == {f"{prefix}{old}": new for old, new in LSEG_NAMES.items()}
    assert conversion.dropped == LSEG_DROPPED
    again = LSEG.convert(conversion.state)
    assert (again.state, again.renamed) == (conversion.state, {})


MARKS = {
    "lseg": [
        *("net.pretrained.model.x", "pretrained.layer1.0.x", "net.scratch.head1.x"),
        *("pretrained.act_postprocess1.x", "scratch.layer1_rn.x", "sem_seg_head.head1.x"),
    ],
    "freeseg": ["clip_adapter.x", "model.clip_adapter.x"],
    "oneformer": ["task_mlp.layers.0.weight"],
    "mask2former": ["sem_seg_head.predictor.x"],
    "hf-oneformer": ["model.task_encoder.x"],
    "hf-mask2former": ["model.pixel_level_module.x"],
    None: ["xtask_mlp.y", "head1.x", "clip_adapterx", "backbone.x", "pretrained.layer2.x"],
}


@pytest.mark.parametrize(("system", "names"), MARKS.items(), ids=str)
def test_one_name_of_a_release_tells_it(system, names):
    for name in names:
        assert detect_system(["backbone.a", name, "b"]) == system, name
    assert detect_system([]) is None


SIGNALS = [f"prompt_learner.{part}_signal" for part in ("start", "dot", "end", "pad")]


def test_what_freeseg_drops_is_no_weight_wherever_it_stands():
    stems = ("", "model.")
    dropped = [
        f"{stem}clip_adapter.{name}"
        for stem in stems
        for name in ("pixel_mean", "pixel_std", *SIGNALS)
    ]
    dropped += [f"clip_adapter.clip_model.{size}" for size in ("input_resolution", "vocab_size")]
    dropped += ["criterion.empty_weight", "_region_clip_adapter.x", "region_clip_adapter.y.z"]
    kept = ["clip_adapter.pixel_means", "xcriterion.empty_weight", "clip_adapter.a"]
    state = {name: torch.ones(1) for name in (*dropped, *kept)}
    conversion = KEY_MAPS["freeseg"].convert(state)
    assert conversion.dropped == tuple(dropped)
    assert list(conversion.state) == kept
    KEY_MAPS["freeseg"].drop_from(state)
    assert list(state) == kept
