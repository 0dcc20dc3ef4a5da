"""Checkpoints that a killed process cannot damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from freeseg.checkpoints import ReleaseCheckpointer
from freeseg.engine.sharding import gathered, is_sharded
from freeseg.files import remove_partials, write_atomically, write_text
from freeseg.structures import CLASSES_KEY
from freeseg.zoo import weights_path


class AtomicCheckpointer(ReleaseCheckpointer):
    """Writes each file beside its final name and renames it when it is safely on disk.

    A kill at any moment leaves the previous checkpoint, and ``last_checkpoint`` names a complete
    file. ``save_dir`` is a local folder; on remote storage a file appears whole anyway.

    Args:
        is_resumable: False for files that ``--resume`` must not pick up, such as the best model.
        classes: The list of the model's classes, which every file gets as `freeseg.classes` reads
            it.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        save_dir: str = "",
        *,
        is_resumable: bool = True,
        classes: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, save_dir, **kwargs)
        self.is_resumable = is_resumable
        self.classes = classes

    def resume_or_load(self, path: str, *, resume: bool = True) -> Any:
        """Continues from the last checkpoint, which must be whole and of this model.

        `path` may be a name of `freeseg models`.

        Raises:
            ValueError: When it is not; an older one that is can be named in ``last_checkpoint``.
        """
        if not (resume and self.has_checkpoint()):
            return super().resume_or_load(weights_path(path), resume=resume)
        if self.save_to_disk:
            remove_partials(Path(self.save_dir))  # of the run that was killed
        last = self.get_checkpoint_file()
        try:
            extra = self.load(last)
            self.check_fit(last)
        except ValueError as error:
            tag = Path(self.save_dir) / "last_checkpoint"
            raise ValueError(
                f"cannot resume: {error}; to go on from an older one write its name into {tag}"
            ) from error
        return extra

    def save(self, name: str, **kwargs: Any) -> None:
        """Writes the model, every checkpointable and `kwargs` to ``save_dir/name.pth``.

        All processes must ask for it where the model is sharded; the main one writes.
        """
        has_shares = is_sharded(self.model)
        if not self.save_dir or not (self.save_to_disk or has_shares):
            return
        content = {key: value.state_dict() for key, value in self.checkpointables.items()}
        content = {"model": self.model.state_dict(), **content, **kwargs}
        if self.classes is not None:
            content[CLASSES_KEY] = self.classes
        if has_shares:
            content = gathered(content)
        if not self.save_to_disk:
            return
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", path)
        write_atomically(path, lambda file: torch.save(content, file))
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Makes `last_filename_basename` the file that a resumed run starts from."""
        if self.is_resumable:
            tag = Path(self.save_dir) / "last_checkpoint"
            write_text(tag, last_filename_basename)
