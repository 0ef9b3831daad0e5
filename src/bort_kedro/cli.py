"""``kedro run`` of this project: as Kedro's own, but a user's mistake prints its text and no traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import cast

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.io import DatasetError
from kedro.validation import ParameterValidationError

from bort_kedro.errors import BortKedroError
from bort_kedro.session.runs import compare

TRACEBACK_VARIABLE = "BORT_KEDRO_TRACEBACK"
_KEDRO_RUN = cast("Callable[..., object]", kedro_run.callback)


@click.group(name="bort_kedro")
def cli() -> None:
    """Commands of this project."""


def user_fault(error: BaseException) -> str | None:
    """The text to show for an error that a user can mend; None for a fault of the program.

    An error of ours counts wherever it stands in the chain of causes, since Kedro wraps those of datasets.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BortKedroError):
            return str(cause)
        cause = cause.__cause__
    is_unknown_pipeline = isinstance(error, ValueError) and "pipeline named" in str(error)
    if isinstance(error, DatasetError | ParameterValidationError) or is_unknown_pipeline:
        return str(error)
    return None


def run(**options: object) -> object:
    """Run the pipeline."""
    try:
        return _KEDRO_RUN(**options)
    except Exception as error:
        message = user_fault(error)
        if message is None or os.environ.get(TRACEBACK_VARIABLE):
            raise
        raise click.ClickException(f"{message}\n(Set {TRACEBACK_VARIABLE}=1 to see where it was raised.)") from None


cli.add_command(compare)
cli.add_command(click.Command("run", params=kedro_run.params, callback=run, help=kedro_run.help))
