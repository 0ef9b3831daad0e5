"""Scores of predictions as the leaderboards of GLUE, SuperGLUE and RACE define them, by scikit-learn and SciPy."""

from __future__ import annotations

import operator
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_kedro.errors import ConfigurationError, TaskError
from bort_kedro.tasks.description import RIGHT, Form, Task
from bort_kedro.tasks.tags import as_iob2, spans_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# The label of MultiRC's right answers.
TRUE = "true"
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Scored:
    """The rows of a split with what a model says of them, (N,) each, N at least 1.

    Args:
        predictions: Likewise; of multiple choice `RIGHT` for the chosen row of each group and anything else for the
            others.
        groups: Rows with the same one belong together: the options or answers of a question, or a pair.
        options: Texts of the options of multiple choice, None elsewhere.
        counts: (N, 5) of tagged words: the `TAG_COUNTS` of each row; None elsewhere.
    """

    labels: NDArray[np.generic]
    predictions: NDArray[np.generic]
    groups: NDArray[np.generic]
    options: NDArray[np.generic]
    label_names: tuple[str, ...] = ()
    counts: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        lengths = [len(column) for column in (self.labels, self.predictions, self.groups, self.options)]
        if not lengths[0] or len(set(lengths)) > 1:
            raise ValueError(
                "labels, predictions, groups and options have "
                f"{', '.join(map(str, lengths))} rows: expected as many of each, and at least one"
            )

    def taken(self, rows: NDArray[np.int64], groups: NDArray[np.generic] | None = None) -> Scored:
        """Some of the rows, in other groups if these are given."""
        return replace(
            self,
            labels=self.labels[rows],
            predictions=self.predictions[rows],
            groups=self.groups[rows] if groups is None else groups,
            options=self.options[rows],
            counts=None if self.counts is None else self.counts[rows],
        )


Metric = Mapping[Form, Callable[[Scored], float]]


def score(task_form: Form, metric_name: str, scored: Scored) -> float:
    """One metric, a key of `METRICS`, of a split's predictions; higher is better.

    Raises:
        ConfigurationError: If the metric is unknown or not defined for this form of task.
        ValueError: If the rows are not of the shape that the metric needs.
    """
    allowed = [name for name, metric in METRICS.items() if task_form in metric]
    if metric_name not in allowed:
        raise ConfigurationError(
            f"The metric `{metric_name}` is not defined for the form `{task_form}`. Allowed: {', '.join(allowed)}. "
            "Change `metrics` in the description of the task."
        )
    return METRICS[metric_name][task_form](scored)


def score_rows(task: Task, metric_name: str, table: pd.DataFrame, predictions: Sequence[str]) -> float:
    """One metric of predictions that stand beside a table of examples; see `scored_rows` and `score`."""
    return score(task.form, metric_name, scored_rows(task, table, predictions))


def scored_rows(task: Task, table: pd.DataFrame, predictions: Sequence[str]) -> Scored:
    """A table of examples with what a model says of them, (N,) as text in the order of the table.

    Where the task names no labels, they are those that occur, in text order. The columns are ``part``, ``label``,
    ``group`` and ``option``; groups of different parts are different.
    """
    # The tags of a long text would make the array of all as wide.
    kind: type = {Form.REGRESSION: float, Form.TOKENS: object}.get(task.form, str)
    labels: NDArray[np.generic] = np.array(table["label"], dtype=kind)
    answers: NDArray[np.generic] = np.array(predictions, dtype=kind)
    names = task.labels
    if not names and task.form == Form.CLASSIFICATION:
        names = tuple(sorted({*labels.tolist(), *answers.tolist()}))
    groups = table["part"].astype(str) + "/" + table["group"].astype(str)
    counts = None if task.form != Form.TOKENS else np.array(list(map(_tag_counts, labels, answers)), dtype=np.int64)
    return Scored(labels, answers, groups.to_numpy(dtype=str), table["option"].to_numpy(), names, counts)


