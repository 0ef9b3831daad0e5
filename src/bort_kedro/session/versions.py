"""`kedro versions`: what runs have left on the disk, and the removal of what nothing needs any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bort_kedro.datasets.local_disk import seen
from bort_kedro.errors import BortKedroError, StorageError
from bort_kedro.frozen import JsonObject
from bort_kedro.pipelines.namespaces import stage_of, without_stage
from bort_kedro.session.asked import Asked, in_project
from bort_kedro.session.manifests import MANIFEST, Manifests, versions_of
from bort_kedro.session.pruning import Pruning, StoredTraining, remove, seconds_of, trainings_that_go, versions_that_go
from bort_kedro.session.stored_versions import TIMESTAMP, StoredVersion, size_of, stored_versions

if TYPE_CHECKING:
    from rich.table import Table

# How many runs that ended stay, where nobody says.
KEEP = 5


class LeftOnDisk:
    """What the runs of a project have left where its catalog says; to be used in its folder."""

    def __init__(self, asked: Asked) -> None:
        self._asked, self._catalog, self._data = asked, asked.catalog({}), asked.project / "data"
        self.runs = Manifests(self._catalog)
        self.manifests = {version: self.runs.of(version) for version in self.runs.versions()}
        told = (name for manifest in self.manifests.values() for name in manifest["datasets_written"])
        named = (name for pipeline in asked.pipelines.values() for name in sorted(pipeline.datasets()))
        self.stored = stored_versions(self._catalog, dict.fromkeys([MANIFEST, *named, *told]), self._data)

    @cached_property
    def trainings(self) -> list[StoredTraining]:
        """Whose states are kept in the project's data, links left out."""
        states = self._catalog["training_states"].load()
        if not states.root.resolve().is_relative_to(self._data.resolve()):
            return []
        return [
            StoredTraining(name, states.root / name, used, size_of(states.root / name))
            for name, used in states.used().items()
        ]

    def without_need(self, keep: int) -> Pruning:
        """What goes where so many runs that ended are kept."""
        versions = versions_that_go(self.stored, self.manifests, self._asked.configuration, keep=keep)
        left = [each for each in self.stored.versions if each not in versions]
        makers = {
            name: stage_of(node) or ""
            for pipeline in self._asked.pipelines.values()
            for node in pipeline.nodes
            for name in node.outputs
        }
        return Pruning(versions, trainings_that_go(self.trainings, left, self.manifests, makers, keep=keep))


@click.command()
@click.argument("run", required=False)
@click.option("--prune", is_flag=True, help="Remove versions and training states of old runs that nothing needs.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=KEEP,
    show_default=True,
    help="How many of the last runs that ended stay, with --prune.",
)
@click.option("--yes", is_flag=True, help="Remove without a question, with --prune.")
@click.option("--env", "-e", help="Environment whose catalog says where datasets lie. Defaults to `local`.")
def versions(run: str | None, *, prune: bool, keep: int, yes: bool, env: str | None) -> None:
    """List what runs have left on the disk: a row for each, or the datasets of one RUN.

    A run is named by its id, by that of its MLflow run or by the file of its manifest.
    """
    if run and prune:
        raise click.ClickException("--prune takes no run: it keeps the last ones, as many as --keep says.")
    named = str(Path(run).resolve()) if run and Path(run).is_file() else run
    try:
        with in_project() as project:
            left = LeftOnDisk(Asked(project, {"env": env}))
            if prune:
                _prune(left, keep=keep, is_asked=not yes)
            elif named:
                _show_run(left, named)
            else:
                _show_runs(left)
    except BortKedroError as fault:
        raise click.ClickException(str(fault)) from None


