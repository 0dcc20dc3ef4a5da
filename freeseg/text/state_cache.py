"""Keeps the token states of single texts, so that a name in many lists is encoded once.

Shapes: N texts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import torch

from freeseg.text.cache import TextKey, without_gradients
from freeseg.text.encoder import TextEncoder
from freeseg.text.states import TextStates

BATCH = 256  # texts that are encoded at once


class TextStateCache:
    """Token states in memory, by the encoder's identity, the text and the device.

    Every text has a key of its own: a list that shares names with an earlier one costs the others
    only. Keys are those of `TextFeatureCache`, so nothing here can be out of date. Of several
    threads that ask at once, one computes and the others wait.
    """

    def __init__(self, max_entries: int = 4096) -> None:
        """Starts empty.

        Args:
            max_entries: How many texts are kept, the least recently used go first. One of ten
                tokens takes 20 to 40 kilobytes.
        """
        self.max_entries = max_entries
        self._entries: OrderedDict[tuple[TextKey, str], TextStates] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, encoder: TextEncoder, texts: Sequence[str]) -> TextStates:
        """The states of N texts on the encoder's device, computed where they are not known.

        They carry no gradients and have the weights' precision. An encoder that is being trained
        is asked every time, with gradients, and nothing of it is kept.

        Raises:
            ValueError: When there are no texts.
        """
        is_training = any(weight.requires_grad for weight in encoder.parameters())
        if is_training and torch.is_grad_enabled():
            return encoder.states(texts)
        with self._lock:
            identity, device = encoder.identity, str(encoder.device)
            places = [(TextKey(identity, "states", "", (text,)), device) for text in texts]
            found = {place: self._entries[place] for place in places if place in self._entries}
            new = [place for place in dict.fromkeys(places) if place not in found]
            for first in range(0, len(new), BATCH):
                part = new[first : first + BATCH]
                found.update(zip(part, _computed(encoder, [key.texts[0] for key, _ in part])))
            self._keep(found)
            return TextStates.stack([found[place] for place in places])

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries.clear()

    def _keep(self, used: dict[tuple[TextKey, str], TextStates]) -> None:
        for place, states in used.items():
            self._entries[place] = states
            self._entries.move_to_end(place)
        while len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)


def _computed(encoder: TextEncoder, texts: list[str]) -> list[TextStates]:
    states = without_gradients(lambda: encoder.states(texts), encoder.device.type)
    # copies, for a view would keep the whole batch in memory
    return [states.row(number).copy() for number in range(len(texts))]
