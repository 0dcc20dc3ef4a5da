"""Names that users type, and what is known of them without a model."""

from __future__ import annotations

from collections.abc import Sequence

from freeseg_command.tasks import SHOWN_TASKS

FORMATS = ("overlay", "labelmap", "coco", "rle", "html")
USUAL_FORMATS = FORMATS[:3]
ANNOTATIONS = "annotations"  # of all photos together, see `freeseg.visualization.AnnotationFiles`
ALL_FORMATS = (*FORMATS, ANNOTATIONS)
TASKS_OF_FORMAT = {  # a format that is not here is of all tasks
    "labelmap": {"panoptic", "semantic"},
    "coco": {"panoptic", "instance", "object"},
    ANNOTATIONS: {"panoptic", "instance"},
}

# what paints for `freeseg edit --replace`: the hub's copy of what the demo of Grounded-SAM uses
DEFAULT_PAINTER = "stable-diffusion-v1-5/stable-diffusion-inpainting"


def choose_formats(
    formats: str | Sequence[str] | None,
    tasks: Sequence[str] = SHOWN_TASKS,
    known: Sequence[str] = FORMATS,
) -> tuple[str, ...]:
    """Returns the formats that are written of results for some tasks.

    Args:
        formats: Names, or one text with commas; the usual ones that the tasks have when None.
        tasks: What there are results for.
        known: The formats that there are.

    Raises:
        ValueError: There is no such format, or it holds nothing of these tasks.
    """
    if formats is None:
        return tuple(name for name in USUAL_FORMATS if _holds_any(name, tasks))
    given = formats.split(",") if isinstance(formats, str) else formats
    names = tuple(name.strip() for name in given if name.strip())
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        raise ValueError(
            f"wanted some of the formats {','.join(known)}, got {','.join(unknown) or 'none'}"
        )
    for name in names:
        if not _holds_any(name, tasks):
            raise ValueError(
                f"the format {name} is of the tasks {' and '.join(sorted(TASKS_OF_FORMAT[name]))}"
                f" and would hold nothing of {' and '.join(tasks) or 'none'}"
            )
    return names


def _holds_any(name: str, tasks: Sequence[str]) -> bool:
    return name not in TASKS_OF_FORMAT or not TASKS_OF_FORMAT[name].isdisjoint(tasks)
