"""SHA-256 of what a version holds, beside it, as ``sha256sum --check`` reads it: damage is told and never read."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bort_kedro.datasets.pending import pending
from bort_kedro.errors import StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SUMS = "SHA256SUMS"
ANEW = "Remove this version's folder to fall back on the one before, or run the stage that makes it again."


def note_sums(written: Path, final: PurePath, store: AbstractFileSystem | None = None) -> None:
    """Add a file or folder, written on a local disk, to the sums of its version; to be done before it gets its final
    place, on a local disk or a store, with which it is there."""
    files = [written] if written.is_file() else sorted(path for path in written.rglob("*") if path.is_file())
    sums = {final.name / path.relative_to(written): path for path in files}
    lines = "".join(f"{_sha256(path.open('rb'))}  {name.as_posix()}\n" for name, path in sums.items())
    place = final.with_name(SUMS)
    if store is not None:
        store.pipe_file(str(place), _read(store, place) + lines.encode())
        return
    before = Path(place).read_bytes() if Path(place).exists() else b""
    with pending(Path(place)) as temporary:
        temporary.write_bytes(before + lines.encode())


def require_whole(path: PurePath, store: AbstractFileSystem) -> None:
    """Refuse a file or folder that is not what was saved; one without sums is taken as it is.

    Raises:
        StorageError: If one of its files is missing, truncated or altered.
    """
    place = path.with_name(SUMS)
    if not (text := _read(store, place).decode("utf-8", "replace")):
        return
    sums = {name: expected for expected, _, name in (line.partition("  ") for line in text.splitlines())}
    for name in [name for name in sums if PurePath(name).is_relative_to(path.name)] or [path.name]:
        file = path.parent / name
        try:
            found = _sha256(store.open(str(file), "rb"))
        except (FileNotFoundError, IsADirectoryError):
            found = "missing"
        expected = sums.get(name, "not named")
        if found != expected:
            raise StorageError(
                f"{file} is not what was written: SHA-256 {found[:12]}, expected {expected[:12]}. {ANEW} If you "
                f"changed it yourself, remove {place} instead."
            )


def _read(store: AbstractFileSystem, place: PurePath) -> bytes:
    """The sums there are; none where there is no file of them."""
    try:
        sums: bytes = store.cat_file(str(place))
    except FileNotFoundError:
        return b""
    return sums


def _sha256(file: Any) -> str:
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()
