"""Hooks that check the configuration and quiet the processes of a launcher; they never change results."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, cast

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import MemoryDataset

from bort_kedro.configuration import ConfigurationLoader, added_parameters, check_dataset_names, check_parameters
from bort_kedro.datasets.teacher_cache import TeacherCacheDataset
from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject
from bort_kedro.launcher import is_first, is_launched, meet_on_cpu, num_processes
from bort_kedro.pipelines.added import added_pipelines
from bort_kedro.pipelines.namespaces import RESULTS
from bort_kedro.redaction import redact_logs

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline

LOGGER = logging.getLogger(__name__)
# The stage whose trainings are shared by the processes of a launcher.
SHARED_STAGE = "pretrain_distill"
# Where trainings and teachers leave what later runs take.
KEPT_BETWEEN_RUNS = ("training_states", "pretrain_distill.teacher_cache")
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
