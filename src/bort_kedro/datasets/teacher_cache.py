"""Where a teacher's answers are kept: one folder a cache, one file a chunk of blocks, named by its own checksum."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kedro.io import AbstractDataset

from bort_kedro.datasets.local_disk import OnLocalDisk, seen
from bort_kedro.datasets.pending import pending
from bort_kedro.datasets.predecessors import HASH_LENGTH, IDENTITY, Predecessors
from bort_kedro.errors import StorageError
from bort_kedro.frozen import JsonObject

if TYPE_CHECKING:
    from bort_kedro.pretraining.teacher_targets import TargetChunk
    from bort_kedro.training.saved_state import Circumstance

LOGGER = logging.getLogger(__name__)
# Of the free space, left to everything else that a run writes.
MARGIN = 0.05
_FILE = re.compile(r"epoch-(\d{4,})-block-(\d{9,})-([0-9a-f]{16})\.safetensors")


class TeacherCacheDataset(OnLocalDisk, AbstractDataset[NoReturn, "TeacherCaches"]):
    """Loads a handle rather than data, because a node's outputs are only saved when it ends.

    A session puts what its user accepts of earlier caches into ``accepted``.
    """

    def __init__(self, filepath: str, metadata: JsonObject | None = None) -> None:
        self._root, self.metadata = Path(filepath), metadata
        self.accepted: tuple[Circumstance, ...] = ()

    def load(self) -> TeacherCaches:
        return TeacherCaches(self._root, accepted=self.accepted)

    def save(self, data: NoReturn) -> None:
        raise StorageError("A teacher cache is written through the handle that `load` gives, chunk by chunk.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> JsonObject:
        return {"filepath": seen(self._root)}


class TeacherCaches:
    """Finds the folder of a cache by a hash of all that its content depends on, see `predecessors`."""

    def __init__(self, root: Path, *, accepted: tuple[Circumstance, ...] = ()) -> None:
        self._root, self._predecessors = root, Predecessors(accepted)

    def of(self, identity: JsonObject) -> CacheFolder:
        """The cache of one teacher over one corpus.

        A changed value of the identity leads to another folder, hence to asking the teacher anew, unless nothing
        differs but circumstances that are accepted.
        """
        text = json.dumps(identity, sort_keys=True, indent=2)
        folder = self._root / hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
        if not folder.exists():
            folder = next((found.folder for found in self._predecessors.accepted_of(folder, text)), folder)
        return CacheFolder(folder, text)


class CacheFolder:
    """The chunks of one cache; implements `pretraining.teacher_targets.TargetStore`.

    A chunk is a safetensors file: four arrays in one file that is renamed whole, which .npy has not, and torch maps it
    into memory without copying it or keeping it open, so a cache may have more chunks than a process may open files.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder, self._identity = folder, identity
        self._opened: dict[tuple[int, int], TargetChunk] = {}
        self._files = self._list()

    def missing(self, epoch: int, first_block: int) -> bool:
        """Whether no chunk is there whose bytes match its name; damaged ones are set aside and named in the log."""
        return self._open((epoch, first_block)) is None

    def read(self, epoch: int, first_block: int) -> TargetChunk | None:
        """A chunk mapped into memory, or None; its checksum is verified the first time."""
        chunk = self._open((epoch, first_block))
        if chunk is None:
            # Another process may have written it since.
            self._files = self._list()
            chunk = self._open((epoch, first_block))
        return chunk

    def write(self, epoch: int, first_block: int, chunk: TargetChunk) -> None:
        """Write a chunk whole.

        Raises:
            StorageError: If the disk is full, read-only or forbidden; chunks written before stay.
        """
        from safetensors.numpy import save

        identity = self._folder / IDENTITY
        if not identity.exists():
            with pending(identity) as temporary:
                temporary.write_text(self._identity, "utf-8")
        data = save(vars(chunk))
        digest = hashlib.sha256(data).hexdigest()[:16]
        path = self._folder / f"epoch-{epoch:04d}-block-{first_block:09d}-{digest}.safetensors"
        with pending(path) as temporary:
            temporary.write_bytes(data)
        self._files.setdefault((epoch, first_block), []).append(path)

    def require_room(self, num_bytes: int) -> None:
        """Refuse what will not fit.

        Raises:
            StorageError: If that is more than the free space less its margin.
        """
        existing = next(path for path in (self._folder, *self._folder.parents) if path.is_dir())
        free = shutil.disk_usage(existing).free
        if num_bytes > (1 - MARGIN) * free:
            raise StorageError(
                f"The teacher cache needs {num_bytes} bytes ({num_bytes / 10**9:.2f} GB) in {self._folder}, whose disk "
                f"has {free} bytes ({free / 10**9:.2f} GB) free; allowed are {100 * (1 - MARGIN):.0f} % of that. Lower "
                "params:pretrain_distill.teacher_cache.top_k or params:pretrain_distill.teacher_cache.num_epochs, free "
                "some space, or change `filepath` of `teacher_cache` in the catalog."
            )

    def _list(self) -> dict[tuple[int, int], list[Path]]:
        """Files of each chunk; more than one if two runs have computed it, on devices that round otherwise."""
        found: dict[tuple[int, int], list[Path]] = {}
        for path in sorted(self._folder.glob("epoch-*.safetensors")):
            if match := _FILE.fullmatch(path.name):
                found.setdefault((int(match[1]), int(match[2])), []).append(path)
        return found

    def _open(self, key: tuple[int, int]) -> TargetChunk | None:
        """The first whole file of a chunk among those known."""
        if key not in self._opened:
            for path in self._files.pop(key, []):
                if (chunk := _verified(path)) is not None:
                    self._opened[key] = chunk
                    break
        return self._opened.get(key)


def _verified(path: Path) -> TargetChunk | None:
    """The chunk of a file, or None if its bytes do not match its name; it is then set aside."""
    from safetensors.torch import load_file

    from bort_kedro.pretraining.teacher_targets import TargetChunk

    expected = _FILE.fullmatch(path.name)[3]  # type: ignore[index]
    try:
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()[:16]
    except FileNotFoundError:  # removed, or set aside by another process
        return None
    if found == expected:
        return TargetChunk(**{name: tensor.numpy() for name, tensor in load_file(path).items()})
    aside = path.with_suffix(".damaged")
    with suppress(FileNotFoundError):
        path.rename(aside)
    LOGGER.warning(
        "The teacher cache's chunk %s is truncated or altered (SHA-256 %s, expected %s). It was set aside as %s; it "
        "counts as missing and is computed again when a training next fills the cache.",
        path,
        found,
        expected,
        aside.name,
    )
    return None
