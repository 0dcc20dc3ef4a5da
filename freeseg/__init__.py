"""Universal image segmentation as an extension of Detectron2.

``import freeseg`` puts every component into Detectron2's registries as ``freeseg.Name`` and changes
nothing that is another's; `register_release_names` adds the names that releases use.
"""

from __future__ import annotations

from freeseg_command import __version__
from freeseg_command.start import is_run_by_name

# `python -m freeseg` imports the package only to find its `__main__`, which imports it again, by
# then whole, for commands that need it.
if not is_run_by_name(__name__):
    import warnings

    try:
        import detectron2 as _detectron2  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "detectron2":  # it is there, and lacks something itself
            raise
        raise ImportError(
            "freeseg needs Detectron2: either the real one, compiled for your PyTorch, with `pip "
            "install --no-build-isolation git+https://github.com/facebookresearch/detectron2`, or "
            "the pure-Python subset in freeseg's repository with `pip install ./d2lite`"
        ) from error

    from freeseg._torchvision import allow_import_without_c_library

    allow_import_without_c_library()  # before anything imports torchvision

    with warnings.catch_warnings():  # fvcore scripts a loss as it is imported
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")
        from freeseg.names import build_model

    from freeseg import data, modeling, resources, systems  # noqa: F401
    from freeseg.composition import compose
    from freeseg.config import add_freeseg_config
    from freeseg.images import ImageError
    from freeseg.moved import forward_old_paths
    from freeseg.names import build_model
    from freeseg.release_names import register_release_names
    from freeseg.segmenter import Segmenter
    from freeseg.structures import Vocabulary
    from freeseg.visualization import Segmentation

    forward_old_paths()

__all__ = [
    "ImageError",
    "Segmentation",
    "Segmenter",
    "Vocabulary",
    "__version__",
    "add_freeseg_config",
    "build_model",
    "compose",
    "data",
    "modeling",
    "register_release_names",
    "systems",
]
