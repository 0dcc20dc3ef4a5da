"""Plain vision transformers: names only; the real package has them."""

from __future__ import annotations

from detectron2._missing import missing

ViT = missing("detectron2.modeling.backbone.vit.ViT")
SimpleFeaturePyramid = missing("detectron2.modeling.backbone.vit.SimpleFeaturePyramid")
get_vit_lr_decay_rate = missing("detectron2.modeling.backbone.vit.get_vit_lr_decay_rate")
