"""The manifests of runs that ended, as the catalog has them: which versions each run read and wrote."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DataCatalog, DatasetError

from bort_kedro.configuration import hint_at
from bort_kedro.datasets.listing import is_versioned
from bort_kedro.errors import ConfigurationError, StorageError
from bort_kedro.frozen import JsonObject
from bort_kedro.pipelines.namespaces import without_stage

MANIFEST = "run_manifest"
# Of runs that are named where another was asked for.
LATEST_SHOWN = 5


class Manifests:
    """Those on the disk or store of a catalog, where its entry ``run_manifest`` says."""

    def __init__(self, catalog: DataCatalog) -> None:
        self._catalog = catalog

    def versions(self) -> list[str]:
        """Versions of the runs that ended, the oldest first; each is the id of its session."""
        dataset = self._catalog[MANIFEST]
        if not is_versioned(dataset):
            raise ConfigurationError(
                f"The catalog entry `{MANIFEST}` is not versioned, so runs cannot be told apart. Give it "
                "`versioned: true` in conf/local/catalog.yml."
            )
        return sorted(dataset.list_versions(full_path=False))

    def of(self, version: str) -> JsonObject:
        """The manifest of a run that ended.

        Raises:
            StorageError: If it cannot be read.
        """
        config = self._catalog.config_resolver.resolve_pattern(MANIFEST)
        try:
            return _checked(AbstractDataset.from_config(MANIFEST, config, load_version=version).load())
        except (DatasetError, ValueError) as fault:
            raise StorageError(
                f"The manifest of the run {version} cannot be read: {fault} Remove its folder, or name another run."
            ) from fault

    def named(self, run: str) -> JsonObject:
        """The manifest of a run that is named by the id of its session, which is the version that it wrote, by the id
        of its MLflow run, or by the file of a manifest, wherever it lies.

        Raises:
            ConfigurationError: If there is no such run, with the latest that there are.
            StorageError: If the manifest cannot be read.
        """
        if Path(run).is_file():
            return _of_file(Path(run))
        known = self.versions()
        if run in known:
            return self.of(run)
        for version in reversed(known):
            if (manifest := self.of(version)).get("mlflow_run") == run:
                return manifest
        latest = ", ".join(reversed(known[-LATEST_SHOWN:])) or "none; `kedro run` makes the first"
        raise ConfigurationError(
            f"There is no run `{run}`: it is neither the id of one that ended, nor that of its run in MLflow, nor the "
            f"file of a manifest. {hint_at(run, known)}The latest are: {latest}."
        )


def versions_of(manifest: JsonObject) -> dict[str, str]:
    """The version that a run read or wrote of each dataset, whose names leave out the stage.

    Manifests of any age can be read so: in older ones no stage stands before a name.
    """
    told: Mapping[str, str] = manifest["datasets_read"] | manifest["datasets_written"]
    return {without_stage(name): version for name, version in told.items()}


def _of_file(path: Path) -> JsonObject:
    try:
        return _checked(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as fault:
        raise StorageError(f"{path} cannot be read as the manifest of a run: {fault}. Name another file.") from fault


def _checked(manifest: Any) -> JsonObject:
    needed = ("run_id", "datasets_read", "datasets_written")
    missing = [name for name in needed if not isinstance(manifest, dict) or name not in manifest]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    return manifest  # type: ignore[no-any-return]
