"""Segments photos with a trained model, by the same path as evaluation.

Shapes: H W photo size.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Union, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from freeseg.checkpoints import StrictCheckpointer, config_from_hugging_face, weights_file
from freeseg.config import add_freeseg_config
from freeseg.data import ClassSource, SegmentationMapper, read_vocabulary, register_custom
from freeseg.images import (
    ImageError,
    ImageSource,
    RgbImage,
    describe_source,
    order_channels,
    read_image,
)
from freeseg.inference import segment_within_memory
from freeseg.structures import LABEL_MAP_KEY, Vocabulary
from freeseg.visualization import TASKS, Segmentation

logger = logging.getLogger(__name__)

ConfigSource = Union[CfgNode, str, "os.PathLike[str]"]

# task -> what the model's output calls its result
_OUTPUT_KEYS = {"panoptic": "panoptic_seg", "instance": "instances", "semantic": "sem_seg"}


class Segmenter:
    """Segments photos of any kind and size; safe to call from several threads."""

    def __init__(
        self,
        model: nn.Module,
        *,
        mapper: SegmentationMapper,
        vocabulary: Vocabulary,
        category_ids: tuple[int, ...] | None = None,
    ) -> None:
        """Wraps a model that keeps Detectron2's contract; `from_config` builds everything.

        Args:
            model: Takes [{"image", "height", "width", "tasks"}], gives one result dict per image.
            mapper: The test-time mapper, which resizes photos and orders their channels.
            vocabulary: Names of the classes the model predicts.
            category_ids: The dataset's own id of every class, for COCO files.
        """
        self.model = model.eval()
        self.mapper = mapper
        self.vocabulary = vocabulary
        self.category_ids = category_ids

    @classmethod
    def from_config(
        cls,
        cfg_or_path: ConfigSource,
        weights: str | os.PathLike[str] | None = None,
        device: str | None = None,
        opts: Sequence[str] = (),
    ) -> Segmenter:
        """Builds the model of a configuration and loads its weights.

        Args:
            cfg_or_path: A configuration, or a yaml file over this package's defaults.
            weights: A checkpoint; MODEL.WEIGHTS when None; "" leaves the model untrained.
            device: "cpu", "cuda", "cuda:1"; when None MODEL.DEVICE, or the CPU without CUDA.
            opts: Overrides, KEY VALUE KEY VALUE.

        Raises:
            FileNotFoundError: The configuration or the weights do not exist.
            ValueError: They cannot be used; one line says why.
        """
        cfg = _read_config(cfg_or_path, weights, device, opts)
        if not cfg.MODEL.WEIGHTS and weights is None:
            raise ValueError("no weights: name a file, the configuration has no MODEL.WEIGHTS")
        register_custom(cfg.DATASETS.CUSTOM)
        try:
            model = build_model(cfg)
        except KeyError as error:  # Detectron2's registries
            raise ValueError(f"cannot build the model: {error.args[0]}") from error
        load_weights(model, cfg.MODEL.WEIGHTS, allow_misfit=cfg.MODEL.ALLOW_MISFIT)
        takes_any = getattr(model, "takes_vocabulary", False)
        vocabulary, category_ids = _read_classes(cfg, takes_any)
        mapper = SegmentationMapper(cfg, is_train=False)
        return cls(model, mapper=mapper, vocabulary=vocabulary, category_ids=category_ids)

    @overload  # a str is an iterable of str as well; the first signature has it
    def __call__(  # type: ignore[overload-overlap]
        self, images: ImageSource, task: str = "panoptic", classes: ClassSource | None = None
    ) -> Segmentation: ...

    @overload
    def __call__(
        self,
        images: Iterable[ImageSource],
        task: str = "panoptic",
        classes: ClassSource | None = None,
    ) -> list[Segmentation]: ...

    def __call__(
        self,
        images: ImageSource | Iterable[ImageSource],
        task: str = "panoptic",
        classes: ClassSource | None = None,
    ) -> Segmentation | list[Segmentation]:
        """Segments one photo, or every photo of a list.

        Args:
            images: What `freeseg.images.read_image` reads, or any iterable of that.
            task: "panoptic", "instance", "semantic", or "all" three from one look at the photo.
            classes: What to look for, see `freeseg.data.read_vocabulary`; the model's own when
                None. Open-vocabulary models take any.

        Raises:
            ImageError: A photo cannot be used; the message names it and says why.
            ValueError: The task is unknown, the model has no result for it, or the classes cannot
                be used.
        """
        tasks = parse_task(task)
        vocabulary = None if classes is None else self.read_classes(classes)
        if _is_one_image(images):
            return self._segment(images, tasks, vocabulary)  # type: ignore[arg-type]
        return [self._segment(image, tasks, vocabulary) for image in images]  # type: ignore

    def read_classes(self, classes: ClassSource) -> Vocabulary:
        """The vocabulary of a class list, if the model takes any."""
        if not getattr(self.model, "takes_vocabulary", False):
            raise ValueError(
                f"{type(self.model).__name__} knows its {len(self.vocabulary)} classes only; "
                "other classes need an open-vocabulary model such as FreeSeg"
            )
        return read_vocabulary(classes)

    def _segment(
        self, source: ImageSource, tasks: tuple[str, ...], vocabulary: Vocabulary | None
    ) -> Segmentation:
        image = read_image(source)
        height, width = image.shape[:2]
        inputs = {
            "image": self._prepare(image, describe_source(source)),
            "height": height,
            "width": width,
            "tasks": tasks,
            LABEL_MAP_KEY: True,
        }
        if vocabulary is not None or getattr(self.model, "takes_vocabulary", False):
            inputs["vocabulary"] = vocabulary or self.vocabulary
        with torch.inference_mode():
            output = segment_within_memory(self.model, inputs)
        missing = [task for task in tasks if _OUTPUT_KEYS[task] not in output]
        if missing:
            raise ValueError(
                f"{type(self.model).__name__} gave no result for the task {missing[0]!r}, "
                f"only {', '.join(output) or 'nothing'}"
            )
        wanted = {_OUTPUT_KEYS[task]: output[_OUTPUT_KEYS[task]] for task in tasks}
        if vocabulary is not None:
            return Segmentation.from_detectron2(image, wanted, vocabulary)
        return Segmentation.from_detectron2(image, wanted, self.vocabulary, self.category_ids)

    def _prepare(self, image: RgbImage, name: str) -> Tensor:
        """Returns the photo as the test loader would give it to the model, [3, h, w]."""
        inputs = T.AugInput(order_channels(image, self.mapper.image_format))
        try:
            self.mapper.augmentations(inputs)
        except ValueError:
            height, width = image.shape[:2]
            raise ImageError(name, f"is too elongated to resize ({width}x{height})") from None
        return torch.from_numpy(np.ascontiguousarray(inputs.image.transpose(2, 0, 1)))


def parse_task(task: str) -> tuple[str, ...]:
    """Returns the tasks of a name: itself, or all three for "all"."""
    if task == "all":
        return TASKS
    if task not in TASKS:
        raise ValueError(f"wanted the task {', '.join(TASKS)} or all, got {task!r}")
    return (task,)


def load_weights(model: nn.Module, path: str, *, allow_misfit: bool = False) -> None:
    """Loads a checkpoint of any known format into a model.

    Refuses one that leaves a parameter untrained or has weights the model does not, unless
    `allow_misfit`.
    """
    if not path:
        logger.warning("the model has no weights: it is untrained")
        return
    if "://" not in path:
        _existing_file(weights_file(path), "weights file")
    checkpointer = StrictCheckpointer(model)
    try:
        checkpointer.load(path)
    except Exception as error:  # whatever unpickling a broken file comes up with
        raise ValueError(f"cannot load weights {path}: {_first_line(error)}") from error
    if not allow_misfit:
        checkpointer.refuse_misfit(path)


def _is_one_image(images: object) -> bool:
    if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray)):
        return True
    if isinstance(images, (Image.Image, Tensor)) or hasattr(images, "read"):
        return True
    return not isinstance(images, Iterable)  # then `read_image` says what is wrong with it


def _read_config(
    source: ConfigSource,
    weights: str | os.PathLike[str] | None,
    device: str | None,
    opts: Sequence[str],
) -> CfgNode:
    overrides = [str(item) for item in opts]
    if len(overrides) % 2:
        raise ValueError(f"overrides are pairs of KEY VALUE, got {' '.join(overrides)}")
    if weights is not None:
        overrides += ["MODEL.WEIGHTS", os.fspath(weights)]
    if device is not None:
        overrides += ["MODEL.DEVICE", device]
    try:
        cfg = source.clone() if isinstance(source, CfgNode) else _load_config(Path(source))
        cfg.defrost()
        cfg.MODEL.IS_TRAIN = False  # what only training needs is not built
        cfg.merge_from_list(overrides)
        is_cuda = torch.device(cfg.MODEL.DEVICE).type == "cuda"
    except FileNotFoundError:
        raise
    except Exception as error:  # yaml, yacs and Detectron2 have many ways to say no
        name = "the configuration" if isinstance(source, CfgNode) else os.fspath(source)
        raise ValueError(f"cannot use {name}: {_first_line(error)}") from error
    if is_cuda and not torch.cuda.is_available():
        if device is not None:
            raise ValueError(f"device {device} was asked for, but there is no CUDA")
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg


def _load_config(path: Path) -> CfgNode:
    """The configuration in a yaml file, or of a model in Hugging Face's folder."""
    if (path / "config.json").is_file():
        return config_from_hugging_face(path)
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(_existing_file(path, "configuration file"))
    return cfg


