"""Names of pretrained backbones under ``catalog://``."""

from __future__ import annotations

import logging
from typing import ClassVar

from detectron2.utils.file_io import PathHandler, PathManager


class ModelCatalog:
    """Maps names of third-party models to addresses."""

    S3_C2_DETECTRON_PREFIX = "https://dl.fbaipublicfiles.com/detectron"

    # Batch norms of these are fused into affine layers: for FrozenBN only, and PIXEL_STD of 1.
    C2_IMAGENET_MODELS: ClassVar = {
        name: f"ImageNetPretrained/{file}.pkl"
        for name, file in (
            ("MSRA/R-50", "MSRA/R-50"),
            ("MSRA/R-101", "MSRA/R-101"),
            ("FAIR/R-50-GN", "47261647/R-50-GN"),
            ("FAIR/R-101-GN", "47592356/R-101-GN"),
            ("FAIR/X-101-32x8d", "20171220/X-101-32x8d"),
            ("FAIR/X-101-64x4d", "FBResNeXt/X-101-64x4d"),
            ("FAIR/X-152-32x8d-IN5k", "25093814/X-152-32x8d-IN5k"),
        )
    }

    @staticmethod
    def get(name):
        """Return the address of ``ImageNetPretrained/<name>``."""
        group, _, model = name.partition("/")
        if group == "ImageNetPretrained":
            file = ModelCatalog.C2_IMAGENET_MODELS[model]
            return f"{ModelCatalog.S3_C2_DETECTRON_PREFIX}/{file}"
        if name.startswith("Caffe2Detectron/COCO"):
            raise NotImplementedError(f"{name}: the real Detectron2 package knows R-CNN baselines")
        raise RuntimeError(f"model not present in the catalog: {name}")


class ModelCatalogHandler(PathHandler):
    """Resolves ``catalog://`` paths."""

    PREFIX = "catalog://"

    def _get_supported_prefixes(self):
        return [self.PREFIX]

    def _get_local_path(self, path, **kwargs):
        address = ModelCatalog.get(path[len(self.PREFIX) :])
        logging.getLogger(__name__).info(f"{path} is {address}")
        return PathManager.get_local_path(address, **kwargs)

    def _open(self, path, mode="r", **kwargs):
        return PathManager.open(self._get_local_path(path), mode, **kwargs)


PathManager.register_handler(ModelCatalogHandler())
