"""Notebooks as they are kept, and that of the search, run whole on what a search of a small table left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bort_kedro.datasets.candidate_csv import RecordedCandidatesDataset
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, shape_text
from bort_kedro.pipelines.search.recorded_nodes import order_recorded, replay_errors, select_recorded
from bort_kedro.search.settings import SearchSettings
from executed_notebooks import executed
from project_copy import PROJECT, ProjectCopy
from project_parameters import raw_parameters

pytestmark = pytest.mark.slow

TABLE = Path(__file__).parent / "datasets" / "recorded_candidates.csv"
VERSION = "2026-01-01T00.00.00.000Z"
ASKED = """{
    "caps": moved_caps.to_dict("records"),
    "maximum": moved_maximum.to_dict("records"),
    "noise": moved_noise.to_dict(),
    "ranked": list(map(shape_text, ranked.to_dict("records"))),
}"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory, empty_store):
    """A project with the results of a search, the candidates' table and its report."""
    project = ProjectCopy.new(tmp_path_factory.mktemp("notebooks"), empty_store)
    recorded = RecordedCandidatesDataset(filepath=str(TABLE)).load().assign(error_standard_error=0.01)
    asked = {"error_source": "table", "strategy": "exhaustive"}
    search = SearchSettings(**raw_parameters("smoke", search=asked)["search"])
    space, maximum_point, counts = order_recorded(recorded, search)
    errors = replay_errors(space, maximum_point, search)
    table, _, report = select_recorded(space, errors, maximum_point, counts, search)
    saved = {
        "04_feature/search_space.csv": space.to_csv(index=False),
        "04_feature/candidate_errors.csv": errors.to_csv(index=False),
        "04_feature/maximum_point.json": json.dumps(maximum_point),
        "08_reporting/search_report.json": json.dumps(report.to_json()),
    }
    for path, text in saved.items():
        file = project.root / "data" / path / VERSION / Path(path).name
        file.parent.mkdir(parents=True)
        file.write_text(text, "utf-8")
    return project, table, report


@pytest.fixture(scope="module")
def explored(searched):
    """What the cells of the notebook have found."""
    project, _, _ = searched
    return executed(project, "explore_search", ASKED)


@pytest.mark.parametrize("path", sorted((PROJECT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_without_places_of_a_machine(path):
    notebook = json.loads(path.read_text("utf-8"))
    cells = notebook["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert not re.search(r"/(home|root|tmp|work|Users)/|[A-Z]:\\\\", path.read_text("utf-8"))
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}


def test_each_cap_is_met_by_the_candidate_of_the_largest_w_under_it(searched, explored):
    _, table, report = searched
    assert explored["caps"][0]["selected"] == str(report.selected)
    assert len(explored["caps"]) == 5
    for row in explored["caps"]:
        allowed = table[table["parameters"] <= row["max_parameters"]]
        best = allowed.loc[allowed["w"].idxmax()]
        assert row["selected"] == shape_text(best)
        assert (row["w"], row["error"]) == (pytest.approx(best["w"]), pytest.approx(best["error"]))


def test_candidates_are_shown_by_w(searched, explored):
    _, table, _ = searched
    by_w = table.sort_values("w", ascending=False)
    # The front, and W over the space.
    assert explored["shown"]["candidates"].count("application/vnd.plotly.v1+json") == 2
    assert explored["ranked"] == [shape_text(row) for row in by_w.to_dict("records")]


def test_a_larger_maximum_point_chooses_as_the_report_says(searched, explored):
    _, _, report = searched
    expected = [{"times T": row.multiple, "error": str(row.by_measure["error"])} for row in report.sensitivity]
    assert explored["maximum"] == expected


def test_with_other_luck_the_first_are_chosen_most_often(searched, explored):
    _, table, report = searched
    shares = explored["noise"]
    assert sum(shares.values()) == pytest.approx(1.0)
    assert 1 < len(shares) < len(table)
    # Nobody is chosen whose W is beyond reach of four standard errors.
    within = table[
        table["w"] + 4 * table["w_standard_error"] >= report.selected.w - 4 * report.selected.w_standard_error
    ]
    assert set(shares) <= {shape_text(row) for row in within[list(SHAPE_COLUMNS)].to_dict("records")}
    assert max(shares, key=shares.get) == str(report.selected)
