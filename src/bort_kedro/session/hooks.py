"""Hooks that check before a run and record what it did; they never change inputs or results."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import MemoryDataset
from kedro.io.core import generate_timestamp

from bort_kedro.configuration import (
    ConfigurationLoader,
    added_parameters,
    check_dataset_names,
    check_parameters,
    configuration_hash,
    session_parameters,
)
from bort_kedro.datasets.candidate_csv import RecordedCandidatesDataset
from bort_kedro.datasets.listing import is_versioned
from bort_kedro.datasets.stage_results import StageResults
from bort_kedro.datasets.teacher_cache import TeacherCacheDataset
from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.device import describe_device
from bort_kedro.errors import ConfigurationError, MissingInputError, StorageError
from bort_kedro.frozen import JsonObject
from bort_kedro.launcher import is_first, is_launched, meet_on_cpu, num_processes
from bort_kedro.params import Parameters
from bort_kedro.params.finetune import FinetuneParams, task_of
from bort_kedro.pipelines.added import added_pipelines
from bort_kedro.pipelines.namespaces import RESULTS
from bort_kedro.redaction import all_redacted, redact_logs
from bort_kedro.session.asked import data_read
from bort_kedro.session.stored_versions import TIMESTAMP
from bort_kedro.tasks.builtin import BUILTIN_TASKS
from bort_kedro.tasks.description import Form
from bort_kedro.tasks.reading.choose import read_task
from bort_kedro.tasks.reading.recorded import read_recorded_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline

LOGGER = logging.getLogger(__name__)
# Below this much free space a run of the embedded default cannot end well.
MINIMUM_FREE_BYTES = 500 * 10**6
MANIFEST_PACKAGES = (
    "kedro",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "numpy",
    "pandas",
    "mlflow",
)
# The stage whose trainings are shared by the processes of a launcher.
SHARED_STAGE = "pretrain_distill"
# Where trainings and teachers leave what later runs take.
KEPT_BETWEEN_RUNS = ("training_states", "pretrain_distill.teacher_cache")
# The catalog's folder of task files.
TASK_FILES = "task_files"
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
}


class ConfigurationHook:
    """Checks every parameter, known or not, before anything else happens."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        redact_logs()
        # Its import sets its own level, below what conf/logging.yml says.
        logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)
        # Imported with all its nodes, so not for commands without a session.
        from bort_kedro.pipeline_registry import build_pipelines

        # Kedro keeps the pipelines of the process, which may be those of an earlier session.
        self._loader = cast(ConfigurationLoader, context.config_loader)
        raw = self._loader["parameters"]
        self._parameters = check_parameters(raw, added_parameters(raw))
        pipelines.update(build_pipelines(self._parameters))

    @hook_impl(tryfirst=True)
    def after_catalog_created(self, catalog: CatalogProtocol, conf_catalog: JsonObject) -> None:
        used = {name for pipeline in added_pipelines().values() for name in pipeline.datasets()}
        check_dataset_names([entry for entry in conf_catalog if entry not in used])
        for results in RESULTS.values():
            catalog[results].read_from(catalog)
        for entry in map(catalog.get, KEPT_BETWEEN_RUNS):
            if isinstance(entry, TrainingStatesDataset | TeacherCacheDataset):
                entry.accepted = self._parameters.accepted_changes
        if said := self._loader.said():
            LOGGER.info(said)


class LaunchedProcessHook:
    """Under a launcher every process runs the same nodes; the first one alone writes, logs and tracks."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: JsonObject, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        if not is_launched():
            return
        wanted = run_params["pipeline_names"] or ["__default__"]
        if list(wanted) != [SHARED_STAGE]:
            raise ConfigurationError(
                f"A launcher started {num_processes()} processes for the pipeline(s) {', '.join(wanted)}; only "
                f"{SHARED_STAGE} shares its work among them. Start that one with `-m bort_kedro --pipelines "
                f"{SHARED_STAGE}`, and the others with `kedro run`; the search has its own `search.engine`."
            )
        meet_on_cpu()
        if not is_first():
            logging.disable(logging.INFO)
            for name in {*pipeline.all_outputs(), "run_manifest"}:
                # Models are passed on as they are, since a copy of a large one is dear.
                catalog[name] = MemoryDataset(copy_mode="assign")

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        if is_launched():
            from accelerate import PartialState

            PartialState().destroy_process_group()


class PreflightHook:
    """Checks, before the first node, that inputs are there and outputs can be written."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: JsonObject, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        parameters = session_parameters(catalog)
        _require_readable_examples(pipeline, catalog, parameters.finetune)
        _require_inputs(pipeline, catalog, parameters)
        _require_no_version_of_the_future(pipeline, catalog)
        _require_precision(parameters)
        _require_room(Path(run_params["project_path"]) / "data")


