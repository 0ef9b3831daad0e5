"""Kedro's settings: hooks and the configuration loader, nothing else."""

import os
import warnings

# Before MLflow is imported, which reads it then.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# Notices between libraries that no user of this project can act on: omegaconf's to kedro, and mlflow's to
# kedro-mlflow, which sets a filter of its own while it warns, so that only recording keeps it off the terminal.
warnings.filterwarnings("ignore", message="(?s)register_new_resolver")
with warnings.catch_warnings(record=True):
    from bort_kedro.session.tracking import TrackingHook

from bort_kedro.configuration import ConfigurationLoader  # noqa: E402
from bort_kedro.launcher import is_first  # noqa: E402
from bort_kedro.session.hooks import ConfigurationHook, LaunchedProcessHook  # noqa: E402
from bort_kedro.session.manifest_hook import ManifestHook  # noqa: E402
from bort_kedro.session.plan import PlanHook  # noqa: E402
from bort_kedro.session.preflight import PreflightHook  # noqa: E402
from bort_kedro.session.runners import RunnerHook  # noqa: E402
from bort_kedro.session.summary import SummaryHook  # noqa: E402
from bort_kedro.session.unfinished import UnfinishedHook  # noqa: E402
from bort_kedro.session.working_folder import WorkingFolderHook  # noqa: E402

_TRACKING = TrackingHook()
HOOKS = (
    RunnerHook(),
    WorkingFolderHook(),
    LaunchedProcessHook(),
    ConfigurationHook(),
    PreflightHook(),
    PlanHook(),
    # One process of a launched run tracks and tells.
    *((_TRACKING, ManifestHook(lambda: _TRACKING.run_id), UnfinishedHook(), SummaryHook()) if is_first() else ()),
)
# TrackingHook extends kedro-mlflow's own hook; two of them would open two runs. And what is not asked is not sent:
# where a wheel runs there is no `.telemetry` that says so.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow", "kedro-telemetry")

CONFIG_LOADER_CLASS = ConfigurationLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A partial parameters file overrides single keys instead of whole blocks.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
