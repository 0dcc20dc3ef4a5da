"""Sessions: a photo is encoded once, and asked as often as one likes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from freeseg.data import ClassSource
from freeseg.data.examples import ExampleSource, with_examples
from freeseg.inference.zoom import MARGIN
from freeseg.photo_model import Photo, PhotoModel
from freeseg.structures import (
    EverythingSettings,
    ImageFeatures,
    InstanceSet,
    Marks,
    Prompt,
    Request,
    SegmentationResult,
    Vocabulary,
)
from freeseg.visualization import Answer, Segmentation
from freeseg_command.tasks import SHOWN_TASKS, Task


@dataclass(frozen=True)
class Classes:
    """What is looked for, and the dataset's own id of every class where there is a dataset."""

    vocabulary: Vocabulary
    category_ids: tuple[int, ...] | None = None


def show(
    photo: Photo, result: SegmentationResult, classes: Classes, knows: str, unsure_below: float
) -> Segmentation:
    """The result of a photo as arrays, with names of the classes that were looked for."""
    if result.vocabulary not in (None, classes.vocabulary):  # that of examples
        classes = Classes(result.vocabulary)
    return Segmentation.from_result(
        photo.image,
        result,
        classes.vocabulary,
        classes.category_ids,
        photo.file_name,
        knows=knows,
        unsure_below=unsure_below,
    )


