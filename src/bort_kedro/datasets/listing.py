"""What lies on a disk or store, whatever signs the names of folders hold: `[`, `?` and `*` mean more in patterns."""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import glob
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeGuard

from fsspec.implementations.local import LocalFileSystem
from kedro.io import AbstractVersionedDataset

if TYPE_CHECKING:
    from kedro.io.core import Version


def matches(pattern: str) -> list[str]:
    """Files and folders that a pattern names, ``**`` allowed; as far as it is there as it is written, it is no pattern:
    ``texts [1]/**/*.txt`` looks below the folder ``texts [1]`` where there is one."""
    path = Path(pattern)
    there = next((part for part in (path, *path.parents) if part.exists()), Path())
    if there == path:
        return [pattern]
    return [str(there / name) for name in glob(str(path.relative_to(there)), root_dir=there, recursive=True)]


class LocalFiles(LocalFileSystem):
    """The local disk, where patterns are looked for as `matches` does."""

    def glob(self, path: str, **options: Any) -> list[str]:
        """As that of fsspec, without options."""
        return matches(path)


class VersionedByListing:
    """Mixed in before a versioned dataset's class: Kedro looks for versions by a pattern that holds the whole path.

    A session loads what it has saved itself: the newest version may be that of a run beside it, or of a clock that has
    gone back since.
    """

    _filepath: PurePosixPath
    _version: Version | None

    def _get_versions(self) -> list[str]:
        """Paths of all versions, the newest first."""
        try:
            names = [PurePosixPath(path).name for path in self._list_folder(str(self._filepath))]
        except (FileNotFoundError, NotADirectoryError):
            return []
        paths = [str(self._get_versioned_path(name)) for name in sorted(names, reverse=True)]  # type: ignore[attr-defined]
        return [path for path in paths if self._exists_function(path)]  # type: ignore[attr-defined]

    def _fetch_latest_load_version(self) -> str:
        own = self._version.save if self._version else None
        if own and self._exists_function(str(self._get_versioned_path(own))):  # type: ignore[attr-defined]
            return str(own)
        newest: str = super()._fetch_latest_load_version()  # type: ignore[misc]
        return newest

    def _list_folder(self, folder: str) -> Iterable[str]:
        return os.listdir(folder)


def is_versioned(dataset: object) -> TypeGuard[AbstractVersionedDataset]:
    """Whether a dataset has versions: of its kind, and by its entry in the catalog."""
    return isinstance(dataset, AbstractVersionedDataset) and dataset.resolve_save_version() is not None