def _existing_file(source: str | os.PathLike[str], kind: str) -> str:
    path = os.fspath(source)
    if not Path(path).is_file():
        reason = "is a folder" if Path(path).is_dir() else "does not exist"
        raise FileNotFoundError(f"{kind} {path} {reason}")
    return path


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _read_classes(cfg: CfgNode, takes_any: bool) -> tuple[Vocabulary, tuple[int, ...] | None]:
    """Returns the names and the dataset's own ids of the classes that the model predicts.

    A model that `takes_any` class list predicts all classes of the dataset.
    """
    num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    datasets = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN]
    metadata = MetadataCatalog.get(datasets[0]) if datasets else {}
    if takes_any:
        num_classes = len(Vocabulary.of_dataset(metadata) or range(num_classes))
    vocabulary = Vocabulary.from_metadata(metadata, num_classes)
    if not any(len(metadata.get(key) or ()) == num_classes for key in _NAME_KEYS):
        source = datasets[0] if datasets else "DATASETS.TEST is empty"
        logger.warning("no names for %d classes (%s): they are numbered", num_classes, source)
    mapping: dict[int, int] = {}
    for key in _ID_KEYS:
        mapping.update(metadata.get(key) or {})
    category_of_class = {label: category for category, label in mapping.items()}
    if set(category_of_class) != set(range(num_classes)):
        return vocabulary, None
    return vocabulary, tuple(category_of_class[label] for label in range(num_classes))


_NAME_KEYS = ("stuff_classes", "thing_classes")
_ID_KEYS = ("stuff_dataset_id_to_contiguous_id", "thing_dataset_id_to_contiguous_id")
