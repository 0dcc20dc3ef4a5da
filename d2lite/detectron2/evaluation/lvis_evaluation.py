"""LVIS evaluation, which only the real Detectron2 provides."""

from detectron2._missing import missing

LVISEvaluator = missing("detectron2.evaluation.LVISEvaluator")
