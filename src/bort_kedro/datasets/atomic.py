"""Whole or not at all: every write goes to a temporary sibling that is renamed when it is complete.

A save that is killed leaves nothing that a later load, or Kedro's search for the latest version, can see.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import fsspec
from kedro.io.core import get_filepath_str
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.plotly import JSONDataset as PlotlyJSONDataset

from bort_kedro.datasets.listing import VersionedByListing
from bort_kedro.datasets.local_disk import seen
from bort_kedro.errors import StorageError
from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from plotly.graph_objects import Figure

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EROFS: "the file system is read-only; remount it or move the project",
    errno.EACCES: "you may not write there; change the permissions or move the project",
    errno.EDQUOT: "your disk quota is used up; free some space",
}


@contextmanager
def pending(final: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to; when the block ends well it becomes ``final``.

    Raises:
        StorageError: If the disk is full, read-only or forbidden. Nothing is left behind.
    """
    temporary = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        # A killed process of the same number, as containers give, may have left its own.
        _remove(temporary)
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        _replace(temporary, final)
        _flush_names(final.parent)
    except OSError as fault:
        _remove(temporary)
        if fault.errno in _ADVICE:
            raise StorageError(
                f"{final} cannot be written: {_ADVICE[fault.errno]}, then run the same command again. "
                "No part of the file was left behind."
            ) from fault
        raise
    except BaseException:
        _remove(temporary)
        raise


def _flush(path: Path) -> None:
    """Force files to the disk, so that the rename cannot survive a power cut that their bytes do not."""
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def _flush_names(folder: Path) -> None:
    """Force a folder's own entries to the disk: without this a power cut may undo the rename."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(temporary: Path, final: Path) -> None:
    """Rename, also over a folder with files in it, which the system's own rename refuses."""
    if final.is_dir() and temporary.is_dir():
        old = temporary.with_suffix(".old")
        os.replace(final, old)
        try:
            os.replace(temporary, final)
        except OSError:
            os.replace(old, final)
            raise
        _remove(old)
    else:
        os.replace(temporary, final)


def _remove(path: Path) -> None:
    # A read-only file system refuses even to remove what is not there; the first fault is the one to tell.
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class AtomicSave(VersionedByListing):
    """Mixed in before a kedro-datasets class, makes its ``save`` atomic on a local disk and on stores of fsspec.

    A store gets a file that is complete already: what is written to it directly would be kept as far as it came when
    the writing breaks.
    """

    _protocol: str
    _fs: AbstractFileSystem
    _pending_path: PurePosixPath | None = None

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
            return
        with TemporaryDirectory() as folder:
            write_to(Path(folder) / final.name)
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
