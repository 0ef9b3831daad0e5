"""Submissions to leaderboards as a versioned folder of zip archives."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from bort_kedro.datasets.model_folder import _FolderDataset
from bort_kedro.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIX = ".zip"
# The same files give the same archive, byte for byte; zip knows no earlier date.
_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE_BY_ALL = 0o644 << 16


class SubmissionArchivesDataset(_FolderDataset):
    """Saves and loads the text of each file, by the archive's name and the file's: ``GLUE`` becomes ``GLUE.zip``.

    The folder appears when all its archives are complete; it is empty where no archive could be made.
    """

    def save(self, data: Mapping[str, Mapping[str, str]]) -> None:
        def write(folder: Path) -> None:
            for name, files in data.items():
                _write_archive(folder / f"{name}{SUFFIX}", files)

        self._save_folder(write)

    def load(self) -> dict[str, dict[str, str]]:
        return {path.stem: _read_archive(path) for path in sorted(self._whole_folder().glob(f"*{SUFFIX}"))}


def _write_archive(path: Path, files: Mapping[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, _READABLE_BY_ALL
            archive.writestr(entry, text)


def _read_archive(path: Path) -> dict[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name).decode("utf-8") for name in archive.namelist()}
    # An archive that asks for a password, for an unknown compression or for more than it has is told of in these.
    except (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError) as fault:
        raise StorageError(
            f"{path} cannot be read as a zip archive of texts: {fault}. Remove this version's folder to fall back on "
            "the one before, or run `kedro run --pipelines evaluate` to make it again."
        ) from fault
