"""What runs left on the disk, found by their versions, and `kedro compare` over it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kedro.utils import find_kedro_project

from bort_kedro.errors import MissingInputError, StorageError
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.comparison import RunRecord, compare_runs
from bort_kedro.reporting.html_page import html_page
from bort_kedro.reporting.stage_costs import StageCost
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.search.report import SearchReport
from bort_kedro.session.manifests import MANIFEST, versions_of

REPORTING = Path("data/08_reporting")
# Files of a run by the field of `RunRecord`: the catalog entry's, and what the report, or each row, is read into.
PARTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "search": ("search_report.json", SearchReport.from_json),
    "pretraining": ("pretraining_metrics.json", PretrainingMetrics.from_json),
    "tasks": ("task_scores.csv", TaskRow.from_row),
    "speed": ("speed_table.csv", dict),
    "costs": ("stage_costs.csv", StageCost.from_row),
}


def versions(folder: Path) -> list[str]:
    """Versions of all runs that ended, the oldest first."""
    return sorted(each.parent.name for each in (folder / f"{MANIFEST}.json").glob(f"*/{MANIFEST}.json"))


def read_run(folder: Path, version: str) -> RunRecord:
    """What one run made, or read from the runs before it, below ``data/08_reporting`` of a project.

    Raises:
        MissingInputError: If there is no such run.
        StorageError: If a file of it cannot be read.
    """
    known = versions(folder)
    if version not in known:
        said = ", ".join(known) if known else "none: `kedro run` makes the first"
        raise MissingInputError(f"{folder} has no run of version `{version}`. There are: {said}.")
    manifest = _read(folder / f"{MANIFEST}.json" / version / f"{MANIFEST}.json", dict)
    told = versions_of(manifest)
    parts = {}
    for part, (name, read) in PARTS.items():
        path = folder / name / told.get(Path(name).stem, version) / name
        if path.is_file():
            parts[part] = _read(path, read)
    return RunRecord(manifest, **parts)


def _read(path: Path, read: Callable[[Any], Any]) -> Any:
    import pandas as pd

    try:
        if path.suffix == ".json":
            return read(json.loads(path.read_text("utf-8")))
        return [read(row) for row in pd.read_csv(path).to_dict("records")]
    except (ValueError, OSError) as fault:
        raise StorageError(
            f"{path} cannot be read: {fault}. Compare other versions, or run that stage again."
        ) from fault


@click.command()
@click.argument("run_versions", metavar="VERSION VERSION...", nargs=-1)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this .md or .html file.")
def compare(run_versions: tuple[str, ...], output: Path | None) -> None:
    """Say what changed between runs; without versions, between the last two.

    A version is the name of a folder under data/08_reporting/run_manifest.json.
    """
    if output is not None and output.suffix not in (".md", ".html"):
        raise click.ClickException(f"--output is {output}, allowed are files that end in .md or .html.")
    folder = (find_kedro_project(Path.cwd()) or Path.cwd()) / REPORTING
    known = versions(folder)
    chosen = run_versions or tuple(known[-2:])
    if len(set(chosen)) < 2:
        raise click.ClickException(
            f"A comparison needs two different runs, given: {', '.join(chosen) or 'none'}. There are: "
            f"{', '.join(known) or 'none; `kedro run` makes the first'}."
        )
    try:
        page = compare_runs({version: read_run(folder, version) for version in chosen})
        if output is None:
            click.echo(page)
        else:
            _write(output, page)
    except (MissingInputError, StorageError) as fault:
        raise click.ClickException(str(fault)) from None


def _write(output: Path, page: str) -> None:
    from bort_kedro.datasets.pending import pending

    text = html_page(page, {}, script="", footer="") if output.suffix == ".html" else page
    try:
        with pending(output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise StorageError(f"{output} cannot be written: {fault.strerror}. Give --output another place.") from fault
    click.echo(f"Written to {output}.")
