"""Weights of other releases and ports."""

from freeseg.checkpoint.hugging_face import mask2former_from_hugging_face

__all__ = ["mask2former_from_hugging_face"]
