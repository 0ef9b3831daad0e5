"""A transformers model, or a tokenizer, as a folder that ``from_pretrained`` opens; safetensors, never pickle."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem
from kedro.io import AbstractVersionedDataset, DatasetError

from bort_kedro.datasets.checksums import ANEW, note_sums, require_whole
from bort_kedro.datasets.listing import VersionedByListing
from bort_kedro.datasets.local_disk import OnLocalDisk, seen
from bort_kedro.datasets.pending import pending
from bort_kedro.errors import LONGEST_SAID, ModelFolderError, shortened
from bort_kedro.frozen import JsonObject
from bort_kedro.opening import PretrainedFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedro.io.core import Version
    from kedro_datasets._typing import JSONPreview
    from transformers import PreTrainedTokenizerFast

    from bort_kedro.encoders.pretrained import Pretrained


class _FolderDataset(OnLocalDisk, VersionedByListing, AbstractVersionedDataset):
    """A versioned folder, written to a temporary sibling and renamed."""

    def __init__(self, filepath: str, version: Version | None = None, metadata: JsonObject | None = None) -> None:
        self.metadata = metadata
        super().__init__(filepath=PurePosixPath(filepath), version=version)

    def _save_folder(self, write: Callable[[Path], object]) -> None:
        with pending(Path(self._get_save_path())) as folder:
            folder.mkdir()
            write(folder)
            if self._version:
                note_sums(folder, self._get_save_path())

    def _whole_folder(self) -> Path:
        """That of the version to load."""
        folder = self._get_load_path()
        require_whole(folder, LocalFileSystem())
        return Path(folder)

    def _exists(self) -> bool:
        try:
            return self._is_whole(Path(self._get_load_path()))
        except DatasetError:
            return False

    def _is_whole(self, folder: Path) -> bool:
        return folder.is_dir()

    def _describe(self) -> JsonObject:
        return {"filepath": seen(self._filepath), "version": self._version}

    def _files(self, kind: str) -> PretrainedFiles:
        folder = Path(self._get_load_path())

        def refusal(reason: str) -> ModelFolderError:
            return ModelFolderError(f"{folder} cannot be opened as {kind}: {reason}. {ANEW}")

        return PretrainedFiles(folder, refusal, local_files_only=True)

    def _read_json(self, name: str) -> JsonObject:
        path = Path(self._get_load_path()) / name
        try:
            content: JsonObject = json.loads(path.read_text("utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"{shortened(repr(content), LONGEST_SAID)} is no object")
        except (OSError, RecursionError, ValueError) as fault:
            raise ModelFolderError(f"{path} cannot be read as JSON: {fault}. {ANEW}") from fault
        return content


class _MarkedFolderDataset(_FolderDataset):
    """A folder that is present when its marker file is; Kedro-Viz shows that one, or what is shown in its place."""

    MARKER: str
    SHOWN: str = ""

    def _is_whole(self, folder: Path) -> bool:
        return (folder / self.MARKER).is_file()

    def preview(self) -> JSONPreview:
        """What the folder says of itself, for Kedro-Viz."""
        from kedro_datasets._typing import JSONPreview

        return JSONPreview(json.dumps(self._read_json(self.SHOWN or self.MARKER), indent=2))


class PretrainedDataset(_MarkedFolderDataset):
    """Saves and loads `encoders.pretrained.Pretrained`: ``config.json``, ``model.safetensors``, the tokenizer."""

    MARKER = "config.json"

    def save(self, data: Pretrained) -> None:
        from bort_kedro.encoders.pretrained import standalone_tokenizer

        def write(folder: Path) -> None:
            data.model.save_pretrained(folder)
            standalone_tokenizer(data).save_pretrained(folder)

        self._save_folder(write)

    def load(self) -> Pretrained:
        from bort_kedro.encoders.pretrained import Pretrained
        from bort_kedro.text.tokenizer import num_ids

        folder = self._whole_folder()
        config = self._read_json("config.json")
        if not (folder / "model.safetensors").is_file():
            raise ModelFolderError(f"{folder} has no model.safetensors, the only weights accepted. {ANEW}")
        architecture = (config.get("architectures") or ["BertForMaskedLM"])[0]
        files = self._files(architecture)
        model, tokenizer = files.model(architecture)[0], files.tokenizer()
        # Fewer are allowed: published teachers pad their vocabularies to a round number.
        if (num := num_ids(tokenizer)) > model.config.vocab_size:
            raise ModelFolderError(
                f"{folder}: the tokenizer has {num} ids but the model only "
                f"{model.config.vocab_size} word embeddings; they do not belong together. {ANEW}"
            )
        return Pretrained(model.eval(), tokenizer)


class TokenizerDataset(_MarkedFolderDataset):
    """Saves and loads a fast transformers tokenizer."""

    MARKER, SHOWN = "tokenizer.json", "tokenizer_config.json"

    def save(self, data: PreTrainedTokenizerFast) -> None:
        self._save_folder(data.save_pretrained)

    def load(self) -> PreTrainedTokenizerFast:
        self._whole_folder()
        self._read_json("tokenizer.json")
        return self._files("a tokenizer").tokenizer()
