"""Examples as the network sees them: squares, painted in colours of a book, one or several passes.

Shapes: n examples, M objects of a pass, S side of a square, h = w = S / P, C width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from freeseg.inference.objects import masks_at
from freeseg.structures import Enrolled, Example, LearnedExample, Vocabulary
from freeseg.systems.seggpt.attention import Halves
from freeseg.systems.seggpt.canvas_parts import Half
from freeseg.systems.seggpt.colours import choose_colours
from freeseg.systems.seggpt.painting import paint

AnyExample = Example | LearnedExample


@dataclass(frozen=True, eq=False)
class PaintedPass:
    """What one painting is about.

    Attributes:
        objects: Of every colour the place in `Enrolled.ids`.
        colours: uint8 [M, 3].
        photos: Embedded patches of the examples' photos, [n, h, w, C].
        targets: Their target stream as it comes to the merge.
        kind: 0 semantic, 1 instance.
    """

    objects: tuple[int, ...]
    colours: Tensor
    photos: Tensor
    targets: Halves
    kind: int


@dataclass(frozen=True, eq=False)
class PaintedExamples(Enrolled):
    """What `SegGPT.enroll` makes; `passes` are several where there are many objects."""

    passes: tuple[PaintedPass, ...]


@dataclass(frozen=True, eq=False)
class ObjectBook:
    """Which objects examples show: `rows` has for every mask of every example its object.

    Attributes:
        ids: Of the objects, in the order in which examples show them.
        labels: Of the objects into `vocabulary`; None where they have no classes.
        vocabulary: Of all examples together.
        rows: Of every example, places in `ids` of its masks.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...] | None
    vocabulary: Vocabulary | None
    rows: tuple[tuple[int, ...], ...]

    @classmethod
    def read(cls, examples: Sequence[AnyExample]) -> ObjectBook:
        """Of examples.

        Raises:
            ValueError: Some have classes and some have not, or one object has two of them.
        """
        shown = [example for example in examples if _count(example)]
        named = {example.vocabulary is not None for example in shown}
        if len(named) > 1:
            raise ValueError("some examples have class names and some have none")
        vocabulary = _joined([example.vocabulary for example in shown]) if True in named else None
        ids: dict[int, int] = {}  # to labels
        given_ids = [example.ids for example in examples if example.ids is not None]
        rows, own = [], max([-1, *(int(number) for ids in given_ids for number in ids)]) + 1
        for example in examples:
            labels = _labels(example, vocabulary)
            given = example.ids.tolist() if example.ids is not None else labels
            if given is None:  # each mask is an object of its own
                given = list(range(own, own + _count(example)))
                own += _count(example)
            for number, label in zip(given, labels or [-1] * len(given)):
                if ids.setdefault(number, label) != label:
                    raise ValueError(f"object {number} has two classes in the examples")
            rows.append(given)
        places = {number: place for place, number in enumerate(ids)}
        return cls(
            tuple(ids),
            None if vocabulary is None else tuple(ids.values()),
            vocabulary,
            tuple(tuple(places[number] for number in given) for given in rows),
        )

    @property
    def sorted_places(self) -> list[int]:
        """Places by the objects' names, else ids: the same in whatever order examples come."""
        if self.vocabulary is None or self.labels is None:
            return sorted(range(len(self.ids)), key=lambda place: self.ids[place])
        names = [self.vocabulary.names[label] for label in self.labels]
        return sorted(range(len(self.ids)), key=lambda place: (names[place], self.ids[place]))


def _count(example: AnyExample) -> int:
    return len(example.masks if isinstance(example, Example) else example.colours)


def _joined(lists: Sequence[Vocabulary | None]) -> Vocabulary:
    """All names of class lists, each once."""
    things = {
        name: is_thing
        for each in lists
        if each is not None
        for name, is_thing in zip(each.names, each.is_thing)
    }
    return Vocabulary(tuple(things), tuple(things.values()))


def _labels(example: AnyExample, vocabulary: Vocabulary | None) -> list[int] | None:
    """Of an example's masks, into the joined list."""
    if example.vocabulary is None or example.labels is None or vocabulary is None:
        return None
    return [vocabulary.names.index(example.vocabulary.names[n]) for n in example.labels.tolist()]


