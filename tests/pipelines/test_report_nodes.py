"""The report, written again from what is saved."""

import pandas as pd
import plotly.graph_objects as go
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from bort_kedro.datasets.atomic import AtomicCSVDataset
from bort_kedro.datasets.markdown_report import IllustratedReportDataset, TextReportDataset
from bort_kedro.datasets.stage_results import StageResultsDataset
from bort_kedro.pipelines.evaluate import create_pipeline
from bort_kedro.pipelines.namespaces import RESULTS
from bort_kedro.reporting.report import PLOTS
from report_data import report_inputs
from task_records import export_report, task

HISTORY = pd.DataFrame({"device_hours": [0.01], "seconds": [36.0], "num_tokens": [3600]})


@pytest.fixture
def saved():
    """All that the slice `report` reads, of one task."""
    inputs = report_inputs()
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), {"title": {"text": "Four at <b>2</b>"}})
    return {
        "corpus.corpus_manifest": inputs["corpus"],
        "search.search_report": inputs["search"],
        "search.candidate_table": pd.DataFrame(row.to_json() for row in inputs["candidates"]),
        "search.pareto_plot": figure,
        "pretrain_distill.pretraining_metrics": inputs["pretraining"].to_json(),
        "pretrain_distill.pretraining_plot": figure,
        **{f"pretrain_distill.{name}_history": HISTORY for name in ("teacher", "student", "undistilled")},
        "evaluate.task_scores": pd.DataFrame([task("library").to_row()]),
        "evaluate.speed_table": pd.DataFrame(inputs["speed"]).assign(is_reference=True),
        "evaluate.speed_plot": figure,
        "evaluate.leaderboard": {},
        "evaluate.library.export_report": export_report().to_json(),
    }


def written(saved, folder, **changes):
    """What the slice writes, by way of files as in a session."""
    pipeline = create_pipeline(["library"], **changes).only_nodes_with_tags("report")
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in saved.items()})
    for results in pipeline.inputs() & set(RESULTS.values()):
        catalog[results] = StageResultsDataset()
        catalog[results].read_from(catalog)
    catalog["evaluate.stage_costs"] = AtomicCSVDataset(
        filepath=str(folder / "stage_costs.csv"), save_args={"index": False}
    )
    catalog["evaluate.report"] = IllustratedReportDataset(filepath=str(folder / "report.md"))
    catalog["evaluate.report_page"] = TextReportDataset(filepath=str(folder / "report.html"))
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog.load(f"evaluate.{name}") for name in ("stage_costs", "report", "report_page")}


@pytest.mark.slow
def test_the_same_data_gives_the_same_report_and_page(saved, tmp_path):
    first, second = written(saved, tmp_path / "first"), written(saved, tmp_path / "second")
    assert first["report"] == second["report"]
    assert first["report_page"] == second["report_page"]
    assert first["stage_costs"].equals(second["stage_costs"])


@pytest.mark.slow
def test_the_page_has_every_plot_and_the_costs_of_the_report(saved, tmp_path):
    made = written(saved, tmp_path)
    row = "| pretrain_distill | the student | 1 min 0 s | 0.010 | 3.60 k |"
    assert row in made["report"].text
    assert "<td>pretrain_distill</td>" in made["report_page"].replace(' style="text-align:left"', "")
    assert [name for name in PLOTS.values() if f'id="{name}"' not in made["report_page"]] == []


@pytest.mark.slow
def test_the_report_has_every_plot_as_an_image_at_the_end_of_its_section(saved, tmp_path):
    report = written(saved, tmp_path)["report"]
    assert sorted(report.images) == ["pareto_plot.svg", "pretraining_plot.svg", "speed_plot.svg"]
    assert "![Four at 2](pareto_plot.svg)\n\n## What each stage cost\n" in report.text
    assert "![Four at 2](speed_plot.svg)\n\n## Beside the paper\n" in report.text


@pytest.mark.slow
def test_a_teacher_that_was_opened_has_no_history_and_no_cost(saved, tmp_path):
    del saved["pretrain_distill.teacher_history"]
    saved["pretrain_distill.pretraining_metrics"]["teacher"] |= {"seconds": 0.0}
    made = written(saved, tmp_path, trains_teacher=False)
    assert made["stage_costs"]["what"].tolist() == [
        "2 candidates and the maximum point",
        "the student",
        "the same shape trained without a teacher",
        "task `library`: 3 trials",
    ]


@pytest.mark.slow
def test_a_twin_that_was_left_out_has_no_history_no_cost_and_no_row(saved, tmp_path):
    del saved["pretrain_distill.undistilled_history"]
    for name in ("undistilled", "student_minus_undistilled"):
        del saved["pretrain_distill.pretraining_metrics"][name]
    made = written(saved, tmp_path, trains_twin=False)
    assert "the same shape trained without a teacher" not in made["stage_costs"]["what"].tolist()
    assert "steps for the student. Scored on the test split" in made["report"].text
    assert "the same shape" not in made["report"].text
