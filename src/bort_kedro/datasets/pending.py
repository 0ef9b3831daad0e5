"""Whole or not at all: every write goes to a temporary sibling that is renamed when it is complete.

A save that is killed leaves nothing that a later load, or Kedro's search for the latest version, can see. Kedro is not
needed here.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bort_kedro.errors import StorageError, said_by

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EROFS: "the file system is read-only; remount it or move the project",
    errno.EACCES: "you may not write there; change the permissions or move the project",
    errno.EDQUOT: "your disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than the file system or `ulimit -f` allows; raise that limit or move the project",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How a fault of the system is told in errors of their own by libraries in Rust (safetensors, tokenizers) and by shutil.
_TOLD_FAULT = re.compile(r"(?:\(os error |\[Errno )(\d+)")


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
    except Exception as fault:
        _remove(temporary)
        if advice := _ADVICE.get(_system_fault(fault)):
            raise StorageError(
                f"{final} cannot be written: {advice}, then run the same command again. "
                "No part of the file was left behind."
            ) from fault
        raise
    except BaseException:
        _remove(temporary)
        raise


def full_disk_fault(fault: BaseException) -> str | None:
    """What an error says and what to do, where the disk took no more, wherever that was written; None for another."""
    number = _system_fault(fault)
    return f"{said_by(fault)}: {_ADVICE[number]}, then run the same command again." if number in _FULL else None


def _system_fault(fault: BaseException) -> int:
    """Its number, also of one that a library has wrapped; 0 where it is none."""
    if isinstance(fault, OSError) and fault.errno:
        return fault.errno
    told = _TOLD_FAULT.search(str(fault))
    return int(told[1]) if told else 0


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
