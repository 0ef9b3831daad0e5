"""Runs work in the project's folder, wherever they were started: every relative path of a user begins there."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kedro.framework.hooks import hook_impl
from kedro.framework.project import LOGGING
from kedro.utils import find_config_file
from omegaconf import OmegaConf

from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext

# Without its ending.
LOGGING_FILE = "conf/logging"


class WorkingFolderHook:
    """Goes to the project's folder before anything else of a run, and back before anything is said of its end.

    Kedro does so for the key `filepath` of the catalog alone, not for folders, patterns, parameters and logging.
    """

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        file = find_config_file(str(context.project_path / LOGGING_FILE))
        if file is not None and not os.environ.get("KEDRO_LOGGING_CONFIG") and find_config_file(LOGGING_FILE) is None:
            LOGGING.configure(cast("JsonObject", OmegaConf.to_container(OmegaConf.load(file))))

    @hook_impl(wrapper=True)
    def before_pipeline_run(self, run_params: JsonObject) -> Generator[None, object, object]:
        self._started_in = Path.cwd()
        os.chdir(run_params["project_path"])
        try:
            return (yield)
        except BaseException:  # Kedro tells no hook that a run was refused
            os.chdir(self._started_in)
            raise

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        os.chdir(self._started_in)

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        os.chdir(self._started_in)
