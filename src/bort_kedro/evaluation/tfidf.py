"""A linear model over TF-IDF weights of words: fitted in seconds, and often hard to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_kedro.evaluation.scores import units_in
from bort_kedro.tasks.metrics import score_rows
from bort_kedro.tasks.table import RIGHT, WRONG, Form, Task

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

Tables = Mapping[str, "pd.DataFrame"]
# Of a longer train split whole units are drawn, with this seed: some minutes of one core, and a GB.
MOST_CHARACTERS = 20_000_000
DRAW_SEED = 0
# The most frequent are kept.
MOST_NGRAMS = 100_000
# How little large weights are punished: C of the logistic regression, one over alpha of the ridge regression.
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
MOST_ITERATIONS = 1000
# A word or a mark, so that no text is without any.
TOKEN = r"(?u)\w+|[^\w\s]"  # noqa: S105 - a pattern


@dataclass(frozen=True)
class Fitted:
    """A floor's answers, and what was fitted to give them.

    Args:
        answers: By split, one for each row.
        strength: Out of `STRENGTHS`, chosen on dev; None of a floor without weights.
        train_share: Share of the train rows that were fitted to; None of a floor that is fitted to nothing.
    """

    answers: dict[str, list[str]]
    strength: float | None = None
    train_share: float | None = None


def tfidf_answers(task: Task, taught: Tables, asked: Tables) -> Fitted:
    """Fit to train, choose the strength by the task's first metric on dev, and answer.

    Inputs are the TF-IDF weights of words and marks and of two after each other; of a pair those of each text, and the
    cosine of the two. A logistic regression answers with a label, a ridge regression with a number. Of multiple choice
    the logistic regression tells right options from wrong ones, each a pair with its context, and the likeliest option
    of a question is the answer.
    """
    train, dev = drawn_units(taught["train"]), taught["dev"]
    inputs_of = _inputs_fitted_to(train)
    inputs, dev_inputs = inputs_of(train), inputs_of(dev)
    models = {strength: _model(task, inputs, train["label"], strength) for strength in STRENGTHS}

    def dev_score(strength: float) -> float:
        return score_rows(task, task.metrics[0], dev, _answers(task, models[strength], dev_inputs, dev))

    # The first of equals, which has the smallest weights.
    best = max(STRENGTHS, key=dev_score)
    answers = {split: _answers(task, models[best], inputs_of(table), table) for split, table in asked.items()}
    return Fitted(answers, best, len(train) / len(taught["train"]))


def drawn_units(table: pd.DataFrame) -> pd.DataFrame:
    """All rows, or of a long table so many whole units, drawn at random, as hold `MOST_CHARACTERS`."""
    lengths = (table["text"].str.len() + table["text_pair"].str.len().fillna(0)).to_numpy(dtype=float)
    if lengths.sum() <= MOST_CHARACTERS:
        return table
    units = units_in(table)
    order = np.random.default_rng(DRAW_SEED).permutation(len(units))
    ends = np.cumsum([lengths[units[unit]].sum() for unit in order])
    count = max(1, int(np.searchsorted(ends, MOST_CHARACTERS, side="right")))
    return table.iloc[np.sort(np.concatenate([units[unit] for unit in order[:count]]))]


def _inputs_fitted_to(train: pd.DataFrame) -> Callable[[pd.DataFrame], csr_matrix]:
    """What makes (N, F) inputs of a table, its words those of the train split."""
    import pandas as pd
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    columns = ["text", *(["text_pair"] if train["text_pair"].notna().any() else [])]
    vectorizer = TfidfVectorizer(token_pattern=TOKEN, ngram_range=(1, 2), max_features=MOST_NGRAMS)
    # Once each: the questions to one passage repeat it.
    vectorizer.fit(pd.unique(pd.concat([train[column].dropna() for column in columns])))

    def inputs_of(table: pd.DataFrame) -> csr_matrix:
        weights = []
        for column in columns:
            place, texts = pd.factorize(table[column].fillna(""))
            weights.append(vectorizer.transform(texts)[place])
        if len(weights) == 1:
            return weights[0]
        first, second = weights
        return hstack([first, second, first.multiply(second).sum(axis=1)], format="csr")

    return inputs_of


def _model(task: Task, inputs: csr_matrix, labels: pd.Series, strength: float) -> Any:
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression, Ridge

    if task.form == Form.REGRESSION:
        return Ridge(alpha=1 / strength).fit(inputs, labels.astype(float))
    # Of a rare label no example may have been drawn.
    if labels.nunique() == 1:
        return DummyClassifier().fit(inputs, labels)
    return LogisticRegression(C=strength, max_iter=MOST_ITERATIONS).fit(inputs, labels)


def _answers(task: Task, model: Any, inputs: csr_matrix, table: pd.DataFrame) -> list[str]:
    if task.form == Form.REGRESSION:
        return [f"{value:.6g}" for value in model.predict(inputs)]
    if task.form == Form.CLASSIFICATION:
        return list(map(str, model.predict(inputs)))
    belief = model.predict_proba(inputs)[:, list(model.classes_).index(RIGHT)]
    answers = [WRONG] * len(table)
    for rows in units_in(table):
        answers[rows[np.argmax(belief[rows])]] = RIGHT
    return answers
