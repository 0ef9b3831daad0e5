"""Datasets of kedro-datasets: saves are whole or not at all (see `datasets.pending`), and loads say what is wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import fsspec
import pandas as pd
from kedro.io.core import get_filepath_str
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.plotly import JSONDataset as PlotlyJSONDataset

from bort_kedro.datasets.checksums import note_sums, require_whole
from bort_kedro.datasets.listing import VersionedByListing
from bort_kedro.datasets.local_disk import seen
from bort_kedro.datasets.pending import pending
from bort_kedro.errors import StorageError, said_by
from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from kedro.io.core import Version
    from plotly.graph_objects import Figure


class AtomicSave(VersionedByListing):
    """Mixed in before a kedro-datasets class, makes its ``save`` atomic on a local disk and on stores of fsspec.

    A store gets a file that is complete already: what is written to it directly would be kept as far as it came when
    the writing breaks.

    Raises:
        StorageError: From ``load``, if the file cannot be read, or is not what it should be.
    """

    _protocol: str
    _fs: AbstractFileSystem
    _version: Version | None
    _pending_path: PurePosixPath | None = None

    def load(self) -> Any:
        read = super().load.__wrapped__  # type: ignore[misc]
        path = self._get_load_path()  # type: ignore[attr-defined]
        require_whole(path, self._fs)
        try:
            return self._checked(read(self))
        except Exception as fault:  # the libraries that read share no narrower class
            raise StorageError(
                f"{path} cannot be read: {said_by(fault)}. Mend it, or remove it and run again what makes it."
            ) from fault

    def _checked(self, data: Any) -> Any:
        """What was read, once it is what it should be; a ValueError says why it is not."""
        return data

    def save(self, data: object) -> None:
        # The class after this one in the order of resolution; unwrapped, because the wrapper looks for
        # the saved file before it has its name.
        write = super().save.__wrapped__  # type: ignore[misc]

        def write_to(path: Path) -> None:
            place = self._protocol, self._fs
            self._pending_path = PurePosixPath(path.as_posix())
            self._protocol, self._fs = "file", fsspec.filesystem("file")
            try:
                write(self, data)
            finally:
                self._pending_path, (self._protocol, self._fs) = None, place

        self._save_whole(self._get_save_path(), write_to)

    def _save_whole(self, final: PurePosixPath, write_to: Callable[[Path], object]) -> None:
        """Let a file be written on a local disk, and give it its place when it is complete."""
        if self._protocol == "file":
            with pending(Path(final)) as temporary:
                write_to(temporary)
                if self._version:
                    note_sums(temporary, final)
            return
        with TemporaryDirectory() as folder:
            write_to(Path(folder) / final.name)
            if self._version:
                note_sums(Path(folder) / final.name, final, self._fs)
            self._fs.put_file(str(Path(folder) / final.name), get_filepath_str(final, self._protocol))
        self._invalidate_cache()  # type: ignore[attr-defined]

    def _describe(self) -> JsonObject:
        said: JsonObject = super()._describe()  # type: ignore[misc]
        return said | {"filepath": seen(said["filepath"])}

    def _list_folder(self, folder: str) -> list[str]:
        paths: list[str] = self._fs.ls(folder, detail=False)
        return paths

    def _get_save_path(self) -> PurePosixPath:
        return self._pending_path or super()._get_save_path()  # type: ignore[misc, no-any-return]


class AtomicCSVDataset(AtomicSave, CSVDataset):
    """`kedro_datasets.pandas.CSVDataset`, saved atomically; of rows that are shorter or longer than the header none is
    read, since pandas shifts their cells."""

    def _checked(self, data: pd.DataFrame) -> pd.DataFrame:
        path = get_filepath_str(self._get_load_path(), self._protocol)
        with self._fs.open(path, "r", encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=self._load_args.get("sep", ","))
            header = next(filter(None, rows))
            if len(set(header)) < len(header):
                raise ValueError(f"the header has a name twice: {', '.join(header)}")
            for row in filter(None, rows):
                if len(row) != len(header):
                    raise ValueError(f"line {rows.line_num} has {len(row)} cells, and the header {len(header)}")
        return data


class AtomicParquetDataset(AtomicSave, ParquetDataset):
    """`kedro_datasets.pandas.ParquetDataset`, saved atomically."""


class AtomicJSONDataset(AtomicSave, JSONDataset):
    """`kedro_datasets.json.JSONDataset`, saved atomically."""


class AtomicPlotlyDataset(AtomicSave, PlotlyJSONDataset):
    """`kedro_datasets.plotly.JSONDataset`, saved atomically, with lists where plotly would write the bytes of arrays.

    A figure that is read again has arrays only where its file has lists.
    """

    def save(self, data: Figure) -> None:  # type: ignore[override]
        from plotly.graph_objects import Figure
        from plotly.utils import PlotlyJSONEncoder

        # That of a whole figure has the bytes already.
        parts = {name: [part.to_plotly_json() for part in getattr(data, name)] for name in ("data", "frames")}
        text = json.dumps({**parts, "layout": data.layout.to_plotly_json()}, cls=PlotlyJSONEncoder)
        super().save(Figure(json.loads(text)))
