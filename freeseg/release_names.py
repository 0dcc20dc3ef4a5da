"""Names as the releases write them, in the registries and catalogues that all projects share."""

from __future__ import annotations

import logging

from freeseg.catalog import take_dataset_names
from freeseg.names import PREFIX, take_component_names

logger = logging.getLogger(__name__)


def register_release_names() -> dict[str, str]:
    """Lets Detectron2's own functions build from the releases' configurations with our components.

    ``MaskFormer`` is then ``freeseg.MaskFormer``, and ``ade20k_panoptic_train`` is in Detectron2's
    catalogue. Importing this package does neither, so that it can be imported beside the releases;
    call it after them. Whoever has registered a name keeps it. A training or an evaluation of this
    package calls it.

    Returns:
        The names that are taken, each with the module that has it.
    """
    taken = dict(take_component_names())
    for name, module in taken.items():
        logger.warning("%s is %s's; ours is %s%s", name, module, PREFIX, name)
    datasets = dict(take_dataset_names())
    for name, module in datasets.items():
        logger.info("dataset %s is %s's", name, module)
    return {**taken, **datasets}
