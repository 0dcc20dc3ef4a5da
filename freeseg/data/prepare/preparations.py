"""What can be prepared, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from freeseg.data.datasets.roots import datasets_root, generated_root
from freeseg.data.prepare import ade20k, camvid, cityscapes, coco, mapillary, shapes, voc
from freeseg.data.prepare.job import Job

_PLACES = (
    "Reads and writes {folder} unless --source and --output say otherwise; safe to rerun. "
    "'Datasets' in the documentation says what must be there."
)


@dataclass(frozen=True)
class Preparation:
    """A dataset that is brought into the form that training reads.

    Attributes:
        title: What is made of it.
        folder: Where it is.
        parts: What is done, by name, in order.
        remark: What else there is to know.
    """

    title: str
    folder: Path
    parts: Mapping[str, Callable[[Job], None]]
    remark: str = ""

    @property
    def description(self) -> str:
        """For --help."""
        return f"{self.title}. {self.remark or _PLACES.format(folder=self.folder)}"


def preparations() -> dict[str, Preparation]:
    """Returns all by name, with the folders as the environment has them now."""
    return {
        "ade20k": Preparation(
            "ADE20K (SceneParse150): semantic labels from 0, instance JSON, panoptic annotation",
            datasets_root() / "ADEChallengeData2016",
            {
                "semantic": ade20k.prepare_semantic,
                "instance": ade20k.prepare_instances,
                "panoptic": ade20k.prepare_panoptic,
            },
        ),
        "camvid": Preparation(
            "the SegNet tutorial's CamVid in COCO-panoptic form; things are connected components",
            datasets_root() / "camvid",
            {"panoptic": camvid.prepare_camvid},
        ),
        "cityscapes": Preparation(
            "Cityscapes fine: labelTrainIds PNGs and the COCO-panoptic annotation",
            datasets_root() / "cityscapes",
            {"semantic": cityscapes.prepare_semantic, "panoptic": cityscapes.prepare_panoptic},
        ),
        "coco": Preparation(
            "COCO 2017: semantic PNGs and instances of the panoptic annotation, and COCO-Stuff",
            datasets_root() / "coco",
            {
                "panoptic": coco.prepare_panoptic_semantic,
                "instances": coco.prepare_panoptic_instances,
                "stuff": coco.prepare_stuff,
            },
        ),
        "mapillary": Preparation(
            "Mapillary Vistas 1.2: panoptic annotation, where the download has none",
            datasets_root() / "mapillary_vistas",
            {"panoptic": mapillary.prepare_panoptic},
        ),
        "shapes": Preparation(
            "Shapes, which the loader would otherwise generate on first use",
            generated_root() / "shapes",
            {"shapes": shapes.prepare_shapes},
            "Writes $DETECTRON2_DATASETS/shapes (without that variable, the user's cache folder) "
            "unless --output says otherwise; a split that exists is kept. The large "
            '"many_seen_train" is left to its first use.',
        ),
        "voc": Preparation(
            "Pascal VOC 2012: label PNGs with and without the background class",
            datasets_root() / "VOC2012",
            {"semantic": voc.prepare_semantic},
        ),
    }
