"""What a stage made, handed on as one dataset."""

from __future__ import annotations

from typing import Any

from kedro.io import AbstractDataset, CatalogProtocol, DatasetError

from bort_kedro.frozen import JsonObject


class StageResultsDataset(AbstractDataset[list[str], "StageResults"]):
    """Loads a handle that loads what the stage saved under names of their own; nothing is stored twice."""

    def __init__(self, metadata: JsonObject | None = None) -> None:
        self.metadata = metadata
        self._catalog: CatalogProtocol | None = None

    def read_from(self, catalog: CatalogProtocol) -> None:
        """Take the results from this catalog, that of the session."""
        self._catalog = catalog

    def load(self) -> StageResults:
        if self._catalog is None:
            raise DatasetError(
                "The results of a stage can be loaded in a Kedro session alone, which has their catalog."
            )
        return StageResults(self._catalog)

    def save(self, data: list[str]) -> None:
        """Nothing: each of the results is saved already."""

    def _exists(self) -> bool:
        return True

    def _describe(self) -> JsonObject:
        return {}


class StageResults:
    """The results of a stage by name; ``loaded`` names those that were read."""

    def __init__(self, catalog: CatalogProtocol) -> None:
        self._catalog, self.loaded = catalog, set[str]()

    def load(self, name: str) -> Any:
        """A dataset of the catalog, such as ``search.search_report``."""
        self.loaded.add(name)
        return self._catalog.load(name)
