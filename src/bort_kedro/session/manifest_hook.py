"""Writes down of each run what it read, wrote and was made of."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kedro.framework.hooks import hook_impl

from bort_kedro.configuration import ConfigurationLoader, configuration_hash, session_parameters
from bort_kedro.datasets.stage_results import StageResults
from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.device import describe_device
from bort_kedro.frozen import JsonObject
from bort_kedro.redaction import all_redacted
from bort_kedro.session.asked import parameters_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol

MANIFEST_PACKAGES = ("kedro", "torch", "transformers", "tokenizers", "accelerate", "numpy", "pandas", "mlflow")


class ManifestHook:
    """Writes down what a run was: code, configuration, versions, device, data read and written, its run in MLflow."""

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
                "seeds": parameters_named(values, {"seed", "seeds"}),
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
