"""The parameters under ``conf``, read as `kedro run` reads them."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from bort_kedro.configuration import check_parameters, load_parameters
from bort_kedro.params import Parameters

CONF = Path(__file__).parent.parent / "conf"


def raw_parameters(environment: str = "base", **changes: Any) -> dict[str, Any]:
    """Those of an environment, not yet checked; keywords are laid over them, as ``--params`` are."""
    return load_parameters(CONF, environment, **changes) if changes else deepcopy(_as_written(environment))


def parameters(environment: str = "base", **changes: Any) -> Parameters:
    """The same, checked."""
    return check_parameters(raw_parameters(environment, **changes))


@cache
def _as_written(environment: str) -> dict[str, Any]:
    return load_parameters(CONF, environment)
