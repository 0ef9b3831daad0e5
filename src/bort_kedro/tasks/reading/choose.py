"""Read a task from files or from the hub."""

from __future__ import annotations

from collections.abc import Mapping

from bort_kedro.tasks.description import Task
from bort_kedro.tasks.reading.folder import TaskFolder
from bort_kedro.tasks.reading.reading import TaskReading


def read_task(
    task: Task, folder: TaskFolder, *, read_from: str, files: Mapping[str, str], skip_bad_rows: bool
) -> TaskReading:
    """The rows of a task as they are in its files or on the hub.

    Args:
        task: A row of the table, or an own one; an own one is always read from files.
        folder: Where the official archives are unpacked.
        read_from: ``files`` or ``hub``.
        files: Other files than the official ones, see `TaskFolder.read`.
        skip_bad_rows: Whether malformed rows are left out and counted; else the first is an error.

    Raises:
        TaskError: If files are missing, or hold what the task does not allow.
    """
    if read_from == "hub" and task.hub[0]:
        from bort_kedro.tasks.reading.hub import read_from_hub

        return read_from_hub(task, skip_bad_rows=skip_bad_rows)
    return folder.read(task, files=files, skip_bad_rows=skip_bad_rows)