def _tag_counts(label: str, answer: str) -> tuple[int, ...]:
    """`TAG_COUNTS` of one row of tagged words."""
    tags, said = label.split(), answer.split()
    if len(tags) != len(said):
        raise ValueError(f"{len(said)} tags are answered to {len(tags)} words: expected one for each")
    spans, found = set(spans_of(tags)), set(spans_of(said))
    return len(spans & found), len(spans), len(found), sum(map(operator.eq, tags, as_iob2(said))), len(tags)


def _accuracy(scored: Scored) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(scored.labels, scored.predictions))


def _choice_accuracy(scored: Scored) -> float:
    """Share of questions whose chosen option is a right one."""
    return float(np.mean(scored.labels[_chosen_rows(scored)] == RIGHT))


def _f1(scored: Scored) -> float:
    """F1 of the second of two labels: "1" of MRPC and QQP."""
    if len(scored.label_names) != 2:
        raise ConfigurationError(
            f"The metric `f1` is that of the second of two labels, but the task has {len(scored.label_names)}: "
            f"{', '.join(scored.label_names)}. Change `metrics` in the description of the task to `macro_f1`, or name "
            "its two `labels`."
        )
    return _f1_of(scored, scored.label_names[1])


def _f1_answers(scored: Scored) -> float:
    """F1 of the right answers, over the answers to all questions together: F1a of MultiRC."""
    return _f1_of(scored, TRUE)


def _f1_of(scored: Scored, positive: str) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(scored.labels == positive, scored.predictions == positive, zero_division=0.0))


def _macro_f1(scored: Scored) -> float:
    """Unweighted mean of each label's F1, over the labels that occur in labels or predictions."""
    from sklearn.metrics import f1_score

    return float(f1_score(scored.labels, scored.predictions, average="macro", zero_division=0.0))


def _matthews(scored: Scored) -> float:
    from sklearn.metrics import matthews_corrcoef

    return 0.0 if _has_constant(scored) else float(matthews_corrcoef(scored.labels, scored.predictions))


def _pearson(scored: Scored) -> float:
    from scipy.stats import pearsonr

    return 0.0 if _has_constant(scored) else float(pearsonr(scored.labels, scored.predictions).statistic)


def _spearman(scored: Scored) -> float:
    from scipy.stats import spearmanr

    return 0.0 if _has_constant(scored) else float(spearmanr(scored.labels, scored.predictions).statistic)


def _has_constant(scored: Scored) -> bool:
    """True if labels or predictions are all the same: they correlate with nothing, which is said as 0."""
    return any(bool((values == values[0]).all()) for values in (scored.labels, scored.predictions))


def _whole_groups_right(scored: Scored) -> float:
    """Share of the questions all of whose answers are judged right: EM of MultiRC."""
    _, group_of = np.unique(scored.groups, return_inverse=True)
    wrong = np.bincount(group_of, weights=scored.labels != scored.predictions)
    return float(np.mean(wrong == 0))


def _parity(scored: Scored) -> float:
    """Share of the pairs whose two predictions are the same, right or not: gender parity of AX-g."""
    names, group_of, counts = np.unique(scored.groups, return_inverse=True, return_counts=True)
    if (counts != 2).any():
        first = int(np.flatnonzero(counts != 2)[0])
        raise TaskError(
            f"parity compares pairs, but the group {names[first]} has {counts[first]} row(s). Mend the row that was "
            "left out (`skip_bad_rows` in params:finetune), so that both of the pair are there."
        )
    pairs = scored.predictions[np.argsort(group_of, kind="stable")].reshape(-1, 2)
    return float(np.mean(pairs[:, 0] == pairs[:, 1]))


def _choice_exact_match(scored: Scored) -> float:
    """Share of the questions whose chosen option reads like a right one: EM of ReCoRD."""
    return _best_against_right_options(scored, lambda words, truth: float(words == truth))


