"""Token states of texts, for what reads words rather than one feature per text.

Shapes: N texts, L tokens of the longest, W width of states, D width of features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

_PADDING = {"states": 0, "mask": False, "spans": -1}  # of fields with a row per token


@dataclass(frozen=True, eq=False)
class TextStates:
    """What a text encoder says of every token of texts, and of each text as a whole.

    A row is start tokens, the text's own tokens, an end token, padding.

    Attributes:
        states: [N, L, W], after the last norm; the pooled features are computed from them. Those
            of padding are 0.
        mask: Bool [N, L], True where a token is the text's own: neither start, end nor padding.
        ends: int64 [N], the place of the end token.
        spans: int64 [N, L, 2], the characters (first, behind) of a text that a token was made of,
            in the text as it was given; -1 where there is none. See `freeseg.text.spans`.
        pooled: [N, D], not normalised: what the encoder's `forward` gives.
    """

    states: Tensor
    mask: Tensor
    ends: Tensor
    spans: Tensor
    pooled: Tensor

    def __post_init__(self) -> None:
        num_texts, length = self.states.shape[:2]
        wanted = {
            "mask": (num_texts, length),
            "ends": (num_texts,),
            "spans": (num_texts, length, 2),
            "pooled": (num_texts, *self.pooled.shape[1:2]),
        }
        for name, shape in wanted.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} of these states must be of shape {shape}, is {found}")

    def __len__(self) -> int:
        """N."""
        return len(self.states)

    @property
    def is_token(self) -> Tensor:
        """Bool [N, L], True up to the end token: start and end count, padding does not."""
        return torch.arange(self.mask.shape[1], device=self.ends.device) <= self.ends[:, None]

    def row(self, number: int) -> TextStates:
        """One text alone, without padding."""
        length = int(self.ends[number]) + 1
        content = {
            each.name: getattr(self, each.name)[number : number + 1] for each in fields(self)
        }
        return TextStates(
            **{key: part[:, :length] if key in _PADDING else part for key, part in content.items()}
        )

    def copy(self) -> TextStates:
        """The same in memory of its own."""
        return TextStates(**{each.name: getattr(self, each.name).clone() for each in fields(self)})

    @classmethod
    def stack(cls, parts: Sequence[TextStates]) -> TextStates:
        """All texts of `parts` in their order, padded to the longest.

        Raises:
            ValueError: When there is none.
        """
        if not parts:
            raise ValueError("wanted the states of one text at least, got none")
        length = max(part.mask.shape[1] for part in parts)
        content = {}
        for each in fields(cls):
            tensors = [getattr(part, each.name) for part in parts]
            if each.name in _PADDING:
                tensors = [_padded(tensor, length, _PADDING[each.name]) for tensor in tensors]
            content[each.name] = torch.cat(tensors)
        return cls(**content)


def _padded(tensor: Tensor, length: int, value: int) -> Tensor:
    """A tensor [N, l, ...] as [N, length, ...], with `value` behind."""
    behind = (0, 0) * (tensor.ndim - 2) + (0, length - tensor.shape[1])
    return F.pad(tensor, behind, value=value)
