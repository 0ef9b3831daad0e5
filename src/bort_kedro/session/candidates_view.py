"""MLflow's page of a run's candidates, the best first: parallel coordinates, and cost against error and W.

The page is a view as MLflow's own button `Share` keeps it, in a tag of the experiment.
"""

from __future__ import annotations

import json

from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.frozen import JsonObject
from bort_kedro.session.nested_runs import KIND_TAG, PARENT_TAG
from bort_kedro.training.observer import CANDIDATE

VIEW_TAG = "mlflow.sharedViewState."
# Where `make mlflow` shows what is kept in a database.
LOCAL_PAGES = "http://127.0.0.1:5000"
SECTION, MEASURES = "candidates", ("cost", "error", "w")


def share_view(experiment_id: str, run_id: str) -> None:
    """Keep the view of the candidates below a run."""
    from mlflow import MlflowClient

    MlflowClient().set_experiment_tag(experiment_id, f"{VIEW_TAG}{run_id}", json.dumps(_view(run_id)))


def address_of(tracking_uri: str, experiment_id: str, run_id: str) -> str:
    """Of the page, once `share_view` has kept the view."""
    pages = tracking_uri.rstrip("/") if tracking_uri.startswith("http") else LOCAL_PAGES
    view = f"viewStateShareKey={run_id}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"{pages}/#/experiments/{experiment_id}/runs?{view}"


def _view(run_id: str) -> JsonObject:
    scatters = [
        {"type": "SCATTER", "xaxis": {"key": "cost", "type": "METRIC"}, "yaxis": {"key": name, "type": "METRIC"}}
        for name in ("error", "w")
    ]
    parallel: JsonObject = {
        "type": "PARALLEL",
        "selectedParams": SHAPE_COLUMNS,
        "selectedMetrics": MEASURES,
        "showAllRuns": True,
    }
    return {
        "searchFilter": f"tags.`{PARENT_TAG}` = '{run_id}' AND tags.{KIND_TAG} = '{CANDIDATE}'",
        # In the order of time MLflow would fold the candidates into their parent.
        "orderByKey": "metrics.`w`",
        "orderByAsc": False,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [{"uuid": SECTION, "name": "Candidates", "display": True}],
        "compareRunCharts": [
            {"uuid": f"{SECTION}-{number}", "metricSectionId": SECTION, **chart}
            for number, chart in enumerate([parallel, *scatters])
        ],
        # Else charts that MLflow makes by itself would take the place of these.
        "isAccordionReordered": True,
    }
