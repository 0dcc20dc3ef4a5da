"""The place from which projects import `permute_to_N_HWA_K`; RetinaNet is in the real package."""

from .dense_detector import permute_to_N_HWA_K  # noqa: F401