@dataclass(frozen=True, eq=False)
class Painter:
    """Makes of examples what the network is shown.

    Attributes:
        system: Its name, which learned examples have to have.
        side: S.
        resize: A photo uint8 [3, H, W], RGB, as the network reads it: uint8 [3, S, S].
        normalise: Pixels [..., 3, S, S], 0..255, RGB, in the network's units.
        device: Of the network; learned examples are brought there.
        max_colours: Of a pass.
        in_grid: Examples share one square (spatial ensemble), as many as fill a grid.
    """

    system: str
    side: int
    resize: Callable[[Tensor], Tensor]
    normalise: Callable[[Tensor], Tensor]
    device: torch.device
    max_colours: int
    in_grid: bool

    def passes(self, examples: Sequence[AnyExample], book: ObjectBook) -> list[tuple[int, ...]]:
        """The objects of every pass: all at once where an example was learned.

        Raises:
            ValueError: A learned example is another system's or of another size, or does not have
                all objects.
        """
        count = len(book.ids)
        learned = [example for example in examples if isinstance(example, LearnedExample)]
        if not learned:
            places, starts = tuple(book.sorted_places), range(0, count, self.max_colours)
            return [places[start : start + self.max_colours] for start in starts]
        for example in learned:
            if example.system != self.system or example.image.shape[-1] != self.side:
                raise ValueError(
                    f"a learned example of {example.system} of {example.image.shape[-1]} pixels "
                    f"is not for {self.system} of {self.side}"
                )
            if len(example.colours) != count:
                raise ValueError("examples show objects that the learned one does not know")
        return [tuple(range(count))]

    def colours(
        self, examples: Sequence[AnyExample], book: ObjectBook, objects: Sequence[int]
    ) -> Tensor:
        """uint8 [M, 3] of the objects of a pass.

        Raises:
            ValueError: Learned examples have other colours than each other.
        """
        books = []
        for example, rows in zip(examples, book.rows):
            if isinstance(example, LearnedExample):
                books.append(example.colours[[rows.index(each) for each in objects]].cpu())
        if any(not torch.equal(one, books[0]) for one in books):
            raise ValueError("learned examples of unlike colours cannot be shown together")
        photos = [example.image for example in examples if isinstance(example, Example)]
        return books[0] if books else choose_colours(len(objects), photos)

    def pictures(
        self,
        examples: Sequence[AnyExample],
        book: ObjectBook,
        objects: Sequence[int],
        colours: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Photos and targets, normalised [n, 3, S, S] each."""
        if self.in_grid and len(examples) > 1:
            halves = self._halves(examples, book, objects)
            cells = math.ceil(math.sqrt(len(halves))) ** 2
            half = Half.in_grid([halves[number % len(halves)] for number in range(cells)])
            return self._normalised([half.image], [self._paint(half.masks, half.ids, colours)])
        photos, targets = [], []
        for number, example in enumerate(examples):
            if isinstance(example, LearnedExample):
                photos.append(example.image[None].to(self.device))
                targets.append(example.target[None].to(self.device))
                continue
            (half,) = self._halves([example], book, objects, [book.rows[number]])
            target = self._paint(half.masks, half.ids, colours)
            for found, picture in zip((photos, targets), self._normalised([half.image], [target])):
                found.append(picture)
        return torch.cat(photos), torch.cat(targets)

    def _halves(
        self,
        examples: Sequence[AnyExample],
        book: ObjectBook,
        objects: Sequence[int],
        rows: Sequence[Sequence[int]] | None = None,
    ) -> list[Half]:
        """Squares of examples with the masks of a pass; ids are places in `objects`."""
        halves = []
        for example, places in zip(examples, rows or book.rows):
            if isinstance(example, LearnedExample):
                raise ValueError("a learned example fills its square and goes into no grid")
            kept = [number for number, place in enumerate(places) if place in objects]
            masks = masks_at(example.masks[kept], (self.side, self.side))
            ids = torch.tensor([objects.index(places[number]) for number in kept])
            void = torch.zeros(self.side, self.side, dtype=torch.bool)
            halves.append(Half(self.resize(example.image), masks.cpu(), ids.long(), void))
        return halves

    def _paint(self, masks: Tensor, ids: Tensor, colours: Tensor) -> Tensor:
        """Smaller masks lie over larger ones."""
        order = masks.flatten(1).sum(1).argsort(descending=True, stable=True)
        size = (self.side, self.side)
        return paint(masks[order], colours[ids[order]], size)

    def _normalised(
        self, photos: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        return self.normalise(torch.stack(list(photos))), self.normalise(torch.stack(list(targets)))
