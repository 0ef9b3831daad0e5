"""All floors on the same rows."""

from itertools import count

import pandas as pd

from bort_kedro.evaluation.floors import ROW_COLUMNS, FloorReport, answer_by_floors
from bort_kedro.tasks.table import TASKS, own_task

RTE = TASKS["rte"]
E, N = RTE.labels


def rows(split, texts, labels):
    count = len(texts)
    return pd.DataFrame(
        {
            "split": split,
            "part": "",
            "group": [str(row) for row in range(count)],
            "index": [str(row) for row in range(count)],
            "text": texts,
            "text_pair": None,
            "option": None,
            "label": labels,
        }
    )


TABLES = {
    "train": rows("train", ["good"] * 3 + ["bad"] * 2, [E] * 3 + [N] * 2),
    "dev": rows("dev", ["good", "bad"], [E, N]),
    "test": rows("test", ["bad", "good", "bad"], [N, E, N]),
    "submission": rows("submission", ["good"], [None]),
}


def test_every_floor_answers_the_labelled_rows_that_were_not_learned_from():
    ticks = count()
    predictions, reports = answer_by_floors(RTE, TABLES, TABLES, lambda: next(ticks))
    assert list(predictions) == [*ROW_COLUMNS, "prediction", "method"]
    assert predictions["split"].tolist() == ["test", "test", "test", "dev", "dev"] * 2
    assert predictions["label"].tolist() == [N, E, N, E, N] * 2
    answers = predictions.groupby("method", sort=False)["prediction"].agg(list).to_dict()
    # The constant is that of each split, of equals the first by name.
    assert answers == {"constant": [N, N, N, E, E], "tfidf": [N, E, N, E, N]}
    assert list(reports) == ["constant", "tfidf"]
    assert reports["constant"] == FloorReport(seconds=1, strength=None, train_share=None)
    assert (reports["tfidf"].seconds, reports["tfidf"].train_share) == (1, 1.0)
    assert FloorReport.from_json(reports["tfidf"].to_json()) == reports["tfidf"]


ENTITIES = own_task("entities", files={"train": "a.conll", "dev": "b.conll"}, form="token_classification")


def test_floors_of_tagged_words_are_the_best_tag_and_those_of_each_word_in_train():
    tables = {
        "train": rows("train", ["Paris is big", "May is in May", "in Paris"], ["B-LOC O O", "B-PER O O O", "O B-LOC"]),
        "dev": rows("dev", ["in May"], ["O O"]),
        "test": rows("test", ["Rome is in Paris", "May May"], ["B-LOC O O B-LOC", "B-PER I-PER"]),
    }
    predictions, reports = answer_by_floors(ENTITIES, tables, tables, lambda: 0.0)
    answers = predictions.groupby("method", sort=False)["prediction"].agg(list).to_dict()
    # May is as often a person as not, and the first of equals in the order of text is B-PER; Rome was never seen.
    assert answers["memorised"] == ["O O O B-LOC", "B-PER B-PER", "O B-PER"]
    # All words a place: of test one in 6 + 3, more than no span at all; of dev nothing is right, whatever is said.
    assert answers["constant"] == ["B-LOC B-LOC B-LOC B-LOC", "B-LOC B-LOC", "O O"]
    assert reports["memorised"].train_share == 1.0


def test_a_built_in_task_has_its_regular_expression_as_a_floor():
    tables = {
        split: rows(split, ["the x_train of X and a y2"], ["O B-argument O O O O O"]) for split in ("train", "test")
    }
    answers, _ = answer_by_floors(TASKS["arguments"], tables, tables, lambda: 0.0)
    assert answers.query("method == 'pattern'")["prediction"].tolist() == ["O B-argument O B-argument O O O"]


def test_a_task_without_labelled_rows_has_an_empty_table():
    predictions, reports = answer_by_floors(RTE, TABLES, {"submission": TABLES["submission"]}, lambda: 0.0)
    assert list(predictions) == [*ROW_COLUMNS, "prediction", "method"]
    assert (len(predictions), reports) == (0, {})


def test_a_diagnostic_is_answered_by_what_another_task_teaches():
    asked = {"test": rows("test", ["good", "bad"], [N, N])}
    predictions, _ = answer_by_floors(RTE, TABLES, asked, lambda: 0.0)
    assert predictions.query("method == 'tfidf'")["prediction"].tolist() == [E, N]
