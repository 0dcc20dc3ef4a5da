"""Datasets, the mapper and the loaders. Importing it registers the dataset names, no more."""

from __future__ import annotations

from freeseg.data.boxes import BoxMapper
from freeseg.data.contexts import ContextMapper
from freeseg.data.datasets.custom import register_custom
from freeseg.data.datasets.registration import check_registered, register_all
from freeseg.data.examples import load_example, read_example, read_examples, save_example
from freeseg.data.loader import build_test_loader, build_train_loader, evenly_spread
from freeseg.data.mapper import SegmentationMapper
from freeseg.data.mapper_registry import MAPPER_REGISTRY, build_mapper
from freeseg.data.pairs import Pair, PairDataset, PairSet, pair_sets
from freeseg.data.truth_mapper import TruthMapper
from freeseg.data.vocabulary import ClassSource, read_vocabulary

__all__ = [
    "MAPPER_REGISTRY",
    "BoxMapper",
    "ClassSource",
    "ContextMapper",
    "Pair",
    "PairDataset",
    "PairSet",
    "SegmentationMapper",
    "TruthMapper",
    "build_mapper",
    "build_test_loader",
    "build_train_loader",
    "check_registered",
    "evenly_spread",
    "load_example",
    "pair_sets",
    "read_example",
    "read_examples",
    "read_vocabulary",
    "register_all",
    "register_custom",
    "save_example",
]

register_all()
