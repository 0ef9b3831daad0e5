"""MLflow: kedro-mlflow's hook with flat parameters, metric histories, artifacts and the right final status."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mlflow
from kedro.framework.hooks import hook_impl
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH
from pydantic import BaseModel

from bort_kedro.configuration import session_parameters
from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.environment import environment_variables
from bort_kedro.errors import ConfigurationError
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.frozen import FrozenModel, JsonObject
from bort_kedro.params.finetune import task_of
from bort_kedro.pipelines.namespaces import stage_of, without_stage
from bort_kedro.redaction import all_redacted, redacted
from bort_kedro.reporting.markdown import IllustratedText
from bort_kedro.search.candidates import candidate_training, results_of
from bort_kedro.session.candidates_view import address_of, share_view
from bort_kedro.session.model_logging import ModelLogging, ServedTask
from bort_kedro.session.nested_runs import NestedRuns, log_metrics
from bort_kedro.session.run_names import NAMING, name_of_results, name_of_stages
from bort_kedro.session.signals import on_signals, restore, signals_wait, stop_for_sure
from bort_kedro.session.tracked_versions import log_versions
from bort_kedro.session.tracking_store import (
    FAULTS,
    LEAVING,
    VARIABLE,
    database_uri,
    is_served,
    opening,
    reason_of,
    seen_from,
    without_credentials,
)
from bort_kedro.training.observer import SilentObserver

if TYPE_CHECKING:
    from types import FrameType

    import pandas as pd
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.training.observer import Row, Training, TrainingObserver, TrialEnded

LOGGER = logging.getLogger(__name__)
# The key under a catalog entry's `metadata` that says how MLflow shows it.
METADATA_KEY = "mlflow"
# The catalog's handle of the states of all trainings, which carries who listens to them.
TRAINING_STATES = "training_states"
# How the name of a task's examples ends in the catalog.
EXAMPLES = ".examples"
# How that of its scores ends.
SCORES = ".metrics"


class TrackingHook(MlflowHook):
    """One MLflow run per Kedro run, with runs of pretrainings, candidates, tasks and trials below it.

    A catalog entry with ``metadata: {mlflow: KIND}`` is logged when it is saved; KIND is ``metrics`` (a nested
    dictionary of numbers), ``artifact``, ``candidates`` (their table, each of whose tried rows is a run), or ``model``
    (a task's fine-tuned one, registered in MLflow; without this key it is not). Names in MLflow leave out the stage.
    """

    # The parent says of it that it is None.
    run_id: Any

    def __init__(self) -> None:
        super().__init__()
        # Whether the store went away in the middle, and why it could not be opened.
        self._is_lost = False
        self._fault: ConfigurationError | None = None
        # What a signal's handler has raised.
        self._stopped_by: BaseException | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        from omegaconf import OmegaConf

        root, loader = context.project_path.resolve(), context.config_loader
        given = os.environ.get(VARIABLE) or database_uri(root / "mlruns.db")
        OmegaConf.register_new_resolver("tracking_uri", lambda: given, replace=True)
        # Where artifacts go hangs on where runs go, which the configuration may say.
        OmegaConf.register_new_resolver("artifact_location", lambda: None, replace=True)
        server = {"mlflow_tracking_uri": given, **loader["mlflow"].get("server", {})}
        uri = without_credentials(seen_from(root, server["mlflow_tracking_uri"]))
        location = None if is_served(uri) else (root / "mlartifacts").as_uri()
        OmegaConf.register_new_resolver("artifact_location", lambda: location, replace=True)
        loader["mlflow"] = loader["mlflow"] | {"server": server | {"mlflow_tracking_uri": uri}}
        self._is_lost, self._fault, self._stopped_by, self.run_id = False, None, None, None
        try:
            with opening(uri):
                self._open(context)
        except ConfigurationError as fault:
            # Of no matter to what runs nothing, such as Kedro-Viz.
            self._fault = fault

    def _open(self, context: KedroContext) -> None:
        try:
            super().after_context_created(context)
        except MlflowException as fault:
            if fault.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # Another run has made the experiment just now.
            super().after_context_created(context)

    @hook_impl
    def after_catalog_created(
        self,
        catalog: CatalogProtocol,
        conf_catalog: JsonObject,
        conf_creds: JsonObject,
        parameters: JsonObject,
        save_version: str,
        load_versions: dict[str, str],
    ) -> None:
        # Instead of the parent's renaming of MLflow datasets, which builds every entry of the catalog.
        self._catalog = catalog

    @hook_impl
    def before_pipeline_run(self, run_params: JsonObject, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        if self._fault is not None:
            raise self._fault
        self._handlers = on_signals(self._stop)
        self._states = catalog.get(TRAINING_STATES)
        self._listen(self)
        self._runs: NestedRuns | None = None
        # Names of the parameters that the run has, and those that the next transaction brings.
        self._told: set[str] = set()
        self._waiting: dict[str, Any] = {}
        self._models = ModelLogging(str(run_params.get("run_id", "")))
        # Whether the examples of a task are pairs, by its name.
        self._pairs: dict[str, bool] = {}
        self._stages = name_of_stages(pipeline, run_params["pipeline_names"] or ["__default__"])
        # What the run's name is made of.
        self._made: JsonObject = {}
        with self._going_on_without():
            # The parent makes tags of them, what `--params` says among them.
            super().before_pipeline_run(all_redacted(run_params), pipeline, catalog)
            if self._is_mlflow_enabled:
                self._runs = NestedRuns(mlflow.get_run(self.run_id).info)
                self._name_run(self._stages)

    def _name_run(self, name: str) -> None:
        """Unless the user has named it, or had a run open before."""
        if self.mlflow_config.tracking.run.name is None and not self._already_active_mlflow:
            mlflow.MlflowClient().update_run(self.run_id, name=name)

    @contextmanager
    def _going_on_without(self) -> Iterator[None]:
        """From the first fault of the store on nothing is tracked: what the run makes is worth more.

        A signal waits for the block, which may hold the store locked.
        """
        try:
            with signals_wait():
                yield
        except FAULTS as fault:
            LOGGER.warning(
                "MLflow's store at %s failed: %s. The run goes on and keeps its results, but is not tracked further.",
                redacted(mlflow.get_tracking_uri()),
                reason_of(fault),
            )
            self._is_lost, self._is_mlflow_enabled, self._runs = True, False, None
            self._listen(SilentObserver())
            with environment_variables(LEAVING):
                while mlflow.active_run() and not self._already_active_mlflow:
                    with suppress(*FAULTS):
                        mlflow.end_run("FAILED")

    def _listen(self, observer: TrainingObserver) -> None:
        """Let all trainings of this session's catalog be told to an observer."""
        if isinstance(self._states, TrainingStatesDataset):
            self._states.observer = observer

    def row_logged(self, training: Training, row: Row) -> None:
        """Show a row of a training that still runs."""
        self._tell(lambda runs: runs.row_logged(training, row))

    def training_ended(self, training: Training, results: Row, history: list[Row], failure: str | None) -> None:
        """Track a pretraining that has ended."""
        self._tell(lambda runs: runs.training_ended(training, results, history, failure))

    def trial_ended(self, trial: TrialEnded) -> None:
        """Track a fine-tuning that has ended."""
        self._tell(lambda runs: runs.trial_ended(trial))

    def _tell(self, tell: Callable[[NestedRuns], None]) -> None:
        if self._runs is not None:
            with self._going_on_without():
                tell(self._runs)

    def _log_metrics(self, rows: list[tuple[str, float, int]]) -> None:
        with self._going_on_without():
            log_metrics(self.run_id, rows)

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol, inputs: JsonObject, is_async: bool) -> None:
        self._stop_again()
        flat = {
            name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
            for name, value in inputs.items()
        }
        if not self._is_lost:
            with self._going_on_without():
                super().before_node_run(node, catalog, flat, is_async)
                if self._waiting:
                    mlflow.log_params(self._waiting)
                self._waiting = {}
        self._made |= {name: value for name, value in inputs.items() if name in NAMING}
        for name, value in inputs.items():
            # A pipeline that a user has added may call something else so.
            if name.endswith(EXAMPLES) and stage_of(node) is not None:
                self._pairs[name.removesuffix(EXAMPLES)] = bool(value["text_pair"].notna().any())

    def _log_param(self, name: str, value: Any) -> None:
        """Keep a parameter for one transaction with the node's others: each of its own takes a fifth of a short run."""
        if name in self._told:
            return
        self._told.add(name)
        value = all_redacted(value)
        if len(str(value)) > MAX_PARAM_VAL_LENGTH:
            super()._log_param(name, value)
        else:
            self._waiting[name] = value

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        self._stop_again()
        if dataset_name in NAMING:
            self._made[dataset_name] = data
        kind = (getattr(self._catalog.get(dataset_name), "metadata", None) or {}).get(METADATA_KEY)
        if not self._is_mlflow_enabled or kind is None:
            return
        with self._going_on_without():
            self._log_dataset(kind, dataset_name, data)

    def _log_dataset(self, kind: str, dataset_name: str, data: Any) -> None:
        name = without_stage(dataset_name)
        data = data.to_json() if isinstance(data, FrozenModel) else data
        if kind == "metrics":
            self._log_metrics([(f"{name}.{key}", value, 0) for key, value in _numbers(data)])
            if name.endswith(SCORES) and name != dataset_name:
                self._models.tell_score(name.removesuffix(SCORES), TaskMetrics.from_json(data))
        elif kind == "model":
            self._log_model(name.removesuffix(".finetuned_model"), data)
        else:
            _log_artifact(name, data)
            if kind == "candidates":
                self._log_candidates(data)

    def _log_candidates(self, table: pd.DataFrame) -> None:
        """Complete the runs of those that were trained, and make those of rows that were looked up."""
        tried = table[table["is_trained"] | table["has_failed"]]
        # A recorded table may have several rows of a shape.
        number = tried.groupby(list(SHAPE_COLUMNS)).cumcount()
        for row in tried.assign(number=number).to_dict("records"):
            training, failure = candidate_training(row), str(row["failure"]) if row["has_failed"] else None
            if row["number"]:
                training = replace(training, name=f"{training.name}, row {row['number'] + 1}")
            self.training_ended(training, results_of(row), [], failure)

    def _log_model(self, task: str, model: Pretrained) -> None:
        finetune = session_parameters(self._catalog).finetune
        served = ServedTask(task_of(task, finetune), self._pairs[task], finetune.training.max_tokens)
        self._models.log(model, served)

    @hook_impl
    def after_pipeline_run(self, run_params: JsonObject, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._stop_again()
        # Written when the run is over, so no node's saving announces it.
        if self._is_mlflow_enabled:
            with self._going_on_without():
                manifest = catalog.load("run_manifest")
                _log_artifact("run_manifest", manifest)
                log_versions(self.run_id, manifest)
        self._tell(self._show_candidates)
        if not self._is_lost:
            with self._going_on_without():
                super().after_pipeline_run(run_params, pipeline, catalog)
                # It began the run anew for each node; what stays active would be the run of the next session, too.
                while mlflow.active_run() and not self._already_active_mlflow:
                    mlflow.end_run()
        self._end("FINISHED")

    def _show_candidates(self, runs: NestedRuns) -> None:
        if runs.have_candidates:
            place = runs.experiment_id, str(self.run_id)
            share_view(*place)
            page = address_of(mlflow.get_tracking_uri(), *place)
            LOGGER.info("The candidates side by side in MLflow (`make mlflow`): %s", page)

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: JsonObject, pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        self._stop_again()
        if not self._is_lost:
            with self._going_on_without():
                super().on_pipeline_error(error, run_params, pipeline, catalog)
        self._end("FAILED")

    def _end(self, status: str) -> None:
        self._listen(SilentObserver())
        self._tell(lambda runs: runs.end(status))
        self._tell(lambda runs: self._name_run(name_of_results(self._stages, self._made)))
        restore(self._handlers)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Mark the runs as killed on a signal, then end as usual."""
        with self._going_on_without():
            while mlflow.active_run():
                mlflow.end_run("KILLED")
        self._end("KILLED")
        self._stopped_by = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        stop_for_sure(self._stopped_by)

    def _stop_again(self) -> None:
        """Where something has caught what the signal's handler raised, such as fsspec, which catches everything."""
        if self._stopped_by is not None:
            raise self._stopped_by


def _numbers(values: JsonObject, path: str = "") -> list[tuple[str, float]]:
    """Numbers of a nested dictionary by dotted path; booleans count as 0 and 1."""
    found: list[tuple[str, float]] = []
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict):
            found += _numbers(value, here)
        elif isinstance(value, bool | int | float):
            found.append((here, float(value)))
    return found


def _log_artifact(name: str, data: Any) -> None:
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        mlflow.log_table(data, f"{name}.json")
    elif isinstance(data, IllustratedText):
        mlflow.log_text(data.text, f"{name}.md")
        for image, svg in data.images.items():
            mlflow.log_text(svg, image)
    elif isinstance(data, str):
        suffix = "html" if data.startswith("<!DOCTYPE html>") else "md"
        mlflow.log_text(data, f"{name}.{suffix}")
    elif isinstance(data, dict):
        mlflow.log_dict(data, f"{name}.json")
    else:
        # A plotly figure; the library travels inside, so that it opens without a network.
        mlflow.log_text(data.to_html(include_plotlyjs=True), f"{name}.html")
