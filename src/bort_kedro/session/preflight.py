"""What a run needs, asked for before its first node."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl
from kedro.io.core import generate_timestamp

from bort_kedro.configuration import session_parameters
from bort_kedro.datasets.candidate_csv import RecordedCandidatesDataset
from bort_kedro.datasets.listing import is_versioned
from bort_kedro.errors import ConfigurationError, MissingInputError, StorageError
from bort_kedro.frozen import JsonObject
from bort_kedro.params import Parameters
from bort_kedro.params.finetune import FinetuneParams, task_of
from bort_kedro.session.asked import data_read, parameters_named
from bort_kedro.session.stored_versions import TIMESTAMP
from bort_kedro.tasks.builtin import BUILTIN_TASKS
from bort_kedro.tasks.description import Form
from bort_kedro.tasks.reading.choose import read_task
from bort_kedro.tasks.reading.recorded import read_recorded_labels

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline

# Below this much free space a run of the embedded default cannot end well.
MINIMUM_FREE_BYTES = 500 * 10**6
# The catalog's folder of task files.
TASK_FILES = "task_files"


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
    wanted = parameters_named(
        parameters.model_dump(mode="json", include=set(Parameters.model_fields)), {"mixed_precision"}
    )
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
