"""Token blocks on disk: one flat array of ids per split, memory-mapped, with a manifest and checksums."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bort_kedro.core.tokens import TokenBlocks, Tokens, Vocabulary
from bort_kedro.datasets.model_folder import _FolderDataset
from bort_kedro.errors import StorageError

if TYPE_CHECKING:
    from kedro_datasets._typing import JSONPreview


class TokenBlocksDataset(_FolderDataset):
    """Saves and loads a `Tokens`: the vocabulary and the blocks of each split.

    The ids are memory-mapped, so a corpus larger than memory can be trained on.
    """

    MARKER = "manifest.json"

    def save(self, data: Tokens) -> None:
        def write(folder: Path) -> None:
            files = {}
            for split, blocks in data.splits.items():
                for part in ("ids", "offsets"):
                    path = folder / f"{split}.{part}.npy"
                    np.save(path, getattr(blocks, part), allow_pickle=False)
                    files[path.name] = _sha256(path)
            manifest = {"vocabulary": vars(data.vocabulary), "files": files, "splits": data.summary()}
            (folder / self.MARKER).write_text(json.dumps(manifest, indent=2), "utf-8")

        self._save_folder(write)

    def load(self) -> Tokens:
        folder = Path(self._get_load_path())
        manifest = self._read_json(self.MARKER)
        for name, expected in manifest["files"].items():
            path = folder / name
            found = _sha256(path) if path.is_file() else "missing"
            if found != expected:
                raise StorageError(
                    f"{path} is not what was written: SHA-256 {found[:12]}, expected {expected[:12]}. Remove "
                    f"{folder} and run `kedro run --pipelines corpus` to make it again."
                )
        vocabulary = manifest["vocabulary"] | {"special_ids": tuple(manifest["vocabulary"]["special_ids"])}
        splits = {
            split: TokenBlocks(
                ids=np.load(folder / f"{split}.ids.npy", mmap_mode="r", allow_pickle=False),
                offsets=np.load(folder / f"{split}.offsets.npy", allow_pickle=False),
            )
            for split in manifest["splits"]
        }
        fingerprint = hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest()[:16]
        return Tokens(Vocabulary(**vocabulary), splits, fingerprint)

    def preview(self) -> JSONPreview:
        """The manifest, for Kedro-Viz."""
        from kedro_datasets._typing import JSONPreview

        return JSONPreview(json.dumps(self._read_json(self.MARKER), indent=2))


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
