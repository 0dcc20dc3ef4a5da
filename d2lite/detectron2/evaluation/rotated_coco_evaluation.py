"""Evaluation of rotated boxes, which only the real Detectron2 provides."""

from detectron2._missing import missing

RotatedCOCOEvaluator = missing("detectron2.evaluation.RotatedCOCOEvaluator")
RotatedCOCOeval = missing("detectron2.evaluation.rotated_coco_evaluation.RotatedCOCOeval")
