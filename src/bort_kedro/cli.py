"""``kedro run`` of this project: as Kedro's own, but a user's mistake prints its text and no traceback."""

import os
import traceback
from collections.abc import Callable, Iterable
from typing import Any, cast

import click
from kedro import runner as runners
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines, settings
from kedro.io import DatasetError
from kedro.pipeline import Pipeline
from kedro.utils import load_obj
from kedro.validation import ParameterValidationError

from bort_kedro.datasets.pending import full_disk_fault
from bort_kedro.errors import BortKedroError, ConfigurationError
from bort_kedro.redaction import redacted
from bort_kedro.session.asked import unknown_names
from bort_kedro.session.option_help import RUN, explained
from bort_kedro.session.runs import compare
from bort_kedro.session.typed import TypedCommand, typed
from bort_kedro.session.unfinished import UnfinishedHook
from bort_kedro.session.versions import versions

TRACEBACK_VARIABLE = "BORT_KEDRO_TRACEBACK"
_KEDRO_RUN = cast("Callable[..., object]", kedro_run.callback)
# Where Kedro raises what it has to say of the pipelines that a command asks for, and of how they fit together.
_OF_PIPELINES = ("kedro.framework.session.session", "kedro.pipeline.pipeline")
# Options of `kedro run` that change nothing in what is trained.
NOT_OF_PLANS = ("runner", "is_async", "runner_params", "only_missing_outputs")
FROM_RUN = click.Option(
    ["--from-run"],
    metavar="RUN",
    help="Read the versions that an earlier run read or wrote; `kedro versions` lists the runs. A run is named by its "
    "id, by that of its MLflow run or by the file of its manifest. What --load-versions states goes before.",
)


@click.group(name="bort_kedro")
def cli() -> None:
    """Commands of this project."""


def user_fault(error: BaseException) -> str | None:
    """The text to show for an error that a user can mend; None for a fault of the program.

    An error of ours counts wherever it stands in the chain of causes, since Kedro wraps those of datasets; so does a
    disk that is full where something else is written, such as temporary files.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BortKedroError):
            return str(cause)
        if (full := full_disk_fault(cause)) is not None:
            return full
        cause = cause.__cause__
    if isinstance(error, DatasetError | ParameterValidationError) or _is_of_pipelines(error):
        return str(error)
    return None


def _is_of_pipelines(error: BaseException) -> bool:
    places = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(places) and places[-1] in _OF_PIPELINES


def mistaken_names(options: dict[str, Any]) -> list[str]:
    """What options of ``kedro run`` name that is not there, each with all that is."""
    asked = [options["pipeline"]] if options["pipeline"] else options["pipelines"]
    lines = unknown_names("--pipelines", asked, pipelines)
    nodes = [node for name in asked or ["__default__"] for node in pipelines.get(name, Pipeline([])).nodes]
    names, datasets = {node.name for node in nodes}, {name for node in nodes for name in (*node.inputs, *node.outputs)}
    namespaces = {prefix for node in nodes for prefix in node.namespace_prefixes}
    there = {
        "--tags": ("tags", {tag for node in nodes for tag in node.tags}),
        "--nodes": ("node_names", names),
        "--from-nodes": ("from_nodes", names),
        "--to-nodes": ("to_nodes", names),
        "--from-inputs": ("from_inputs", datasets),
        "--to-outputs": ("to_outputs", datasets),
        "--namespaces": ("namespaces", namespaces),
    }
    return lines + [
        line for option, (key, known) in there.items() for line in unknown_names(option, options[key], known)
    ]


def _check_runner(name: str | None) -> None:
    """Refuse a runner that is not there, and name those that Kedro has."""
    try:
        load_obj(name or "SequentialRunner", "kedro.runner")
    except (AttributeError, ImportError, ValueError) as fault:
        known = [each for each in vars(runners) if each.endswith("Runner") and not each.startswith("Abstract")]
        text = "\n".join(unknown_names("--runner", [name or ""], known))
        raise ConfigurationError(f"{text} One of yours is named in full, as `package.module.Runner`.") from fault


def run(from_run: str | None, **options: Any) -> object:
    """Run the pipeline."""

    def checked() -> object:
        _check_runner(options["runner"])
        return _KEDRO_RUN(**_with_versions(from_run, options))

    hooks = cast("Iterable[object]", settings.HOOKS)
    return _told(checked, options, next((hook for hook in hooks if isinstance(hook, UnfinishedHook)), None))


def plan(device: str | None, shape: str | None, from_run: str | None, **options: Any) -> None:
    """Say what a run with these options will take, without training: tokens, operations, hours, memory, disk."""
    # Imported with all that the forecast knows, so not for other commands.
    from bort_kedro.session.plan import print_plan

    _told(lambda: print_plan(_with_versions(from_run, options), device=device, shape=shape), options)


def _with_versions(from_run: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a command with the versions that an earlier run had, where one is named."""
    if from_run is None:
        return options
    # It imports all nodes, so not without need.
    from bort_kedro.session.from_run import load_versions_of

    return options | {"load_versions": load_versions_of(from_run, options)}


def _told(act: Callable[[], object], options: dict[str, Any], unfinished: UnfinishedHook | None = None) -> object:
    """Do what a command does; tell what a user can mend without a traceback, and of a run what it leaves."""
    try:
        return act()
    except (KeyboardInterrupt, SystemExit):
        if unfinished is not None and (left := unfinished.said(typed(), is_fault=False)):
            click.echo(f"\n{left}", err=True)
        raise
    except Exception as error:
        left = unfinished.said(typed(), is_fault=True) if unfinished is not None else ""
        message = user_fault(error)
        if message is None or os.environ.get(TRACEBACK_VARIABLE):
            if left:  # which Python shows beneath the traceback
                error.add_note(left)
            raise
        if _is_of_pipelines(error):
            message = "\n".join(mistaken_names(options)) or message
        told = [redacted(message), f"(Set {TRACEBACK_VARIABLE}=1 to see where it was raised.)", left]
        raise click.ClickException("\n".join(filter(None, told))) from None


cli.add_command(compare)
cli.add_command(versions)
cli.add_command(
    TypedCommand(
        "plan",
        params=[
            *(explained(each) for each in kedro_run.params if each.name not in NOT_OF_PLANS),
            FROM_RUN,
            click.Option(["--device"], help="Forecast the hours of a named device, such as V100, not of this machine."),
            click.Option(["--shape"], help="The student's, such as 4,8,1024,768, before the search has chosen it."),
        ],
        callback=plan,
        help=plan.__doc__,
    )
)
cli.add_command(TypedCommand("run", params=[*map(explained, kedro_run.params), FROM_RUN], callback=run, help=RUN))