def _require_inputs(pipeline: Pipeline, catalog: CatalogProtocol, parameters: Parameters) -> None:
    missing = [name for name in data_read(pipeline) if not catalog.exists(name)]
    if not missing:
        return
    makers: dict[str, list[str]] = {}
    for name in missing:
        makers.setdefault(_stage_that_makes(name, parameters), []).append(name)
    lines = []
    for stage, names in makers.items():
        if stage:
            lines.append(f"  - {', '.join(names)}: made by `kedro run --pipelines {stage}`")
        else:
            lines += [f"  - {_say_who_gives(name, catalog, parameters)}" for name in names]
    raise MissingInputError(
        "This run needs data that is not there yet:\n"
        + "\n".join(lines)
        + "\nRun the earliest of these stages first, or `kedro run` for all stages in order."
    )


def _require_no_version_of_the_future(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Versions are times: what a clock that went back has left behind would be the newest of all for later runs."""
    now = generate_timestamp()
    entries = [catalog.get(name) for name in sorted(pipeline.datasets() | {*data_read(pipeline)})]
    later = [
        path
        for entry in entries
        if is_versioned(entry)
        for path in entry.list_versions()
        if TIMESTAMP.fullmatch(version := Path(path).parent.name) and version > now
    ]
    if later:
        raise StorageError(
            f"It is {now} by the clock of this machine, and {len(later)} version(s) are of later, which every run "
            f"would take for the newest: {', '.join(later)}. Set the clock right; if it was wrong when they were made, "
            "remove their folders, or name these after the time at which they were made."
        )


def _require_readable_examples(pipeline: Pipeline, catalog: CatalogProtocol, finetune: FinetuneParams) -> None:
    """Read the files of tasks and teachers now: a broken row should not wait for the search to end."""
    made = _made_by(pipeline)
    labels = {name: task_of(name, finetune).labels for name in finetune.tasks}
    if TASK_FILES in pipeline.inputs():
        task_files = catalog.load(TASK_FILES)
        for name in finetune.tasks:
            if name not in BUILTIN_TASKS and f"{name}.examples" in made:
                reading = read_task(task_of(name, finetune), task_files, finetune)
                labels[name] = labels[name] or reading.labels
    for name, settings in finetune.teacher.recorded.items():
        task = task_of(name, finetune)
        # Labels of a built-in task may have to be found in the corpus first.
        is_known = bool(labels[name]) or task.form != Form.CLASSIFICATION
        if is_known and f"finetune.{name}.recorded_labels" in made:
            read_recorded_labels(task, labels[name], settings, skip_bad_rows=finetune.skip_bad_rows)


def _require_precision(parameters: Parameters) -> None:
    """fp16 needs a CUDA device, and the first training that wants it may be an hour away."""
    wanted = _find(parameters.model_dump(mode="json", include=set(Parameters.model_fields)), {"mixed_precision"})
    half = [path for path, value in wanted.items() if value == "fp16"]
    if half:
        import torch

        if not torch.cuda.is_available():
            raise ConfigurationError(
                f"mixed_precision is fp16 for {', '.join(half)}, which needs a CUDA device, and this machine has none. "
                "Allowed here: `no` and `bf16`."
            )


def _say_who_gives(dataset: str, catalog: CatalogProtocol, parameters: Parameters) -> str:
    """Advice for data that no stage makes."""
    entry = catalog.get(dataset)
    if isinstance(entry, RecordedCandidatesDataset):
        return (
            f"{dataset}: no file at {entry._describe()['filepath']}. Put a CSV with the columns "
            f"{', '.join(entry.required)} there, or change `filepath` of `{dataset}` in conf/local/catalog.yml"
        )
    if parameters.search.error_source == "table":
        return (
            f"{dataset}: a search over a recorded table trains nothing. Run the search alone, with `--pipelines "
            "search`, or set params:search.error_source to `training`"
        )
    return f"{dataset}: no stage makes it; give it an entry in conf/local/catalog.yml"


def _stage_that_makes(dataset: str, parameters: Parameters) -> str:
    from bort_kedro.pipeline_registry import build_pipelines

    makers = (name for name, pipeline in build_pipelines(parameters).items() if dataset in _made_by(pipeline))
    return next((name for name in makers if name != "__default__"), "")


def _made_by(pipeline: Pipeline) -> set[str]:
    """Datasets that a pipeline makes, those it uses itself included."""
    return {output for node in pipeline.nodes for output in node.outputs}


def _require_room(data: Path) -> None:
    probe = data / f".writable.{os.getpid()}"
    try:
        data.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as fault:
        raise StorageError(
            f"The data folder {data} cannot be written: {fault.strerror}. Every stage saves there; change its "
            "permissions, remount its file system, or move the project."
        ) from fault
    free = shutil.disk_usage(data).free
    if free < MINIMUM_FREE_BYTES:
        raise StorageError(
            f"The disk of {data} has {free / 10**6:.0f} MB free, a run needs at least "
            f"{MINIMUM_FREE_BYTES / 10**6:.0f} MB. Free some space; `kedro versions --prune` removes old versions."
        )


class ManifestHook:
    """Writes down what a run was: code, configuration, versions, device, and the data it read and wrote.

    Args:
        mlflow_run: Gives the id of the run in MLflow, or None where it is not tracked.
    """

    def __init__(self, mlflow_run: Callable[[], str | None] = lambda: None) -> None:
        self._mlflow_run = mlflow_run
        self._read: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._results: list[StageResults] = []

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._loader = cast(ConfigurationLoader, context.config_loader)

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        self._catalog = catalog
        self._read, self._written, self._results = {}, {}, []
        self._began = time.time()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: object) -> None:
        if isinstance(data, StageResults):
            self._results.append(data)
        self._note_read(dataset_name)

    def _note_read(self, dataset_name: str) -> None:
        # A dataset the run made itself is no input of the run.
        if dataset_name not in self._written:
            self._note(self._read, dataset_name, "resolve_load_version")

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        self._note(self._written, dataset_name, "resolve_save_version")

    def _note(self, versions: dict[str, str], name: str, resolve: str) -> None:
        dataset = self._catalog.get(name)
        version = getattr(dataset, resolve, lambda: None)()
        if version:
            versions[name] = version

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, run_params: JsonObject, catalog: CatalogProtocol) -> None:
        for results in self._results:
            for name in results.loaded:
                self._note_read(name)
        parameters = session_parameters(catalog)
        values = all_redacted(parameters.model_dump(mode="json", fallback=repr))
        catalog.save(
            "run_manifest",
            {
                "run_id": run_params["run_id"],
                "mlflow_run": self._mlflow_run(),
                "pipelines": run_params["pipeline_names"] or ["__default__"],
                "environment": run_params["env"],
                "local_files": sorted(self._loader.local_files),
                "git": _git(Path(run_params["project_path"])),
                "configuration_hash": configuration_hash(parameters),
                "parameters": values,
                "seeds": _find(values, {"seed", "seeds"}),
                "python": sys.version.split()[0],
                "packages": {name: importlib.metadata.version(name) for name in MANIFEST_PACKAGES},
                "device": describe_device(),
                "datasets_read": dict(sorted(self._read.items())),
                "datasets_written": dict(sorted(self._written.items())),
                "trainings": self._trainings(catalog),
            },
        )

    def _trainings(self, catalog: CatalogProtocol) -> list[str]:
        """Folders of those that the run has asked for, found finished or not."""
        dataset = catalog.get("training_states")
        used = dataset.load().used() if isinstance(dataset, TrainingStatesDataset) else {}
        return [name for name, when in used.items() if when >= self._began]


def _git(project: Path) -> JsonObject:
    """Commit of the project and whether files differ from it; empty outside a repository."""

    def ask(*words: str) -> str:
        try:
            done = subprocess.run(["git", "-C", str(project), *words], capture_output=True, text=True, check=False)
        except OSError:  # git is not installed
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = ask("rev-parse", "HEAD")
    return {"commit": commit, "has_changes": bool(ask("status", "--porcelain"))} if commit else {}


def _find(values: JsonObject, names: set[str], path: str = "") -> JsonObject:
    """Every parameter of one of these names, by its path."""
    found: JsonObject = {}
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict):
            found |= _find(value, names, here)
        elif key in names:
            found[here] = value
    return found
