"""Token blocks on disk: one flat array of ids per split, memory-mapped, with a manifest and checksums."""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bort_kedro.datasets.model_folder import _MarkedFolderDataset
from bort_kedro.frozen import JsonObject
from bort_kedro.text.tokens import TokenBlocks, Tokens, Vocabulary

WORD_STARTS = "word_starts.npy"


class TokenBlocksDataset(_MarkedFolderDataset):
    """Saves and loads a `Tokens`: the vocabulary and the blocks of each split.

    The arrays are memory-mapped, so a corpus larger than memory can be trained on, and a process that is handed the
    tokens opens the same files. Each load reads every byte once to compare checksums: SHA-256 does 1.2 GB/s on one core
    (measured, files in the page cache), so 600 million tokens of two bytes cost a second; a slower disk sets the pace.
    """

    MARKER = "manifest.json"

    def save(self, data: Tokens) -> None:
        arrays = {
            f"{split}.{part}.npy": getattr(blocks, part)
            for split, blocks in data.splits.items()
            for part in ("ids", "offsets")
        }
        if data.word_starts is not None:
            arrays[WORD_STARTS] = data.word_starts

        def write(folder: Path) -> None:
            manifest = {
                "vocabulary": vars(data.vocabulary),
                "joined": any(blocks.joined for blocks in data.splits.values()),
                "files": {name: _write_array(folder / name, values) for name, values in arrays.items()},
                "splits": data.summary(),
            }
            (folder / self.MARKER).write_text(json.dumps(manifest, indent=2), "utf-8")

        self._save_folder(write)

    def load(self) -> Tokens:
        folder = self._whole_folder()
        manifest = self.manifest()
        vocabulary = manifest["vocabulary"] | {"special_ids": tuple(manifest["vocabulary"]["special_ids"])}
        # Tokens stored before documents could be joined and whole words hidden lack what these need.
        joined = manifest.get("joined", False)
        splits = {
            split: TokenBlocks(_mapped(folder / f"{split}.ids.npy"), _mapped(folder / f"{split}.offsets.npy"), joined)
            for split in manifest["splits"]
        }
        return Tokens(
            Vocabulary(**vocabulary),
            splits,
            fingerprint=self.fingerprint(manifest),
            word_starts=_mapped(folder / WORD_STARTS) if WORD_STARTS in manifest["files"] else None,
        )

    def manifest(self) -> JsonObject:
        """What there is, without a look at the arrays: ``vocabulary``, ``splits`` with their blocks and tokens."""
        return self._read_json(self.MARKER)

    @staticmethod
    def fingerprint(manifest: JsonObject) -> str:
        """Of the tokens that a manifest is of."""
        return hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest()[:16]


class _HashingWriter:
    """A binary file that knows the SHA-256 of what it was given.

    Numpy writes the bytes of an array past Python where it knows the file, and tells nobody of those that a full disk
    has refused.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)


def _write_array(path: Path, values: NDArray[Any]) -> str:
    """Write an array; returns its SHA-256."""
    with path.open("wb") as file:
        writer = _HashingWriter(file)
        np.save(writer, values, allow_pickle=False)  # type: ignore[arg-type]
    return writer.sha256.hexdigest()


class _MappedArray(np.memmap):
    """A memory-mapped array that is handed to another process as the place of its file, not as its bytes."""

    _mmap: mmap.mmap | None

    def __reduce__(self) -> Any:
        if self._mmap is None or not self.flags.c_contiguous or len(self._mmap) != self.offset + self.nbytes:
            # A part or a copy, which numpy hands over as any array.
            return np.asarray(self).__reduce__()
        return _mapped_part, (self.filename, self.dtype, self.offset, self.shape)


def _mapped(path: Path) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False).view(_MappedArray)
    return mapped


def _mapped_part(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.memmap(path, dtype, "r", offset, shape).view(_MappedArray)
