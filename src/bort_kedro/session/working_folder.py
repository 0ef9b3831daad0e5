"""Runs work in the project's folder, wherever they were started: every relative path of a user begins there."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from kedro.framework.hooks import hook_impl

from bort_kedro.frozen import JsonObject


class WorkingFolderHook:
    """Goes to the project's folder before anything else of a run, and back before anything is said of its end.

    Kedro does so for the key `filepath` of the catalog alone, not for folders, patterns and parameters.
    """

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
