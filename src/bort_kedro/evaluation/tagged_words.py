"""Floors of tagged words, which look at each word alone."""

from __future__ import annotations

from collections import Counter, defaultdict

from bort_kedro.evaluation.tfidf import Fitted, Tables
from bort_kedro.tasks.description import Task
from bort_kedro.tasks.tags import OUTSIDE, as_iob2


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
