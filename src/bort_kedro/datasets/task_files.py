"""Tasks as their archives unpack, found in one folder; and users' own files."""

from pathlib import Path
from typing import NoReturn

from kedro.io import AbstractDataset

from bort_kedro.datasets.local_disk import OnLocalDisk
from bort_kedro.errors import TaskError
from bort_kedro.frozen import JsonObject
from bort_kedro.tasks.reading.folder import TaskFolder


class TaskFilesDataset(OnLocalDisk, AbstractDataset[NoReturn, "TaskFolder"]):
    """Loads a handle rather than data, because which tasks are read is a parameter.

    Args:
        folder: Holds a folder for each task as its archive has it, such as ``CoLA`` or ``superglue/BoolQ``.
    """

    def __init__(self, folder: str, metadata: JsonObject | None = None) -> None:
        self._folder, self.metadata = Path(folder), metadata

    def load(self) -> TaskFolder:
        return TaskFolder(self._folder)

    def save(self, data: NoReturn) -> None:
        raise TaskError(
            f"{type(self).__name__} only reads; put the files of tasks into {self._folder}, or change `folder` of "
            "`task_files` in the catalog."
        )

    def _exists(self) -> bool:
        return True

    def _describe(self) -> JsonObject:
        return {"folder": str(self._folder)}
