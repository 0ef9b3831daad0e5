"""Read a task from files or from the hub."""

from bort_kedro.tasks.description import Task
from bort_kedro.tasks.reading.folder import TaskFolder
from bort_kedro.tasks.reading.reading import TaskReading
from bort_kedro.tasks.settings import ReadingSettings


def read_task(task: Task, folder: TaskFolder, settings: ReadingSettings) -> TaskReading:
    """The rows of a task as they are in its files, which own tasks always have, or on the hub.

    Raises:
        TaskError: If files are missing, or hold what the task does not allow.
    """
    if settings.read_from == "hub" and task.hub[0]:
        from bort_kedro.tasks.reading.hub import read_from_hub

        return read_from_hub(task, skip_bad_rows=settings.skip_bad_rows)
    return folder.read(task, files=settings.files.get(task.name, {}), skip_bad_rows=settings.skip_bad_rows)
