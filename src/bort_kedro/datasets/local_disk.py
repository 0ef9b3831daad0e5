"""Datasets that need a local disk, and refuse any other place before they write a folder of its name."""

from pathlib import Path, PurePath
from typing import Any, Self

from kedro.io.core import PROTOCOL_DELIMITER

from bort_kedro.errors import ConfigurationError

# The project's datasets that take any protocol of fsspec; `credentials` and `fs_args` go with it.
ON_STORES = (
    *("AtomicCSVDataset", "AtomicParquetDataset", "AtomicJSONDataset", "AtomicPlotlyDataset", "RecordDataset"),
    *("TextReportDataset", "IllustratedReportDataset", "ModelCardDataset"),
    *("RecordedCandidatesDataset", "RecordedLatenciesDataset"),
)


def seen(path: PurePath) -> str:
    """A path as seen from the working folder, for what describes a dataset: Kedro-Viz publishes it with the graph."""
    folder = Path.cwd()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


class OnLocalDisk:
    """Mixed in before a dataset's class: it renames folders, maps files into memory or looks for patterns.

    Raises:
        ConfigurationError: From the constructor, for a ``filepath``, ``folder`` or one of ``paths`` with a protocol.
    """

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        for value in (*arguments[:1], *(options.get(name) for name in ("filepath", "folder", "paths"))):
            for place in value if isinstance(value, list | tuple) else [value]:
                protocol, delimiter, _ = str(place).partition(PROTOCOL_DELIMITER)
                if delimiter:
                    raise ConfigurationError(
                        f"{cls.__name__} works on a local disk alone, and `{place}` has the protocol `{protocol}`. "
                        f"Of the project's datasets {', '.join(ON_STORES)} take one, as Kedro's own do. Give a path "
                        "without a protocol in the catalog, such as that under which the store is mounted."
                    )
        return super().__new__(cls)
