"""Floors of tagged words, which look at each word alone."""

import re
from collections import Counter, defaultdict

from bort_kedro.evaluation.tfidf import Fitted, Tables
from bort_kedro.tasks.builtin import BUILTIN_TASKS
from bort_kedro.tasks.description import Task
from bort_kedro.tasks.tags import BEGINS, OUTSIDE, as_iob2


def pattern_of(task: Task) -> re.Pattern[str] | None:
    """What matches the words of spans of a built-in task, where it has such."""
    return BUILTIN_TASKS[task.name].pattern if task.name in BUILTIN_TASKS else None


def matched_tags(task: Task, taught: Tables, asked: Tables) -> Fitted:
    """A word that a task's pattern matches whole is a span, of the first type there is."""
    pattern, begins = pattern_of(task), next(label for label in task.labels if label.startswith(BEGINS))
    assert pattern is not None  # noqa: S101 - a floor of tasks that have one

    def tags(text: str) -> str:
        return " ".join(begins if pattern.fullmatch(word) else OUTSIDE for word in text.split())

    return Fitted({split: [tags(text) for text in table["text"]] for split, table in asked.items()})


def memorised_tags(task: Task, taught: Tables, asked: Tables) -> Fitted:
    """Each word has the tag that it has most often in train, and a word that is new is outside of all spans.

    Of tags as frequent the one that comes first in the order of text.
    """
    train, counts = taught["train"], defaultdict[str, Counter[str]](Counter)
    for text, label in zip(train["text"], train["label"], strict=True):
        for word, tag in zip(text.split(), label.split(), strict=True):
            counts[word][tag] += 1
    tag_of = {word: min(tags, key=lambda tag: (-tags[tag], tag)) for word, tags in counts.items()}
    answers = {
        split: [" ".join(as_iob2(tag_of.get(word, OUTSIDE) for word in text.split())) for text in table["text"]]
        for split, table in asked.items()
    }
    return Fitted(answers, train_share=1.0)