class Session:
    """Questions about one photo, which is encoded at the first of them.

    It is encoded anew where the model has other weights since. Its class list is that of the
    segmenter when it was opened.

    Safe to be called from several threads. As a context manager it forgets the features at its end;
    a call after that encodes the photo anew.
    """

    def __init__(
        self,
        model: PhotoModel,
        photo: Photo,
        classes: Classes,
        knows: str = "",
        unsure_below: float = 0.0,
    ) -> None:
        """Of `Segmenter.open`.

        Args:
            model: That answers.
            photo: As it has read it.
            classes: Looked for where a call names none.
            knows: The photos that the model has learned from, in a few words.
            unsure_below: Photos of which it is less certain are called unsure; 0: none.
        """
        self.photo = photo
        self._model = model
        self._classes = classes
        self._about = (knows, unsure_below)
        self._lock = threading.Lock()
        self._features: ImageFeatures | None = None
        self._is_encoded = False
        self._state: Hashable = None  # of the model that has encoded it

    def __repr__(self) -> str:
        height, width = self.photo.size
        return f"Session({self._model.name}, {width}x{height} pixels)"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forgets the features."""
        with self._lock:
            self._features, self._is_encoded = None, False

    @property
    def nbytes(self) -> int:
        """Of the photo and of the features that are kept."""
        features = self._features
        kept = 0 if features is None else features.nbytes
        return kept + self.photo.image.nbytes + self.photo.pixels.nbytes

    def encode(self) -> ImageFeatures | None:
        """The features of the photo, computed once.

        None where the model has none to keep, or they do not fit into memory: then every question
        sees the photo anew, in tiles if need be.
        """
        state = self._model.state()
        with self._lock:
            if not self._is_encoded or self._state != state:
                self._features = self._model.encode([self.photo])
                self._is_encoded, self._state = True, state
            return self._features

    def _keep_nothing(self) -> None:
        """From now on every question sees the photo anew: its features leave too little memory."""
        with self._lock:
            self._features, self._is_encoded = None, True

    def __call__(
        self,
        task: str | None = None,
        text: ClassSource | None = None,
        *,
        points: Any = None,
        signs: Any = None,
        boxes: Any = None,
        masks: Any = None,
        strokes: Any = None,
        phrases: str | Sequence[str | None] | None = None,
        examples: ExampleSource | None = None,
        alternatives: bool = True,
    ) -> Segmentation:
        """Answers one question.

        Args:
            task: "panoptic", "instance", "semantic", "object", or "all" that the model has; where
                it is None that of marks and phrases is "object", else the model's first one.
            text: What to look for, see `freeseg.data.read_vocabulary`; None: the classes that the
                segmenter had when it opened the session. Open-vocabulary models take any.
            points: Clicks in pixels of the photo, of systems that take them; this and what follows
                as `freeseg.structures.Marks.read` takes it.
            signs: Of the points.
            boxes: Around objects.
            masks: Rough results.
            strokes: What was drawn over.
            phrases: What objects are called, of systems that take phrases: of one, or a phrase or
                None for each of them, in the order of the marks where there are any.
            examples: Other pictures with masks, of systems that follow them, as
                `freeseg.data.read_examples` takes them, or what `Segmenter.enroll` made of some.
            alternatives: Whether other readings of what is pointed at, whose `choices` are not 0,
                stand beside the answers.

        Raises:
            ValueError: The task is unknown, the model does not have it, or does not understand the
                prompt; the message lists what it does.
        """
        model, classes = self._model, self._classes
        if text is not None:
            classes = Classes(model.read_classes(text, classes.vocabulary))
        given = {
            "points": points,
            "signs": signs,
            "boxes": boxes,
            "masks": masks,
            "strokes": strokes,
        }
        marks = None
        rows = (phrases,) if isinstance(phrases, str) else phrases
        if any(each is not None for each in given.values()):
            marks = Marks.read(self.photo.size, **given)
        elif rows is not None:
            marks = Marks.of_nothing(self.photo.size, len(rows))  # what refines them stands here
        if task is None and (marks is not None or examples is not None):
            task = Task.OBJECT
        tasks = choose_tasks(task, model.tasks)
        prompt = model.prompt(tasks, classes.vocabulary, marks)
        if rows is not None:
            prompt = replace(prompt, phrases=tuple(rows))
        if examples is not None:
            prompt = with_examples(prompt, examples)
        return self._ask(model.request(tasks, prompt, alternatives=alternatives), classes)

    def refine(
        self,
        answer: Segmentation,
        *,
        points: Any = None,
        signs: Any = None,
        boxes: Any = None,
        alternatives: bool = True,
    ) -> Segmentation:
        """Answers anew with more clicks at the same objects; the old answer stays as it is.

        The mask logits of the old answer go back into the model, where it keeps any, and new
        clicks stand behind the old ones. Without any the model looks once more.

        Args:
            answer: Of this photo and model, to marks or phrases.
            points: As of a call, a list for each object; an empty one where nothing is to be said.
            signs: Of the points.
            boxes: In place of the old ones.
            alternatives: As of a call.

        Raises:
            ValueError: It is no answer to marks or of another photo, or the marks are malformed or
                of another number of objects.
        """
        known, marks = self._known(answer)
        if points is not None or boxes is not None or signs is not None:
            more = Marks.read(self.photo.size, points=points, signs=signs, boxes=boxes)
            marks = marks.refined(more)
        prompt = replace(known.prompt, marks=marks, logits=known.logits)
        classes = Classes(answer.vocabulary, answer.category_ids)
        request = self._model.request(answer.tasks, prompt, alternatives=alternatives)
        return self._ask(request, classes, answer)

    def zoom(self, answer: Segmentation, *, margin: float = MARGIN) -> Segmentation:
        """Looks at every object once more, and closer; the old answer stays as it is.

        Each is asked about in a square part of the photo around it, which is encoded at the model's
        size, with its former mask as a rough one. That gives small objects of large photos masks as
        fine as large ones', and costs an encoding each. A refinement of what comes back goes on
        from the whole photo, as one of the old answer would.

        Args:
            answer: Of this photo and model, to marks or phrases.
            margin: Of the part around an object, by its longer side, on each side.

        Raises:
            ValueError: It is no answer to marks or of another photo, the model takes no rough
                masks, or the margin is negative or infinite.
            MemoryError: A part does not fit into memory.
        """
        known, marks = self._known(answer)
        objects, model = answer.objects, self._model
        if objects is None or objects.masks is None or objects.owners is None:
            raise ValueError("an answer of masks can be looked at closer, this one has none")
        masks = torch.zeros(len(marks), *self.photo.size, dtype=torch.bool)
        is_answer = np.ones(len(objects), bool) if objects.choices is None else objects.choices == 0
        for number in np.flatnonzero(is_answer).tolist():
            masks[objects.owners[number]] = torch.from_numpy(objects.masks[number])
        if not len(marks):
            return answer
        rough = replace(known.prompt, marks=replace(marks, masks=masks), logits=None)
        model.check(model.request((Task.OBJECT,), rough))
        result = model.zoom(self.photo, self.encode(), known.prompt, masks, margin)
        classes = Classes(answer.vocabulary, answer.category_ids)
        shown = show(self.photo, result, classes, *self._about)
        return replace(shown, answer=Answer(known.prompt, known.logits, answer))

    def _known(self, answer: Segmentation) -> tuple[Answer, Marks]:
        """What an answer of this photo goes on from, and what was pointed at.

        Raises:
            ValueError: It is no answer to marks, or of another photo.
        """
        known = answer.answer
        if known is None or known.prompt.marks is None:
            raise ValueError(
                "only an answer to points, boxes or masks, or to phrases, can be refined"
            )
        own = self.photo.image
        if answer.image is not own and not np.array_equal(answer.image, own):
            raise ValueError("the answer is of another photo")
        return known, known.prompt.marks

    def _ask(
        self, request: Request, classes: Classes, previous: Segmentation | None = None
    ) -> Segmentation:
        model, prompt = self._model, request.prompt
        model.check(request)
        features = self.encode()
        results = None if features is None else model.answer_encoded(features, request)
        if results is None:
            del features
            self._keep_nothing()
            results = model.answer_within_memory([self.photo], request)
        (result,) = results
        shown = show(self.photo, result, classes, *self._about)
        if prompt.marks is None:
            return shown
        logits = None if result.objects is None else _answers_of(result.objects, len(prompt))
        return replace(shown, answer=Answer(prompt, logits, previous))

    def everything(
        self, settings: EverythingSettings | None = None, **changes: Any
    ) -> Segmentation:
        """Looks for all there is, of systems that are pointed at.

        The masks of the result are made when they are asked for, so hundreds of a large photo take
        the memory of one.

        Args:
            settings: Where to look and what to keep; when None the model's own, which are the
                usual ones where it says nothing else.
            changes: Of single settings, by their names.

        Raises:
            ValueError: The model does not look for everything, or a setting has no meaning.
            MemoryError: The photo does not fit into memory.
        """
        model = self._model
        wanted = replace(settings or model.everything_settings, **changes)
        model.check(model.request((Task.OBJECT,), Prompt(everything=wanted.of_layer(0))))
        features = self.encode()
        result = None if features is None else model.everything(self.photo, features, wanted)
        if result is None:
            raise MemoryError(f"{model.name} cannot look for everything in {self.photo.size}")
        return self.show(result)

    def show(self, result: SegmentationResult) -> Segmentation:
        """A result about the photo as arrays."""
        return show(self.photo, result, self._classes, *self._about)


def _answers_of(objects: InstanceSet, count: int) -> Tensor | None:
    """Mask logits [count, h, w] of the answer to every row of a prompt, NaN where there is none."""
    if objects.mask_logits is None or objects.owners is None or objects.choices is None:
        return None
    logits = torch.full_like(objects.mask_logits[:1], torch.nan).expand(count, -1, -1).clone()
    is_answer = objects.choices == 0
    logits[objects.owners[is_answer]] = objects.mask_logits[is_answer]
    return logits


class SessionStore:
    """Sessions under keys; where they take more memory than they may, the least recent go first.

    Photos and features count, texts do not. A session larger than the budget is not kept.
    """

    def __init__(self, budget: int) -> None:
        """Takes the number of bytes that all sessions may have together."""
        self.budget = budget
        self._lock = threading.Lock()
        self._sessions: OrderedDict[Hashable, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def nbytes(self) -> int:
        """Of all sessions."""
        with self._lock:
            return sum(session.nbytes for session in self._sessions.values())

    def get(self, key: Hashable, make: Callable[[], Session]) -> Session:
        """The session of a key, made where there is none; it is the last one to go."""
        with self._lock:
            session = self._sessions.get(key)
        if session is None:
            session = make()  # reads a photo: others need not wait
        with self._lock:
            session = self._sessions.setdefault(key, session)
            self._sessions.move_to_end(key)
        return session

    def trim(self) -> None:
        """Lets sessions go until the rest fits; to be called after questions, which encode."""
        with self._lock:
            # read once: other threads encode and close meanwhile
            sizes = {key: session.nbytes for key, session in self._sessions.items()}
            too_large = [key for key, size in sizes.items() if size > self.budget]
            total = sum(sizes.values())
            for key in dict.fromkeys([*too_large, *sizes]):  # then the least recent first
                if total <= self.budget:
                    break
                del self._sessions[key]
                total -= sizes[key]


def choose_tasks(task: str | None, known: tuple[Task, ...] = SHOWN_TASKS) -> tuple[Task, ...]:
    """Returns the tasks of a name: itself, all known ones for "all", the first one for None."""
    if task is None:
        return known[:1]
    if task == "all":
        return known
    if not isinstance(task, str) or task not in set(Task):
        names = ", ".join((*SHOWN_TASKS, Task.OBJECT))
        raise ValueError(f"wanted the task {names} or all, got {task!r}")
    if task not in known:
        raise ValueError(f"the model does not have the task {task!r}, only {', '.join(known)}")
    return (Task(task),)
