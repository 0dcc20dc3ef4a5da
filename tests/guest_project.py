"""A project as public extensions of Detectron2 are: it registers what the releases register.

Importing it takes the names of models, heads and backbones, registers datasets with metadata of
its own form, and replaces one that comes with Detectron2.
"""

from __future__ import annotations

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY

COMPONENTS = {
    META_ARCH_REGISTRY: ("MaskFormer", "OneFormer", "OpenVocabulary", "LSeg"),
    BACKBONE_REGISTRY: ("D2SwinTransformer", "D2ConvNeXt", "D2DiNAT"),
    SEM_SEG_HEADS_REGISTRY: (
        "MaskFormerHead",
        "OneFormerHead",
        "MaskFormerInteractionHead",
        "MSDeformAttnPixelDecoder",
    ),
}
NAMES = ["wall", "window ", "person"]
DATASETS = (
    *(f"ade20k_{kind}_{split}" for kind in ("panoptic", "instance") for split in ("train", "val")),
    *(f"coco_2017_{split}_panoptic_with_sem_seg" for split in ("train", "val")),
    *("coco_2017_train_stuff_sem_seg", "coco_2017_test_stuff_sem_seg"),
    *("coco_2017_train_stuff_base_sem_seg", "coco_2017_train_full_task"),
    *("coco_2017_val_panoptic2instance", "voc_sem_seg_train", "voc_sem_seg_test"),
    *(f"mapillary_vistas_sem_seg_{split}" for split in ("train", "val")),
    *(f"mapillary_vistas_panoptic_{split}" for split in ("train", "val")),
)  # fmt: skip
REPLACED = "cityscapes_fine_panoptic_val"


def records() -> list[dict[str, object]]:
    return [{"file_name": "theirs.jpg", "height": 2, "width": 3, "image_id": 1}]


for registry, names in COMPONENTS.items():
    for name in names:
        registry.register(type(name, (), {"__module__": __name__}))
DatasetCatalog.remove(REPLACED)
MetadataCatalog.remove(REPLACED)
for name in (*DATASETS, REPLACED):
    DatasetCatalog.register(name, records)
    MetadataCatalog.get(name).set(
        thing_classes=NAMES, stuff_classes=tuple(NAMES), evaluation_set={"base": [1]}
    )
