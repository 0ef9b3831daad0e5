"""All floors on the same rows."""

from itertools import count

import pandas as pd

from bort_kedro.evaluation.floors import FLOORS, ROW_COLUMNS, FloorReport, answer_by_floors
from bort_kedro.tasks.table import TASKS

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
    assert list(reports) == list(FLOORS)
    assert reports["constant"] == FloorReport(seconds=1, strength=None, train_share=None)
    assert (reports["tfidf"].seconds, reports["tfidf"].train_share) == (1, 1.0)
    assert FloorReport.from_json(reports["tfidf"].to_json()) == reports["tfidf"]


def test_a_task_without_labelled_rows_has_an_empty_table():
    predictions, reports = answer_by_floors(RTE, TABLES, {"submission": TABLES["submission"]}, lambda: 0.0)
    assert list(predictions) == [*ROW_COLUMNS, "prediction", "method"]
    assert (len(predictions), reports) == (0, {})


def test_a_diagnostic_is_answered_by_what_another_task_teaches():
    asked = {"test": rows("test", ["good", "bad"], [N, N])}
    predictions, _ = answer_by_floors(RTE, TABLES, asked, lambda: 0.0)
    assert predictions.query("method == 'tfidf'")["prediction"].tolist() == [E, N]