def _show_runs(left: LeftOnDisk) -> None:
    from rich.table import Table

    shown = Table(title="Runs on this disk, the newest first", title_justify="left")
    for name in ("run", "began", "pipelines", "environment", "datasets", "size"):
        shown.add_column(name, justify="right" if name in ("datasets", "size") else "left")
    whole = [each for each in left.stored.versions if each.is_whole]
    for version in sorted({each.version for each in whole}, reverse=True):
        own = [each for each in whole if each.version == version]
        number = sum(each.dataset != MANIFEST for each in own)
        shown.add_row(version, _when(version), *_words_of(left.manifests.get(version)), str(number), _size(own))
    _print(shown)
    versions, trainings = left.stored.versions, left.trainings
    click.echo(f"All versions: {_size(versions)}. States of {len(trainings)} trainings: {_size(trainings)}.")
    for each in left.stored.versions:
        if not each.is_whole:
            click.echo(f"Its saving was interrupted, and no run sees it: {seen(each.folder)} ({_size([each])})")
    if left.stored.remote:
        click.echo(f"On stores, and not counted: {', '.join(left.stored.remote)}.")


def _words_of(manifest: JsonObject | None) -> tuple[str, str]:
    """Pipelines and environment of a run."""
    if manifest is None:
        return "did not end", "–"
    return ", ".join(manifest["pipelines"]), manifest["environment"] or "local"


def _show_run(left: LeftOnDisk, run: str) -> None:
    from rich.table import Table

    is_unended = run in {each.version for each in left.stored.versions} - set(left.manifests)
    manifest = {"run_id": run, "datasets_read": {}} if is_unended else left.runs.named(run)
    places = {without_stage(name): place for name, place in left.stored.places.items()}
    names = {place: name for name, place in places.items()}
    wrote = {names[each.place]: run for each in left.stored.versions if is_unended and each.version == run}
    versions = wrote if is_unended else versions_of(manifest)
    read = {without_stage(name) for name in manifest["datasets_read"]}
    by_place = {(each.place, each.version): each for each in left.stored.versions}
    shown = Table(title=f"Datasets of the run {manifest['run_id']}", title_justify="left")
    for name in ("dataset", "how", "version", "size"):
        shown.add_column(name, justify="right" if name == "size" else "left")
    for name, version in sorted(versions.items()):
        found = by_place.get((places.get(name, Path()), version))
        shown.add_row(name, "read" if name in read else "written", version, _size([found]) if found else "not here")
    _print(shown)


def _prune(left: LeftOnDisk, *, keep: int, is_asked: bool) -> None:
    pruning = left.without_need(keep)
    if not pruning.versions and not pruning.trainings:
        click.echo(f"Nothing goes: all that is there is of the last {keep} runs that ended or since, or is needed.")
        return
    for version in sorted({each.version for each in pruning.versions}):
        own = [each for each in pruning.versions if each.version == version]
        rest = sum(each.version == version for each in left.stored.versions) - len(own)
        stays = f"; {rest} that are needed stay" if rest else ""
        click.echo(f"{version}: {len(own)} datasets, {_size(own)}{stays}")
    for each in pruning.versions:
        if not each.is_whole:
            click.echo(f"Its saving was interrupted: {seen(each.folder)}")
    if pruning.trainings:
        click.echo(f"States of {len(pruning.trainings)} trainings of {len(left.trainings)}: {_size(pruning.trainings)}")
    click.echo(f"{_bytes(pruning.num_bytes)} are freed. Tracked runs in MLflow stay as they are.")
    if is_asked:
        click.confirm("Remove them?", abort=True)
    try:
        remove(pruning)
    except OSError as fault:
        raise StorageError(f"{fault.filename} cannot be removed: {fault.strerror}. Mend that, then go on.") from fault
    click.echo("Removed.")


def _print(table: Table) -> None:
    from rich.console import Console

    Console(width=None if Console().is_terminal else 160, markup=False, highlight=False).print(table)


def _when(version: str) -> str:
    """The time of this place at which a run began; empty of a version that somebody has named."""
    if not TIMESTAMP.fullmatch(version):
        return ""
    return datetime.fromtimestamp(seconds_of(version), UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _size(stored: Iterable[StoredVersion | StoredTraining]) -> str:
    return _bytes(sum(each.num_bytes for each in stored))


def _bytes(number: int) -> str:
    from bort_kedro.forecast.plan import size_words

    return size_words(number)
