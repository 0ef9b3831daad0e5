"""The project's parameters, read as `kedro run` reads them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from bort_kedro.encoders.shapes import BertShape

PROJECT = Path(__file__).parent.parent
# That `make run` chooses.
DEFAULT_CHOICE = BertShape(2, 4, 96, 128)


def raw_parameters(environment: str = "base", **changes: Any) -> dict[str, Any]:
    """The parameters of an environment under ``conf``, not yet checked.

    Args:
        environment: Its folder, laid over ``base``.
        changes: By stage, values in the place of those of the files.
    """
    from bort_kedro.configuration import load_parameters

    with warnings.catch_warnings():
        # A notice of omegaconf to kedro.
        warnings.filterwarnings("ignore", message="(?s)register_new_resolver")
        return load_parameters(PROJECT / "conf", environment, **changes)
