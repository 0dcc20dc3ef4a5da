"""Comparison of a model with stored outputs of the original it implements."""

from freeseg.parity.comparison import TensorCheck, compare, same_pixels
from freeseg.parity.golden import Golden
from freeseg.parity.systems import COMPARISONS, Comparison, check_folder

__all__ = [
    "COMPARISONS",
    "Comparison",
    "Golden",
    "TensorCheck",
    "check_folder",
    "compare",
    "same_pixels",
]
