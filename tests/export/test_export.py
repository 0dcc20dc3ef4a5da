"""Exported programs give the model's numbers, with standard operators only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from freeseg import add_freeseg_config, build_model
from freeseg.export import (
    DynamicSize,
    build_graph,
    export_program,
    largest_difference,
    write_onnx,
)
from freeseg.structures import Vocabulary

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SYSTEMS = {
    "Mask2Former": CONFIGS / "Base-Mask2Former-small.yaml",
    "OneFormer": CONFIGS / "oneformer/shapes/oneformer_small.yaml",
    "LSeg": CONFIGS / "lseg/shapes/small.yaml",
}
CLASSES = Vocabulary(
    ("car", "sky", "tree"), (True, False, False), (("car", "auto"), ("sky",), ("tree",))
)
TOLERANCE = 1e-3


def model_of(system):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(SYSTEMS[system]))
    if system == "LSeg":
        cfg.MODEL.LSEG.REGULARISATION, cfg.MODEL.LSEG.BLOCK_DEPTH = "bottleneck", 2
    else:
        section = cfg.MODEL.ONE_FORMER if system == "OneFormer" else cfg.MODEL.MASK_FORMER
        section.NUM_OBJECT_QUERIES, section.DEC_LAYERS = 6, 3
    cfg.MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS = 1
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.MODEL.IS_TRAIN, cfg.DATASETS.TRAIN = False, ()
    torch.manual_seed(0)
    return build_model(cfg).eval()


def images(batch=2, height=64, width=96, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, generator=generator) * 255


def graph_of(system):
    return build_graph(model_of(system), vocabulary=CLASSES if system == "LSeg" else None)


def assert_close(graph, pictures, program):
    differences = largest_difference(graph, pictures, program)
    assert tuple(differences) == graph.output_names
    assert max(differences.values()) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_fixed_program_and_onnx_give_the_models_numbers(system, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    graph = graph_of(system)
    program = export_program(graph, images(batch=1))
    assert not [node for node in program.graph.nodes if "freeseg" in str(node.target)]
    assert_close(graph, images(batch=1, seed=5), program)
    write_onnx(program, tmp_path / "model.onnx", graph.output_names)
    assert_close(graph, images(batch=1, seed=5), tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_dynamic_program_takes_other_sizes(system, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    graph = graph_of(system)
    program = export_program(graph, images(), DynamicSize(batch=True, sides=True))
    write_onnx(program, tmp_path / "model.onnx", graph.output_names)
    for other in (images(3, 96, 128), images(1, 64, 64)):
        assert_close(graph, other, program)
        assert_close(graph, other, tmp_path / "model.onnx")


def test_the_graph_is_the_models_own_prediction():
    model = model_of("Mask2Former")
    pictures = images(batch=1)
    with torch.no_grad():
        expected = model.sem_seg_head.final(model.encode(model.prepare([pictures[0]])))
        class_logits, mask_logits = build_graph(model)(pictures)
    torch.testing.assert_close(class_logits, expected.class_logits)
    torch.testing.assert_close(mask_logits, expected.mask_logits)


def test_a_task_is_part_of_the_graph():
    model = model_of("OneFormer")
    pictures = images(batch=1)
    with torch.no_grad():
        features = model.encode(model.prepare([pictures[0]]))
        for task in ("semantic", "instance"):
            expected = model.sem_seg_head.final(features, model.embed_tasks([task]))
            found = build_graph(model, task)(pictures)
            torch.testing.assert_close(found[0], expected.class_logits)


def test_a_class_list_is_part_of_the_graph():
    model = model_of("LSeg")
    pictures = images()
    with torch.no_grad():
        features = model.encode(model.prepare(list(pictures)))
        for classes in (CLASSES, model.vocabulary):
            expected = model.sem_seg_head(features, model.text(classes), classes)
            (found,) = build_graph(model, vocabulary=classes)(pictures)
            torch.testing.assert_close(found, expected)
    assert not [name for name in build_graph(model).state_dict() if "text_adapter" in name]


def test_what_cannot_be_exported_says_so():
    with pytest.raises(
        ValueError, match="Linear has no graph to export, known are LSeg, Mask2Former"
    ):
        build_graph(torch.nn.Linear(1, 1))
    model = model_of("Mask2Former")
    with pytest.raises(ValueError, match="Mask2Former has classes of its own"):
        build_graph(model, vocabulary=CLASSES)
    with pytest.raises(ValueError, match="LSeg answers semantic, not panoptic"):
        build_graph(model_of("LSeg"), "panoptic")
    graph = build_graph(model)
    with pytest.raises(ValueError, match="wanted sides that are multiples of 32, got 70x64"):
        export_program(graph, images(width=70))
