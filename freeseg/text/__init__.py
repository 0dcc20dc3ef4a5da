"""Words as tensors: tokens, the texts that describe a task's targets, and their encoders."""

from freeseg.text.task_texts import TASK_TEXT_TASKS, parse_task, target_texts, task_sentence
from freeseg.text.tokenizer import tokenize
from freeseg.text.transformer import TextTransformer

__all__ = [
    "TASK_TEXT_TASKS",
    "TextTransformer",
    "parse_task",
    "target_texts",
    "task_sentence",
    "tokenize",
]
