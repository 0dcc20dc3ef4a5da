"""Checkpoints of other code: read without executing anything, renamed by tables, written again."""

from freeseg.checkpoints.conversion import convert_file, convert_state
from freeseg.checkpoints.hugging_face import port_key_map
from freeseg.checkpoints.hugging_face_config import (
    config_from_hugging_face,
    hugging_face_origins,
    port_decoder,
    register_port,
)
from freeseg.checkpoints.hugging_face_labels import OWN_CLASSES
from freeseg.checkpoints.key_map import Conversion, KeyMap
from freeseg.checkpoints.loading import (
    FOLDER_FILES,
    ReleaseCheckpointer,
    StrictCheckpointer,
    weights_file,
)
from freeseg.checkpoints.reading import index_parts, read_checkpoint, read_content, refuse_nan
from freeseg.checkpoints.reason import reason_of
from freeseg.checkpoints.systems import KEY_MAPS, detect_system, register_key_map
from freeseg.checkpoints.writing import write_checkpoint
from freeseg.files import write_atomically

__all__ = [
    "FOLDER_FILES",
    "KEY_MAPS",
    "OWN_CLASSES",
    "Conversion",
    "KeyMap",
    "ReleaseCheckpointer",
    "StrictCheckpointer",
    "config_from_hugging_face",
    "convert_file",
    "convert_state",
    "detect_system",
    "hugging_face_origins",
    "index_parts",
    "port_decoder",
    "port_key_map",
    "read_checkpoint",
    "read_content",
    "reason_of",
    "refuse_nan",
    "register_key_map",
    "register_port",
    "weights_file",
    "write_atomically",
    "write_checkpoint",
]
