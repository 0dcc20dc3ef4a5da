"""Beside another project: nothing of it changes, whatever is imported first, and ours still works.

Every order needs a process of its own, since nothing can be imported a second time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
STREET = TESTS.parent / "freeseg/web/examples/cyclists.jpg"
# what is known of everything that is not ours
DUMP = f"""
import json, runpy
# CPU builds of PyTorch beside PyPI's torchvision need it before Detectron2
stand_in = runpy.run_path({str(TESTS.parent / "freeseg/_torchvision.py")!r})
stand_in["allow_import_without_c_library"]()
"""
DUMP += """
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY

def dump():
    ours = ("freeseg.", "shapes_", "camvid_", "pascal_5i_", "coco_20i_")
    found = {}
    for registry in (BACKBONE_REGISTRY, META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY):
        for name, held in registry:
            # Detectron2's projects are imported by whoever needs one
            if not held.__module__.startswith("detectron2.projects"):
                found[registry._name + " " + name] = held.__module__
    for name in DatasetCatalog.list():
        load = DatasetCatalog[name]
        found["loader of " + name] = load.__module__ + " " + type(load).__name__
    for name in MetadataCatalog.list():
        for key, value in MetadataCatalog.get(name).as_dict().items():
            found[f"{key} of {name}"] = repr(value)
    return {key: value for key, value in found.items() if not key.split()[-1].startswith(ours)}
"""


# what a process finds that has imported both
FINDINGS = f"""
import freeseg
from freeseg.catalog import dataset_metadata
from freeseg.systems.building import read_config
from detectron2.modeling import build_model

found = {{"beside": dump()}}
found["taken"] = freeseg.register_release_names()
found["named"] = dump()
found["ade"] = list(dataset_metadata("ade20k_panoptic_val").thing_classes)

segmenter = freeseg.Segmenter.from_pretrained("camvid-mask2former")
labels = segmenter({str(STREET)!r}, "semantic").semantic
found["ours"] = [type(segmenter.model).__module__, list(labels.shape)]

def kind(build, name):
    cfg = read_config("freeseg://configs/camvid/mask2former_regnetx_002.yaml", "", "cpu", ())
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = name
    try:
        return type(build(cfg)).__module__
    except TypeError:
        return "guest_project"  # its classes take no arguments

names = ("MaskFormer", "Mask2Former", "freeseg.MaskFormer")
builders = (freeseg.build_model, build_model)
found["built"] = [[kind(build, name) for build in builders] for name in names]
print(json.dumps(found))
"""
OURS = "freeseg.systems.mask2former.system"


def run(program: str) -> Any:
    """What a program prints as JSON on its last line, which is given after `DUMP`."""
    path = os.pathsep.join([str(TESTS), *(path for path in sys.path if path)])
    done = subprocess.run(
        [sys.executable, "-c", DUMP + program],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def alone() -> dict[str, str]:
    return run("import guest_project; print(json.dumps(dump()))")


@pytest.fixture(scope="module", params=["guest_project, freeseg", "freeseg.cli, guest_project"])
def found(request) -> dict[str, Any]:
    return run(f"import {request.param}\n{FINDINGS}")


def test_a_project_keeps_all_that_it_has_in_either_order(found, alone) -> None:
    assert found["beside"] == alone
    assert len(alone) > 400


def test_names_that_are_taken_stay_and_are_told(found, alone) -> None:
    assert {key: found["named"][key] for key in alone} == alone
    by_whom = Counter(module.split(".")[0] for module in found["taken"].values())
    assert by_whom == {"guest_project": 4 + 3 + 4 + 17 + 1, "detectron2": 11}
    assert {"coco_2017_val", "coco_2017_val_panoptic"} <= set(found["taken"])
    assert found["ade"] == ["wall", "window ", "person"], "who registered first keeps the name"


def test_ours_works_beside_a_project_that_has_its_names(found) -> None:
    assert found["ours"] == [OURS, [360, 480]]


def test_a_name_means_whoever_has_it(found) -> None:
    theirs, free, own = found["built"]
    assert theirs == ["guest_project", "guest_project"]
    assert free == [OURS, OURS]
    assert own == [OURS, OURS]


def test_detectron2_keeps_all_that_it_has_and_its_pictures_name_classes_rightly() -> None:
    """Its functions look a panoptic class number up in thing_classes."""
    before, after, shown = run("""
import detectron2.modeling
before = dump()
import freeseg
after = dump()
freeseg.register_release_names()
shown = {}
for name in ("ade20k_panoptic_val", "mapillary_vistas_panoptic_val", "voc_sem_seg_test"):
    known = MetadataCatalog.get(name)
    things = known.thing_dataset_id_to_contiguous_id
    shown[name] = known.thing_classes == known.stuff_classes, known.thing_classes[12], len(things)
print(json.dumps([before, after, shown]))
""")
    assert after == before
    assert "thing_classes of coco_2017_val_panoptic" in before
    assert shown["ade20k_panoptic_val"] == [True, "person", 100]
    assert shown["mapillary_vistas_panoptic_val"] == [True, "Rail Track", 37]
    assert shown["voc_sem_seg_test"] == [True, "horse", 20]
