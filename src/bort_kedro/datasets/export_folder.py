"""An exported model as a versioned folder: nothing of it is seen before all of it is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bort_kedro.datasets.model_folder import _MarkedFolderDataset
from bort_kedro.errors import ModelFolderError
from bort_kedro.exports.formats import MANIFEST

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory


class ExportFolderDataset(_MarkedFolderDataset):
    """Saves the temporary folder that an export was made in, and clears it away; loads the path of the saved one."""

    MARKER = MANIFEST

    def save(self, data: TemporaryDirectory[str]) -> None:
        if not (Path(data.name) / MANIFEST).is_file():
            raise ModelFolderError(
                f"The export made in {data.name} is not whole: it has no {MANIFEST}. Nothing was saved; run `kedro run "
                "--pipelines evaluate` again."
            )
        self._save_folder(lambda folder: shutil.copytree(data.name, folder, dirs_exist_ok=True))
        data.cleanup()

    def load(self) -> Path:
        folder = self._whole_folder()
        self._read_json(MANIFEST)
        return folder
