"""MLflow's page of a run's candidates, the best first: parallel coordinates, and cost against error and W.

The page is a view as MLflow's own button `Share` keeps it, in a tag of the experiment.
"""

import json

from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.frozen import JsonObject
from bort_kedro.redaction import redacted
from bort_kedro.session.nested_runs import KIND_TAG, PARENT_TAG
from bort_kedro.training.observer import CANDIDATE

VIEW_TAG = "mlflow.sharedViewState."
# Where `make mlflow` shows what is kept in a database.
LOCAL_PAGES = "http://127.0.0.1:5000"
# Sections of the page, with the charts side by side in each.
SECTIONS = {"Shapes": 1, "Costs": 2}


def share_view(experiment_id: str, run_id: str) -> None:
    """Keep the view of the candidates below a run."""
    from mlflow import MlflowClient

    MlflowClient().set_experiment_tag(experiment_id, f"{VIEW_TAG}{run_id}", json.dumps(_view(run_id)))


def address_of(tracking_uri: str, experiment_id: str, run_id: str) -> str:
    """Of the page, once `share_view` has kept the view."""
    pages = redacted(tracking_uri).rstrip("/") if tracking_uri.startswith("http") else LOCAL_PAGES
    view = f"viewStateShareKey={run_id}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"{pages}/#/experiments/{experiment_id}/runs?{view}"


def _view(run_id: str) -> JsonObject:
    return {
        "searchFilter": f"tags.`{PARENT_TAG}` = '{run_id}' AND tags.{KIND_TAG} = '{CANDIDATE}'",
        # In the order of time MLflow would fold the candidates into their parent.
        "orderByKey": "metrics.`w`",
        "orderByAsc": False,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "columns": columns} for name, columns in SECTIONS.items()
        ],
        "compareRunCharts": [
            {
                "uuid": "parallel",
                "metricSectionId": "Shapes",
                "type": "PARALLEL",
                "selectedParams": SHAPE_COLUMNS,
                "selectedMetrics": ["cost", "error", "w"],
                "showAllRuns": True,
            },
            _scatter("cost", "error"),
            _scatter("cost", "w"),
        ],
        # Else charts that MLflow makes by itself would take the place of these.
        "isAccordionReordered": True,
    }


def _scatter(across: str, up: str) -> JsonObject:
    axes = {name: {"key": key, "type": "METRIC"} for name, key in (("xaxis", across), ("yaxis", up))}
    return {"uuid": f"{across}-{up}", "metricSectionId": "Costs", "type": "SCATTER", **axes}
