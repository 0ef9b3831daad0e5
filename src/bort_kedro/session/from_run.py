"""`--from-run`: the versions that an earlier run had, as Kedro's own load versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bort_kedro.datasets.listing import is_versioned
from bort_kedro.errors import ConfigurationError, MissingInputError
from bort_kedro.pipelines.namespaces import without_stage
from bort_kedro.session.asked import Asked, data_read, in_project
from bort_kedro.session.manifests import Manifests, versions_of

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol

NAMES_SHOWN = 5
OTHERWISE = "Name a version that there is with `--load-versions`, or run the stage that makes it as well"


def load_versions_of(run: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The version that a run, named as `Manifests.named` takes it, had of all that a command reads and does not make.

    A version that ``--load-versions`` states stays.

    Raises:
        ConfigurationError: If there is no such run, or it knows nothing of a dataset.
        MissingInputError: If a version is not there any more.
    """
    stated: dict[str, str] = options["load_versions"]
    # A file is named as seen from where the command was typed.
    named = str(Path(run).resolve()) if Path(run).is_file() else run
    with in_project() as project:
        asked = Asked(project, options)
        catalog = asked.catalog(stated)
        manifest = Manifests(catalog).named(named)
        read = set(data_read(asked.pipeline)) - asked.pipeline.all_outputs() - set(stated)
        wanted = sorted(name for name in read if is_versioned(catalog.get(name)))
        had = versions_of(manifest)
        if untouched := [name for name in wanted if without_stage(name) not in had]:
            raise ConfigurationError(
                f"The run {manifest['run_id']} neither read nor wrote {_shown(untouched)}, which this run reads. "
                f"{OTHERWISE}."
            )
        found = {name: had[without_stage(name)] for name in wanted}
        _require_there(asked.catalog(stated | found), found, manifest["run_id"])
    return stated | found


def _require_there(catalog: CatalogProtocol, versions: Mapping[str, str], run: str) -> None:
    if gone := [f"{name} (version {versions[name]})" for name in versions if not catalog.exists(name)]:
        raise MissingInputError(
            f"Of what the run {run} had this is not there any more: {_shown(gone)}. {OTHERWISE}; the manifest of that "
            "run has its parameters and seeds."
        )


def _shown(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
