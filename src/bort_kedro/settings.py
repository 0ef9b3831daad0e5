"""Kedro's settings: hooks and the configuration loader, nothing else."""

from bort_kedro.hooks import ConfigurationHook, ManifestHook, PreflightHook
from bort_kedro.tracking import TrackingHook

HOOKS = (ConfigurationHook(), PreflightHook(), TrackingHook(), ManifestHook())
# TrackingHook extends kedro-mlflow's own hook; two of them would open two runs.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A partial parameters file overrides single keys instead of whole blocks.
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"]},
}
