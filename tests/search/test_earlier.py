"""Results of other searches: what is taken of a table, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.errors import ConfigurationError
from bort_kedro.search.earlier import observations
from project_parameters import parameters

FOUR = [(1, 2, 16, 32), (2, 2, 16, 32), (3, 2, 16, 32), (4, 2, 16, 32)]
SPACE = pd.DataFrame(FOUR, columns=list(SHAPE_COLUMNS)).assign(parameters=[100, 200, 300, 400])
SEARCH = parameters().search
MARK = "0123456789abcdef"


def search_of(**changes):
    wish = {"earlier_candidates": "checked", "hyperparameter_sets": [{}, {"dropout": 0.0}]}
    return SEARCH.changed(**wish | changes)


@pytest.fixture
def table():
    """The fourth, one that was not trained, one of another space, and the second, as a CSV file gives them."""
    shapes = [FOUR[3], FOUR[0], (9, 2, 16, 32), FOUR[1]]
    return pd.DataFrame(shapes, columns=list(SHAPE_COLUMNS)).assign(
        parameters=[400.0, 100.0, 900.0, 200.0],
        error=[0.5, np.nan, 0.3, 0.7],
        error_standard_error=[0.01, np.nan, 0.01, np.nan],
        loss=[2.5, np.nan, 1.5, 3.5],
        hyperparameter_set=[1, np.nan, 0, 0],
        trained_as=[MARK, None, MARK, MARK],
        w=[0.4, np.nan, 0.1, 0.2],
    )


def taken(table, **changes):
    return observations(table, SPACE, search_of(**changes), trained_as=MARK)


def refusal(table, **changes):
    with pytest.raises(ConfigurationError) as caught:
        taken(table, **changes)
    return str(caught.value)


def test_trained_rows_of_candidates_are_taken_in_the_form_of_a_searchs_own(table):
    found = taken(table, num_seeds=3)
    assert list(found) == [3, 1]
    assert found[3] == {
        "candidate": 3,
        **dict(zip(SHAPE_COLUMNS, FOUR[3], strict=True)),
        "share": 1.0,
        "hyperparameter_set": 1,
        "num_seeds": 3,
        "error": 0.5,
        "error_standard_error": 0.01,
        "loss": 2.5,
        "loss_standard_error": pytest.approx(np.nan, nan_ok=True),
        "seconds": 0.0,
        "num_tokens": 0,
        "trained_as": MARK,
        "failure": None,
    }
    assert np.isnan(found[1]["error_standard_error"])


def test_a_table_without_a_row_is_refused(table, tmp_path):
    table.iloc[:0].to_csv(tmp_path / "empty.csv", index=False)
    for empty in (table.iloc[:0], pd.read_csv(tmp_path / "empty.csv"), pd.read_csv(tmp_path / "empty.csv", dtype=str)):
        assert refusal(empty) == (
            "None of the 0 rows of the catalog's `earlier_candidates` has the error of one of the 4 candidates. Name "
            "another table there, change params:search.space, or set params:search.earlier_candidates to none."
        )


def test_of_a_distance_the_error_alone_is_needed(table):
    relations = SEARCH.distillation.relations.changed(weight=1.0)
    wish = {"error_measure": "distance", "distillation": SEARCH.distillation.changed(relations=relations)}
    only = table[[*SHAPE_COLUMNS, "error"]]
    found = taken(only, earlier_candidates="stated", hyperparameter_sets=[{}], **wish)
    assert {index: row["error"] for index, row in found.items()} == {3: 0.5, 1: 0.7}
    assert {row["trained_as"] for row in found.values()} == {"stated"}


def test_a_table_without_the_mark_is_not_taken_unless_that_is_stated(table):
    plain = table.drop(columns="trained_as")
    assert refusal(plain) == (
        "The table of the catalog's `earlier_candidates` has no column trained_as; needed are num_hidden_layers, "
        "num_attention_heads, hidden_size, intermediate_size, error, loss, "
        "hyperparameter_set, trained_as, as a candidate table has them. "
        "Without `trained_as` nothing can be checked: if you know that all were trained as this search would, set "
        "params:search.earlier_candidates to stated."
    )
    assert list(taken(plain, earlier_candidates="stated")) == [3, 1]


def test_a_column_that_is_missing_is_named(table):
    assert refusal(table.drop(columns=["loss", "hyperparameter_set"])).startswith(
        "The table of the catalog's `earlier_candidates` has no column loss, hyperparameter_set; needed are "
    )


@pytest.mark.parametrize(
    ("column", "line", "cell", "words"),
    [
        ("loss", 2, "2,5", "has '2,5' in column `loss`, allowed is a finite number above 0, or nothing where nothing"),
        ("error", 5, 0.0, "has 0.0 in column `error`, allowed is a finite number above 0"),
        pytest.param("loss", 2, 10**400, f"has 1{'0' * 17}...{'0' * 19} in column `loss`, allowed", id="large"),
        ("error", 5, np.inf, "has inf in column `error`, allowed is a finite number above 0"),
        (
            "hidden_size",
            2,
            16.5,
            "has 16.5 in column `hidden_size`, allowed is a whole number. Mend the table, or name",
        ),
        ("hyperparameter_set", 2, 2, "has 2.0 in column `hyperparameter_set`, allowed is a number from 0 to 1"),
        ("num_hidden_layers", 5, 4, "has 4 in column `num_hidden_layers`, allowed is each shape once"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named_by_its_line(table, column, line, cell, words):
    table = table.astype({column: object})
    table.loc[line - 2, column] = cell
    assert f"Line {line} of the catalog's `earlier_candidates` {words}" in refusal(table)


def test_other_parameters_are_those_of_another_vocabulary(table):
    table.loc[3, "parameters"] = 250.0
    for how in ("checked", "stated"):
        assert refusal(table, earlier_candidates=how) == (
            "Line 5 of the catalog's `earlier_candidates` has 250 parameters for (2, 2, 16, 32), which has 200 with "
            "the vocabulary and the positions of this search, so it was not trained alike. Name another table there, "
            "or set params:search.earlier_candidates to none."
        )


def test_what_was_trained_otherwise_is_refused_where_it_is_checked(table):
    table.loc[3, "trained_as"] = "f" * 16
    assert refusal(table) == (
        f"Line 5 of the catalog's `earlier_candidates` was trained as `{'f' * 16}`, and this search trains as "
        f"`{MARK}`: corpus, vocabulary, maximum point, settings, sets, seeds, measure or versions differ. Name another "
        "table there, or set params:search.earlier_candidates to none; to stated only where you know that what differs "
        "changes no error."
    )
    assert list(taken(table, earlier_candidates="stated")) == [3, 1]


def test_a_table_of_none_of_the_candidates_is_refused(table):
    assert refusal(table[1:3]) == (
        "None of the 2 rows of the catalog's `earlier_candidates` has the error of one of the 4 candidates. Name "
        "another table there, change params:search.space, or set params:search.earlier_candidates to none."
    )
