"""Datasets of kedro-datasets whose saves are whole or not at all: see `datasets.pending`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import fsspec
from kedro.io.core import get_filepath_str
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.plotly import JSONDataset as PlotlyJSONDataset

from bort_kedro.datasets.checksums import note_sums, require_whole
from bort_kedro.datasets.listing import VersionedByListing
from bort_kedro.datasets.local_disk import seen
from bort_kedro.datasets.pending import pending
from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from kedro.io.core import Version
    from plotly.graph_objects import Figure


class AtomicSave(VersionedByListing):
    """Mixed in before a kedro-datasets class, makes its ``save`` atomic on a local disk and on stores of fsspec.

    A store gets a file that is complete already: what is written to it directly would be kept as far as it came when
    the writing breaks.
    """

    _protocol: str
    _fs: AbstractFileSystem
    _version: Version | None
    _pending_path: PurePosixPath | None = None

    def load(self) -> Any:
        require_whole(self._get_load_path(), self._fs)  # type: ignore[attr-defined]
        return super().load.__wrapped__(self)  # type: ignore[misc]

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
    """`kedro_datasets.pandas.CSVDataset`, saved atomically."""


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