def _choice_f1_tokens(scored: Scored) -> float:
    """Mean F1 of the words of the chosen option, against the right option most like it: F1 of ReCoRD."""
    return _best_against_right_options(scored, _f1_of_words)


def _f1_of_words(words: list[str], truth: list[str]) -> float:
    shared = (Counter(words) & Counter(truth)).total()
    return 2.0 * shared / (len(words) + len(truth)) if shared else 0.0


def _best_against_right_options(scored: Scored, likeness: Callable[[list[str], list[str]], float]) -> float:
    """Mean over the questions; 0 of a question without a right option."""
    right_words: dict[Any, list[list[str]]] = {}
    for row in np.flatnonzero(scored.labels == RIGHT):
        right_words.setdefault(scored.groups[row], []).append(answer_words(scored.options[row]))
    best = []
    for row in _chosen_rows(scored):
        words = answer_words(scored.options[row])
        best.append(max((likeness(words, truth) for truth in right_words.get(scored.groups[row], [])), default=0.0))
    return float(np.mean(best))


def answer_words(text: str) -> list[str]:
    """Words of an answer in lower case, without punctuation and articles, as SQuAD's and ReCoRD's scripts have them."""
    return _ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _chosen_rows(scored: Scored) -> NDArray[np.int64]:
    """(G,) the row chosen of each group."""
    names, group_of = np.unique(scored.groups, return_inverse=True)
    chosen = np.flatnonzero(scored.predictions == RIGHT)
    counts = np.bincount(group_of[chosen], minlength=len(names))
    if (counts != 1).any():
        first = int(np.flatnonzero(counts != 1)[0])
        raise ValueError(f"one option of each question is to be chosen, but {counts[first]} are of {names[first]}")
    return chosen


def _twice_shared(counts: NDArray[np.int64]) -> float:
    """F1 of whole spans: those found with their type, first and last word right, of all types together."""
    return _ratio(2 * counts[0], counts[1] + counts[2])


def _ratio(part: int, whole: int) -> float:
    """A share; 0 of nothing."""
    return float(part / whole) if whole else 0.0


# What is counted of tagged words: spans in both, in the labels and in the answers; words whose tag is right, and all.
TAG_COUNTS = ("shared", "labelled", "answered", "right", "words")
# Functions of the (5,) sums of these.
OF_TAG_COUNTS: dict[str, Callable[[NDArray[np.int64]], float]] = {
    "span_f1": _twice_shared,
    "span_precision": lambda counts: _ratio(counts[0], counts[2]),
    "span_recall": lambda counts: _ratio(counts[0], counts[1]),
    "word_accuracy": lambda counts: _ratio(counts[3], counts[4]),
}


def _of_tags(metric: str) -> Callable[[Scored], float]:
    def score_tags(scored: Scored) -> float:
        assert scored.counts is not None  # noqa: S101 - `scored_rows` counts tags
        return OF_TAG_COUNTS[metric](scored.counts.sum(0))

    return score_tags


METRICS: dict[str, Metric] = {
    "accuracy": {Form.CLASSIFICATION: _accuracy, Form.MULTIPLE_CHOICE: _choice_accuracy},
    "f1": {Form.CLASSIFICATION: _f1},
    "macro_f1": {Form.CLASSIFICATION: _macro_f1},
    "matthews": {Form.CLASSIFICATION: _matthews},
    "f1_answers": {Form.CLASSIFICATION: _f1_answers},
    "exact_match": {Form.CLASSIFICATION: _whole_groups_right, Form.MULTIPLE_CHOICE: _choice_exact_match},
    "f1_tokens": {Form.MULTIPLE_CHOICE: _choice_f1_tokens},
    "parity": {Form.CLASSIFICATION: _parity},
    "pearson": {Form.REGRESSION: _pearson},
    "spearman": {Form.REGRESSION: _spearman},
    **{metric: {Form.TOKENS: _of_tags(metric)} for metric in OF_TAG_COUNTS},
}
