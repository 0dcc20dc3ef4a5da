"""ADE20K (SceneParse150): 150 semantic classes, of which 100 are things, and panoptic."""

from __future__ import annotations

from pathlib import Path

from freeseg.data.categories import load_categories
from freeseg.data.datasets.catalog import PanopticFiles, register_panoptic
from freeseg.data.datasets.instances import register_instances
from freeseg.data.datasets.semantic import SemanticFiles, register_semantic

HINT = "see ADE20K under 'Datasets' in the documentation, and run `freeseg prepare ade20k`"


def register_ade20k(root: Path) -> None:
    """Register ade20k_{sem_seg,instance,panoptic,all}_{train,val}, `root`/ADEChallengeData2016.

    "all" is what configurations of open-vocabulary models call the panoptic set.
    """
    ade = root / "ADEChallengeData2016"
    categories = load_categories("ade20k")
    for split, folder in (("train", "training"), ("val", "validation")):
        images = ade / "images" / folder
        semantic = ade / "annotations_detectron2" / folder
        instances_json = ade / f"ade20k_instance_{split}.json"
        register_semantic(
            f"ade20k_sem_seg_{split}", SemanticFiles(images, semantic, HINT), categories
        )
        register_instances(f"ade20k_instance_{split}", instances_json, images, categories, HINT)
        files = PanopticFiles(
            image_root=images,
            panoptic_root=ade / f"ade20k_panoptic_{split}",
            panoptic_json=ade / f"ade20k_panoptic_{split}.json",
            sem_seg_root=semantic,
            instances_json=instances_json,
            hint=HINT,
        )
        for kind in ("panoptic", "all"):
            register_panoptic(f"ade20k_{kind}_{split}", files, categories, "ade20k_panoptic_seg")
