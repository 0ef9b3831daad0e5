"""Which versions a run read and wrote, on its page in MLflow."""

import json

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag

from bort_kedro.frozen import JsonObject
from bort_kedro.pipelines.namespaces import without_stage

TABLE = "dataset_versions.json"
# MLflow's own key for what a dataset was used for.
CONTEXT = "mlflow.data.context"


def log_versions(run_id: str, manifest: JsonObject) -> None:
    """Add all versions of a manifest to a run in MLflow as a table, and what was read as the datasets that it used."""
    read, written = (_without_stages(manifest[f"datasets_{how}"]) for how in ("read", "written"))
    rows = [(name, "read", version) for name, version in read.items()]
    rows += [(name, "written", version) for name, version in written.items()]
    if not rows:
        return
    names, how, versions = zip(*sorted(rows), strict=True)
    client = mlflow.MlflowClient()
    client.log_table(run_id, {"dataset": list(names), "how": list(how), "version": list(versions)}, TABLE)
    if read:
        client.log_inputs(run_id, [_input(name, version) for name, version in read.items()])


def _without_stages(versions: JsonObject) -> dict[str, str]:
    return {without_stage(name): version for name, version in versions.items()}


def _input(name: str, version: str) -> DatasetInput:
    source = json.dumps({"catalog": name, "version": version})
    return DatasetInput(Dataset(name, digest=version, source_type="kedro", source=source), [InputTag(CONTEXT, "read")])
