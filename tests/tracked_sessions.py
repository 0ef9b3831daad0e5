"""Sessions of no nodes that are tracked, and what their store has then."""

from __future__ import annotations

import mlflow
from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline

from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.session.nested_runs import PARENT_TAG
from bort_kedro.training.observer import Training, TrialEnded
from project_copy import PROJECT

RUN_PARAMS = dict.fromkeys(("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "load_versions"))
FINETUNE = RUN_PARAMS | {"pipeline_names": ["finetune"]}
STATES = TrainingStatesDataset("states")
MANIFEST = {"device": "cpu", "datasets_read": {}, "datasets_written": {"tokens": "2026-01-01"}}
CATALOG = DataCatalog({"run_manifest": MemoryDataset(MANIFEST), "training_states": STATES})
STUDENT = Training("student", "student", {"num_hidden_layers": 2, "hidden_size": 64})


def context_of(project, conf=PROJECT / "conf"):
    loader = OmegaConfigLoader(
        str(conf), base_env="base", default_run_env="smoke", config_patterns={"mlflow": ["mlflow*"]}
    )
    return KedroContext(
        project_path=project, config_loader=loader, env="smoke", package_name="bort_kedro", hook_manager=None
    )


def tell(training, row):
    STATES.load().observer.row_logged(training, row)


def tell_ended(training, results, history=(), failure=None):
    STATES.load().observer.training_ended(training, results, list(history), failure)


def tell_trial(trial):
    STATES.load().observer.trial_ended(trial)


def trial(task="rte", method="agora", number=0, setting=0, **changes):
    row = {
        "learning_rate": 0.001,
        "batch_tokens": 512,
        "num_steps": 40,
        "num_steps_done": 30,
        "dev_score": 0.75,
        "has_diverged": False,
        "seconds": 0.5,
    }
    history = [{"step": 10, "loss": 0.7, "accuracy": 0.5}, {"step": 30, "loss": 0.2, "accuracy": 1.0}]
    looks = [{"step": 10, "score": 0.75}, {"step": 20, "score": 0.5}, {"step": 30, "score": 0.25}]
    return TrialEnded(task, method, number, setting, row | changes, history, looks)


def started(hook):
    """The Kedro run's id, once the pipeline runs."""
    hook.before_pipeline_run(FINETUNE, Pipeline([]), CATALOG)
    return mlflow.active_run().info.run_id


def finished(hook):
    hook.after_pipeline_run(FINETUNE, Pipeline([]), CATALOG)


def children(parent_id):
    """Runs right below a run, by name."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("bort_kedro").experiment_id
    runs = client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{parent_id}'")
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs)
    return named


def points(run, metric):
    """``(step, value)`` of a metric, in the order of steps."""
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in history)
