"""Whatever a table of candidates holds, its numbers are those that stand in it, or the table is refused by its name."""

from __future__ import annotations

import csv
import io
import math
from decimal import Decimal, InvalidOperation

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bort_kedro.datasets.atomic import AtomicCSVDataset
from bort_kedro.datasets.candidate_csv import SHAPE_NAMES, RecordedCandidatesDataset, RecordedLatenciesDataset
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.search.earlier import observations
from project_parameters import parameters
from spoiling import NUMBERS, SIGNS, WORDS, read_or_refused, spoiled_bytes

RECORDED = """layers,heads,hidden,intermediate,parameters,error,latency_ms,error_standard_error,note
2,4,96,128,246000,0.517,1.25,0.004,first
4,4,96,256,471000,.48,2.5,,"a, b"
2,2,64,128,1.5e5,0.625,1,0,
"""
SPACE = pd.DataFrame([(1, 2, 16, 32), (2, 2, 16, 32), (3, 2, 16, 32)], columns=list(SHAPE_COLUMNS))
SPACE = SPACE.assign(parameters=[100, 200, 300])
EARLIER = """num_hidden_layers,num_attention_heads,hidden_size,intermediate_size,parameters,error,loss,trained_as
1,2,16,32,100,0.5,2.5,mark
2,2,16,32,200,,,
3,2,16,32,300,0.25,1.5,mark
"""
CELL = st.sampled_from((*NUMBERS, *WORDS, *SIGNS))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "table.csv"


def spoiled(data, text):
    """A table with other cells, more or fewer of them, or other bytes."""
    rows = list(csv.reader(io.StringIO(text)))
    for _ in range(data.draw(st.integers(0, 3))):
        row = rows[data.draw(st.integers(0, len(rows) - 1))]
        place = data.draw(st.integers(0, len(row) - 1)) if row else 0
        stop = place + data.draw(st.sampled_from([0, 1, 1, 1]))
        row[place:stop] = data.draw(st.lists(CELL, min_size=0 if stop > place else 1, max_size=1))
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    return data.draw(spoiled_bytes(written.getvalue().encode()))


def cells_of(content):
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    names, *rows = [row for row in rows if len(row) > 1 or "".join(row).strip()]
    return [dict(zip(map(str.strip, names), row, strict=True)) for row in rows]


def exactly(cell):
    """The number nearest to the one that is written."""
    try:
        return float(Decimal(cell.strip()))
    except InvalidOperation:
        return math.nan


@given(data=st.data(), kind=st.sampled_from([RecordedCandidatesDataset, RecordedLatenciesDataset]))
def test_recorded_numbers_are_those_of_the_file_or_it_is_refused(path, data, kind):
    path.write_bytes(spoiled(data, RECORDED))
    table, refusal = read_or_refused(kind(filepath=str(path)).load, path)
    if refusal:
        return
    rows = cells_of(path.read_bytes())
    assert len(table) == len(rows)
    for name in (*SHAPE_NAMES, "parameters", "error", "latency_ms", "error_standard_error"):
        kept = SHAPE_NAMES.get(name, name)
        if kept in table:
            np.testing.assert_array_equal(table[kept].to_numpy(float), [exactly(row[name]) for row in rows])


@given(data=st.data())
def test_earlier_results_are_those_of_the_file_or_it_is_refused(path, data):
    path.write_bytes(spoiled(data, EARLIER))
    search = parameters().search.changed(earlier_candidates="stated", error_measure="error", hyperparameter_sets=[{}])
    found, refusal = read_or_refused(
        lambda: observations(AtomicCSVDataset(filepath=str(path)).load(), SPACE, search, trained_as="mark")
    )
    if refusal:
        assert str(path) in refusal or "`earlier_candidates`" in refusal
        return
    rows = cells_of(path.read_bytes())
    for place, row in found.items():
        shape = [int(size) for size in SPACE.loc[place, list(SHAPE_COLUMNS)]]
        like = [each for each in rows if [exactly(each[name]) for name in SHAPE_COLUMNS] == shape]
        assert [row[name] for name in SHAPE_COLUMNS] == shape
        assert row["error"] in [exactly(each["error"]) for each in like]
