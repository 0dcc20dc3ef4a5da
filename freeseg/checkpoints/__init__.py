"""Weights in all the formats they are published in, under the names that the models here have."""

from freeseg.checkpoints.hugging_face import from_hugging_face
from freeseg.checkpoints.hugging_face_config import config_from_hugging_face

__all__ = ["config_from_hugging_face", "from_hugging_face"]
