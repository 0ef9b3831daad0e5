"""The parameters under ``conf``, read as `kedro run` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from bort_kedro.configuration import check_parameters
from bort_kedro.params import Parameters

CONF = Path(__file__).parent.parent / "conf"


def raw_parameters(environment: str = "base", **changes: Any) -> dict[str, Any]:
    """Those of an environment, not yet checked; keywords are laid over them, as ``--params`` are."""
    loader = OmegaConfigLoader(
        str(CONF),
        env=environment,
        base_env="base",
        default_run_env="local",
        merge_strategy={"parameters": "soft"},
        runtime_params=changes,
    )
    return dict(loader["parameters"])


def parameters(environment: str = "base", **changes: Any) -> Parameters:
    """The same, checked."""
    return check_parameters(raw_parameters(environment, **changes))
