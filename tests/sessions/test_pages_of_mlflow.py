"""What MLflow shows of a finished run, in a browser: charts, candidates side by side, registered models."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.session.candidates_view import LOCAL_PAGES, address_of
from chromium import opened
from servers import serving

pytestmark = [pytest.mark.session, pytest.mark.nightly, pytest.mark.browser, pytest.mark.enable_socket]
# As `make mlflow`.
VARIABLES = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
# Whether anything was drawn on a canvas.
HAS_INK = """selector => {
    const canvas = document.querySelector(selector)
    return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(part => part > 0)
}"""


@pytest.fixture(scope="module")
def address(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    words = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"]
    words += ["--backend-store-uri", smoke.tracking_uri]
    with serving(words, folder, smoke.environment | VARIABLES, folder / "log") as served:
        yield served


@pytest.fixture(scope="module")
def runs(smoke):
    """By name; that of the whole session is the one without a parent."""
    found = smoke.tracked_runs()
    return {run.info.run_name if "mlflow.parentRunId" in run.data.tags else "session": run for run in found}


@pytest.fixture
def page(browser):
    with opened(browser) as (page, elsewhere):
        yield page
    assert elsewhere == set()


def test_a_training_has_a_chart_for_each_of_its_curves(page, address, runs):
    student = runs["student"].info
    page.goto(f"{address}/#/experiments/{student.experiment_id}/runs/{student.run_id}/model-metrics")
    for name in ("training.loss", "training.masked_accuracy", "training.learning_rate"):
        page.get_by_text(name, exact=True).first.wait_for()
    page.locator(".scatterlayer path.js-line").first.wait_for()


def test_candidates_stand_side_by_side_as_parallel_coordinates(page, address, runs, smoke):
    session = runs["session"].info
    view = address_of(smoke.tracking_uri, session.experiment_id, session.run_id)
    page.goto(view.replace(LOCAL_PAGES, address))
    candidates = pd.read_csv(smoke.latest("08_reporting/candidate_table.csv"))
    page.get_by_text(f"{len(candidates)} matching runs").wait_for()
    page.locator("canvas.foreground").wait_for()
    page.wait_for_function(HAS_INK, arg="canvas.foreground")
    shown = page.locator("body").inner_text()
    shapes = map(str, candidates[list(SHAPE_COLUMNS)].itertuples(index=False, name=None))
    assert [shape for shape in shapes if shape not in shown] == []
    assert {"hidden_size", "cost", "error", "w"} <= set(shown.splitlines())
    for plot in ("cost vs. error", "cost vs. w"):
        assert plot in shown


def test_a_registered_model_says_its_task_and_score(page, address, smoke):
    score = smoke.read("08_reporting/metrics/library.json")["test"]["score"]
    page.goto(f"{address}/#/models/bort_kedro-library/versions/1")
    page.get_by_text("Task library (classification)").wait_for()
    row = page.get_by_role("row").filter(has_text="test_score")
    assert row.inner_text().split()[1] == str(score)
