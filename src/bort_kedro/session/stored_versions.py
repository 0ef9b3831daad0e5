"""Which versions of the catalog's datasets lie on this disk, and how large they are."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kedro.io import DataCatalog

from bort_kedro.datasets.listing import is_versioned

# As Kedro names versions; whoever names one otherwise has chosen the name.
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z")


@dataclass(frozen=True)
class StoredVersion:
    """One version of one dataset.

    Args:
        dataset: Its name in the catalog; the first one, where several entries have the same place.
        place: The folder of all its versions.
        is_whole: Whether Kedro finds it; if not, its saving was interrupted.
        is_removable: False of a link, of what one leads to, of a version that somebody has named, and of what lies
            outside the project's data.
    """

    dataset: str
    place: Path
    version: str
    num_bytes: int
    is_whole: bool = True
    is_removable: bool = True

    @property
    def folder(self) -> Path:
        """Of this version alone."""
        return self.place / self.version


@dataclass(frozen=True)
class Stored:
    """What there is.

    Args:
        places: The folder of each dataset's versions, by its name; there may be none in it.
        remote: Names of datasets whose versions lie on a store, which are not looked at.
    """

    versions: list[StoredVersion]
    places: dict[str, Path]
    remote: list[str]


def stored_versions(catalog: DataCatalog, names: Iterable[str], data: Path) -> Stored:
    """All versions of some datasets of a catalog, but of those without an entry or without versions.

    Beyond the project's folder of data nothing may be removed.
    """
    stored = Stored([], {}, [])
    for name in names:
        dataset = catalog.get(name)
        if not is_versioned(dataset):
            continue
        place = Path(dataset._filepath)
        if getattr(dataset, "_protocol", "file") not in ("file", "local"):
            stored.remote.append(name)
        elif place not in stored.places.values():
            whole = set(dataset.list_versions(full_path=False))
            stored.versions.extend(_versions_at(place, name, whole, data.resolve()))
        stored.places[name] = place
    return stored


def _versions_at(place: Path, name: str, whole: set[str], data: Path) -> list[StoredVersion]:
    folders = [place / version for version in _folders(place) if version in whole or TIMESTAMP.fullmatch(version)]
    linked = {folder.resolve() for folder in folders if folder.is_symlink()}
    return [
        StoredVersion(
            name,
            place,
            folder.name,
            size_of(folder),
            is_whole=folder.name in whole,
            is_removable=TIMESTAMP.fullmatch(folder.name) is not None
            and not folder.is_symlink()
            and folder.resolve() not in linked
            and folder.resolve().is_relative_to(data),
        )
        for folder in folders
    ]


def _folders(place: Path) -> list[str]:
    try:
        with os.scandir(place) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder, links not followed; a run may remove some of them meanwhile."""
    size = 0
    for below, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(below, name)).st_size
    return size
