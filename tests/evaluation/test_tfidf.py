"""The linear model over words, on tasks whose best answer is known."""

from dataclasses import replace

import pandas as pd
import pytest

from bort_kedro.evaluation import tfidf
from bort_kedro.evaluation.scores import constant_answers, score_rows
from bort_kedro.evaluation.tfidf import drawn_units, tfidf_answers
from bort_kedro.tasks.table import RIGHT, TASKS, WRONG

RTE, STSB, RACE = TASKS["rte"], TASKS["stsb"], TASKS["race_high"]
E, N = RTE.labels
FILLER = ["a film of old", "the play we saw", "that long book", "some song there"]


def table_of(texts, labels, pairs=None, groups=None):
    count = len(texts)
    return pd.DataFrame(
        {
            "part": "",
            "group": groups or list(map(str, range(count))),
            "text": texts,
            "text_pair": pairs or [None] * count,
            "option": None,
            "label": labels,
        }
    )


def score_of(task, train, dev, test):
    fitted = tfidf_answers(task, {"train": train, "dev": dev}, {"test": test})
    return score_rows(task, task.metrics[0], test, fitted.answers["test"])


def test_a_task_that_one_word_decides_is_solved():
    texts = [f"{filler} was {word}" for word in ("good", "bad") for filler in FILLER]
    train = table_of(texts, [E] * 4 + [N] * 4)
    test = table_of(["good nonsense", "a bad film", "the bad old play", "good"], [E, N, N, E])
    assert score_of(RTE, train, train, test) == 1.0


def test_where_no_word_tells_it_scores_as_the_constant_answer():
    table = table_of(FILLER * 2, [E] * 4 + [N] * 4)
    assert score_of(RTE, table, table, table) == 0.5
    assert score_rows(RTE, "accuracy", table, constant_answers(RTE, table)) == 0.5


def test_the_strength_is_that_of_the_best_dev_score():
    # A word of the rarer label: punished weights never answer with it, free ones do.
    train = table_of([*(f"plain {filler}" for filler in FILLER * 2), "odd", "odd"], [E] * 8 + [N] * 2)
    tells, misleads = table_of(["odd", "plain"], [N, E]), table_of(["odd", "plain"], [E, E])
    free = tfidf_answers(RTE, {"train": train, "dev": tells}, {"test": tells})
    punished = tfidf_answers(RTE, {"train": train, "dev": misleads}, {"test": misleads})
    assert free.answers == {"test": [N, E]}
    assert punished.answers == {"test": [E, E]}
    assert punished.strength == min(tfidf.STRENGTHS) < free.strength
    assert free.train_share == 1.0


def test_a_regression_weighs_words():
    # Punished weights draw all numbers to their mean alike, and no correlation minds that.
    train = table_of(["low", "middle", "high"] * 3, ["0", "2.5", "5"] * 3)
    test = table_of(["high", "low", "middle", "high"], ["5", "0", "2.5", "5"])
    assert score_of(STSB, train, train, test) == pytest.approx(1.0)


def test_the_words_of_each_text_of_a_pair_are_apart():
    train = table_of(["good", "bad", "good", "bad"], [E, E, N, N], pairs=["good", "good", "bad", "bad"])
    assert score_of(RTE, train, train, train) == 1.0
    swapped = train.rename(columns={"text": "text_pair", "text_pair": "text"})
    assert score_of(RTE, train, train, swapped) == 0.5


def test_two_texts_with_the_same_words_are_told_from_others_whatever_the_words():
    def pairs_of(words):
        others = [*words[1:], words[0]]
        return table_of(words * 2, [E] * len(words) + [N] * len(words), pairs=words + others)

    words = [f"word{number}" for number in range(40)]
    # The words of test are in no text that is alike in train.
    train = pairs_of(words[:30])
    test = table_of(["word1 word2 word3"] * 2, [E, N], pairs=["word3 word2 word1", "word7 word8 word9"])
    assert score_of(RTE, train, train, test) == 1.0


def test_the_likeliest_option_of_each_question_is_chosen():
    def questions(*contexts):
        options = [context for context in contexts for _ in range(2)]
        pairs = [pair for context in contexts for pair in (f"it is {context}", "it is not said")]
        return table_of(
            options, [RIGHT, WRONG] * len(contexts), pairs, [f"q{row // 2}" for row in range(2 * len(contexts))]
        )

    train, test = questions("red", "blue", "green", "black"), questions("green", "red")
    fitted = tfidf_answers(RACE, {"train": train, "dev": train}, {"test": test})
    assert fitted.answers["test"] == [RIGHT, WRONG, RIGHT, WRONG]


def test_of_a_long_table_whole_units_are_drawn_the_same_each_time(monkeypatch):
    table = table_of(["ten chars."] * 12, [RIGHT, WRONG] * 6, groups=[f"q{row // 3}" for row in range(12)])
    assert drawn_units(table) is table
    # Two questions of three rows of ten characters fit into 70, a third does not.
    monkeypatch.setattr(tfidf, "MOST_CHARACTERS", 70)
    drawn = drawn_units(table)
    assert drawn.groupby("group").size().tolist() == [3, 3]
    assert drawn.index.is_monotonic_increasing
    pd.testing.assert_frame_equal(drawn, drawn_units(table))
    assert tfidf_answers(RACE, {"train": table, "dev": table}, {"test": table}).train_share == 0.5


def test_a_label_of_which_nothing_was_drawn_is_never_answered(monkeypatch):
    monkeypatch.setattr(tfidf, "MOST_CHARACTERS", 1)
    table = table_of(["good", "bad"], [E, N])
    answers = tfidf_answers(RTE, {"train": table, "dev": table}, {"test": table}).answers["test"]
    assert answers in ([E, E], [N, N])


def test_a_metric_of_its_own_chooses_the_strength():
    """F1 of the second label: never answered it is 0, so the strength that answers it is taken."""
    task = replace(RTE, metrics=("f1",))
    train = table_of([*(f"plain {filler}" for filler in FILLER * 2), "odd", "odd"], [E] * 8 + [N] * 2)
    dev = table_of(["odd", "odd", "odd", "odd"], [E, E, E, N])
    assert tfidf_answers(task, {"train": train, "dev": dev}, {"test": dev}).answers["test"] == [N] * 4
    assert tfidf_answers(RTE, {"train": train, "dev": dev}, {"test": dev}).answers["test"] == [E] * 4
