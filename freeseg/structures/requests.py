"""What is asked of a system: prompts, requests, and which of them it understands.

Shapes: M masks, H W size of an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from freeseg.structures.everything import EverythingSettings
from freeseg.structures.examples import Enrolled, Example, LearnedExample
from freeseg.structures.marks import Marks
from freeseg.structures.vocabulary import Vocabulary
from freeseg_command.tasks import JUDGED_TASKS, Task

# what a prompt may have
KINDS = frozenset(
    {
        "classes",
        "phrases",
        "points",
        "boxes",
        "masks",
        "logits",
        "strokes",
        "examples",
        "everything",
    }
)


@dataclass(frozen=True, eq=False)
class Prompt:
    """All that is said about one image, as rows: row n is what is said of object n.

    A phrase and a click on one row are one object, on two rows two. What stands beside the rows is
    of the whole prompt.

    Attributes:
        marks: Of every row.
        phrases: Of every row, None where there is none.
        examples: Of the whole prompt; a row follows that of `example_ids`.
        enrolled: What the system has made of examples, in their place; see `Segmenter.enroll`.
        example_ids: For every row an id of the examples' masks, None where there is none; where it
            is None itself, the rows are all ids in their order.
        vocabulary: The class list to look for; None: the model's own.
        everything: How to look for all there is; None: it is not looked for.
        logits: Of every row the mask logits [N, h, w] of its former answer, as `InstanceSet` has
            them; a row of NaN where there is none.
    """

    marks: Marks | None = None
    phrases: tuple[str | None, ...] | None = None
    examples: tuple[Example | LearnedExample, ...] = ()
    enrolled: Enrolled | None = None
    example_ids: tuple[int | None, ...] | None = None
    vocabulary: Vocabulary | None = None
    everything: EverythingSettings | None = None
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        _require_phrases(self.phrases)
        rows = {
            name: len(value)
            for name, value in (
                ("marks", self.marks),
                ("phrases", self.phrases),
                ("example_ids", self.example_ids),
                ("logits", self.logits),
            )
            if value is not None
        }
        if len(set(rows.values())) > 1:
            said = ", ".join(f"{name} of {count}" for name, count in rows.items())
            raise ValueError(f"a prompt's rows are objects: {said}")
        if self.vocabulary is not None and not isinstance(self.vocabulary, Vocabulary):
            raise TypeError(
                f"a class list is a Vocabulary (Vocabulary.from_classes reads names), "
                f"got {type(self.vocabulary).__name__}"
            )
        if self.vocabulary is not None and not len(self.vocabulary):
            raise ValueError("an input's vocabulary is empty; name a class, or leave it out")
        if self.everything is not None and not isinstance(self.everything, EverythingSettings):
            kind = type(self.everything).__name__
            raise ValueError(f"a prompt's everything is EverythingSettings, got {kind}")
        if self.enrolled is not None and self.examples:
            raise ValueError("a prompt has examples or what was made of them, not both")
        if self.everything is not None and rows:
            raise ValueError(f"a prompt for everything points at nothing: it has {', '.join(rows)}")

    def __len__(self) -> int:
        """Objects that are spoken of; 0 of a class list."""
        for rows in (self.marks, self.phrases, self.example_ids):
            if rows is not None:
                return len(rows)
        return 0

    @property
    def kinds(self) -> frozenset[str]:
        """What there is: classes, phrases, examples, everything, logits, the kinds of marks."""
        there = {
            "classes": self.vocabulary is not None,
            "phrases": any(self.phrases or ()),
            "examples": bool(self.examples) or self.enrolled is not None,
            "everything": self.everything is not None,
            "logits": self.logits is not None,
        }
        marks = self.marks.kinds if self.marks is not None else frozenset()
        return marks | {kind for kind, is_there in there.items() if is_there}


def _require_phrases(phrases: Any) -> None:
    """Refuses what are no phrases of rows."""
    if isinstance(phrases, str):
        raise TypeError(f"phrases are a tuple, one for every row, got {phrases!r}")
    for number, phrase in enumerate(phrases or ()):
        if phrase is not None and not isinstance(phrase, str):
            raise TypeError(f"phrase {number} must be text or None, got {phrase!r}")
        if phrase is not None and not phrase.strip():
            raise ValueError(f"phrase {number} is empty")


@dataclass(frozen=True)
class Takes:
    """What a prompt for one task needs, and what else it may say; kinds as `Prompt.kinds`.

    Attributes:
        needs: One of them has to be there; none of them where it is empty.
        may: Beside these.
    """

    needs: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = sorted((self.needs | self.may) - KINDS)
        if unknown:
            raise ValueError(f"a prompt has {', '.join(sorted(KINDS))}, not {' or '.join(unknown)}")

    @property
    def kinds(self) -> frozenset[str]:
        return self.needs | self.may


@dataclass(frozen=True)
class Wants:
    """How results are wanted, beside what they are about.

    Attributes:
        labels: Semantic labels [H, W] will do, instead of scores of all classes.
        certainty: How far the model knows what it sees is asked too.
        alternatives: Of what a prompt points at other readings are given beside the answer.
        single: Prompts have one meaning each: a box is answered by the mask that SAM has for
            several prompts, which its release calls `multimask_output=False`.
    """

    labels: bool = False
    certainty: bool = False
    alternatives: bool = True
    single: bool = False


@dataclass(frozen=True, eq=False)
class Request:
    """One question about one image; several of one image are several class lists or prompts.

    Attributes:
        index: The image's place in a batch.
        tasks: What is to be answered, from one decoding.
        prompt: What is said.
        under: The task under which a task-conditioned system decodes; None: each output's own.
        wants: How it is to be answered.
    """

    index: int
    tasks: tuple[Task, ...]
    prompt: Prompt = field(default_factory=Prompt)
    under: str | None = None
    wants: Wants = Wants()

    def vocabulary(self, default: Vocabulary) -> Vocabulary:
        """The class list that is asked for."""
        return default if self.prompt.vocabulary is None else self.prompt.vocabulary


def read_tasks(tasks: Any) -> tuple[Task, ...]:
    """Tasks of their names.

    Raises:
        ValueError: They are no sequence, none, or one is unknown; the message lists the known.
    """
    names = list(tasks) if isinstance(tasks, Iterable) and not isinstance(tasks, str) else []
    if not names or not set(names) <= set(Task):
        raise ValueError(
            f"wanted a non-empty selection of the tasks {', '.join(Task)}, got {tasks!r}"
        )
    return tuple(dict.fromkeys(map(Task, names)))


def answered_tasks(system: Any) -> tuple[Task, ...]:
    """The tasks of a system, or of its class.

    One that keeps Detectron2's contract alone says them as `answered_tasks`; else it is taken to
    have all of a class list.
    """
    answers = getattr(system, "answers", None)
    return tuple(getattr(system, "answered_tasks", JUDGED_TASKS) if answers is None else answers)


def takes_classes(system: Any) -> bool:
    """Whether a system, or its class, may be asked for other classes than the trained ones.

    One that keeps Detectron2's contract alone says so as `takes_classes`, or as
    `takes_vocabulary`, which it was called before.
    """
    answers = getattr(system, "answers", None)
    if answers is None:
        return bool(getattr(system, "takes_classes", getattr(system, "takes_vocabulary", False)))
    return any("classes" in takes.kinds for takes in answers.values())


def refuse_unanswered(
    system: str, answers: Mapping[Task, Takes], requests: Sequence[Request]
) -> None:
    """Refuses requests that a system does not answer, before anything is computed.

    Args:
        system: Its name, for the message.
        answers: What it takes for every task that it has.
        requests: Of a batch.

    Raises:
        ValueError: It lacks the task, does not understand a kind of prompt, or misses one;
            or windows of the photo are asked for, and all there is here is one image.
    """
    for request in requests:
        prompt = request.prompt
        kinds, marks, everything = prompt.kinds, prompt.marks, prompt.everything
        is_of_nothing = marks is not None and not len(marks)  # has an empty result
        for task in request.tasks:
            if task not in answers:
                raise ValueError(f"{system} answers {', '.join(answers)}, not {task}")
            takes = answers[task]
            unknown = sorted(_about(task, request.tasks, kinds) - takes.kinds)
            if unknown:
                known = ", ".join(sorted(takes.kinds)) or "nothing but the image"
                raise ValueError(
                    f"{system} does not take {' and '.join(unknown)} for {task}; it takes {known}"
                )
            if takes.needs and not takes.needs & kinds and not is_of_nothing:
                raise ValueError(f"{system} needs {' or '.join(sorted(takes.needs))} for {task}")
        if everything is not None and everything.crop_layers:
            raise ValueError(
                f"{everything.crop_layers} crop_layers are windows of the photo itself: "
                "ask a session for everything"
            )


def _about(task: Task, tasks: Sequence[Task], kinds: frozenset[str]) -> frozenset[str]:
    """What of a prompt is said to one of the tasks.

    Where objects and classes are asked for at once, a class list is not about the objects, and what
    is pointed at not about the classes.
    """
    if Task.OBJECT not in tasks or len(tasks) == 1:
        return kinds
    lists = frozenset({"classes"})
    return kinds - lists if task == Task.OBJECT else kinds & lists
