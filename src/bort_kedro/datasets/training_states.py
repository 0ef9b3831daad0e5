"""Where trainings keep their states: one folder a training, one file a state, named by its own checksum."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from kedro.io import AbstractDataset

from bort_kedro.datasets.local_disk import OnLocalDisk, seen
from bort_kedro.datasets.pending import pending
from bort_kedro.datasets.predecessors import HASH_LENGTH, IDENTITY, Predecessors, read_identity
from bort_kedro.errors import CheckpointError
from bort_kedro.frozen import JsonObject
from bort_kedro.training.observer import SilentObserver, TrainingObserver

if TYPE_CHECKING:
    from bort_kedro.training.saved_state import Circumstance, SavedState

LOGGER = logging.getLogger(__name__)
# As safetensors has it, of what a file says of itself.
LONGEST_HEADER = 100_000_000
_FILE = re.compile(r"(?:step|kept)-(\d{9})-([0-9a-f]{16})\.safetensors")


class TrainingStatesDataset(OnLocalDisk, AbstractDataset[NoReturn, "TrainingStates"]):
    """Loads a handle rather than data, because a node's outputs are only saved when it ends.

    A session that listens to its trainings puts its observer into ``observer``, and what its user accepts of earlier
    ones into ``accepted``; the handles loaded then carry them.

    Args:
        filepath: Root folder.
        keep: States kept per training while it runs; the newest ones. At least 2, so that a damaged one has a
            predecessor.
    """

    def __init__(self, filepath: str, keep: int = 2, metadata: JsonObject | None = None) -> None:
        self._root, self._keep, self.metadata = Path(filepath), keep, metadata
        self.observer: TrainingObserver = SilentObserver()
        self.accepted: tuple[Circumstance, ...] = ()

    def load(self) -> TrainingStates:
        return TrainingStates(self._root, self._keep, self.observer, accepted=self.accepted)

    def save(self, data: NoReturn) -> None:
        raise CheckpointError("Training states are written through the handle that `load` gives, step by step.")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> JsonObject:
        return {"filepath": seen(self._root), "keep": self._keep}


@dataclass(frozen=True)
class KeptTraining:
    """A training by its newest state.

    Args:
        name: Such as ``search/D2-A4-H128-I256``.
        written: When the state was, in seconds of `time.time`.
    """

    name: str
    identity: JsonObject
    written: float
    step: int
    has_ended: bool


class TrainingStates:
    """Finds the folder of a training by a name for people and a hash of all that its result depends on.

    Args:
        observer: Who listens to them, in this process alone: a copy that travels to another one is silent.
        accepted: Circumstances under which an earlier training may have differed, see `predecessors`.
    """

    def __init__(
        self,
        root: Path,
        keep: int,
        observer: TrainingObserver | None = None,
        *,
        accepted: tuple[Circumstance, ...] = (),
    ) -> None:
        self.root, self._keep, self.observer = root, keep, observer or SilentObserver()
        self._predecessors = Predecessors(accepted)

    def __reduce__(self) -> tuple[partial[TrainingStates], tuple[Path, int]]:
        return partial(TrainingStates, accepted=self._predecessors.accepted), (self.root, self._keep)

    def of(self, name: str, identity: JsonObject) -> TrainingFolder:
        """The states of one training, named such as ``search/D2-A4-H128-I256``.

        A changed value of the identity leads to another folder, hence to training anew, unless nothing differs but
        circumstances that are accepted.
        """
        text = json.dumps(identity, sort_keys=True, indent=2)
        key = hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
        return TrainingFolder(self.root / f"{name}-{key}", self._keep, text, self._predecessors)

    def kept(self, since: float = 0.0) -> Iterator[KeptTraining]:
        """Trainings whose newest state was written ``since`` then, in seconds of `time.time`, by names of files.

        No file is read whole, so a damaged one may be among them, and those that are accepted otherwise are not.
        """
        for path in sorted(self.root.rglob(IDENTITY)):
            newest = next(iter(TrainingFolder.files(path.parent)), None)
            if newest is None or (written := newest.stat().st_mtime) < since:
                continue
            if (identity := read_identity(path)) is not None:
                name = path.parent.relative_to(self.root).as_posix()[: -HASH_LENGTH - 1]
                yield KeptTraining(name, identity, written, _step(newest), has_ended=_has_ended(newest))

    def used(self) -> dict[str, float]:
        """When each training was last asked for or told of, in seconds of `time.time`, by its folder below the root."""
        folders = [path.parent for path in sorted(self.root.rglob(IDENTITY))]
        return {folder.relative_to(self.root).as_posix(): folder.stat().st_mtime for folder in folders}

    def names(self, folder: str) -> set[str]:
        """Names of all trainings of a folder such as ``search/scores``, without it, whatever their identity."""
        return {path.name[: -HASH_LENGTH - 1] for path in (self.root / folder).glob(f"*-{'?' * HASH_LENGTH}")}


class TrainingFolder:
    """The states of one training; implements `training.saved_state.StateStore`."""

    def __init__(self, folder: Path, keep: int, identity: str, predecessors: Predecessors) -> None:
        self._folder, self._keep, self._identity, self._predecessors = folder, keep, identity, predecessors

    def latest(self) -> SavedState | None:
        """The newest state whose bytes match its name; damaged ones are set aside and named in the log.

        Of a training that has none it is that of an earlier one, if what differs is accepted.
        """
        return self._newest(self._folder) or self._of_predecessor()

    def _newest(self, folder: Path, kind: str = "step") -> SavedState | None:
        try:
            state = next(filter(None, map(self._read, self.files(folder, kind))), None)
        except FileNotFoundError:
            # A run beside this one has written a newer state since, and removed what was listed.
            return self._newest(folder, kind)
        if state is not None:
            # A folder tells by its time that somebody still asks for its training.
            with suppress(OSError):
                os.utime(folder)
        return state

    def _of_predecessor(self) -> SavedState | None:
        for predecessor in self._predecessors.accepted_of(self._folder, self._identity):
            steps = [change for path, change in predecessor.changes.items() if path.endswith("num_steps")]
            is_longer = any(before < now for before, now in steps)
            kept = self._newest(predecessor.folder, "kept") if is_longer else None
            state = kept or self._newest(predecessor.folder)
            if state is not None and all(state.goes_on and state.step < now for _, now in steps):
                return state
        return None

    def put(self, state: SavedState) -> None:
        """Write a state whole, then drop the oldest beyond those kept; of a finished training, all before it.

        One that outlives its training takes no part in that.
        """
        from safetensors.torch import save

        identity = self._folder / IDENTITY
        if not identity.exists():
            with pending(identity) as temporary:
                temporary.write_text(self._identity, "utf-8")
        data = save(state.tensors, metadata={"step": str(state.step), "record": json.dumps(state.record)})
        digest = hashlib.sha256(data).hexdigest()[:16]
        kind = "kept" if state.is_kept else "step"
        with pending(self._folder / f"{kind}-{state.step:09d}-{digest}.safetensors") as temporary:
            temporary.write_bytes(data)
        if state.is_kept:
            return
        for old in self.files(self._folder)[1 if state.has_ended else self._keep :]:
            # On a cluster, a job that was started again may keep its states beside its former self.
            old.unlink(missing_ok=True)

    @staticmethod
    def files(folder: Path, kind: str = "step") -> list[Path]:
        """State files, newest first; of the kind ``kept`` those that outlive their training."""
        return sorted((p for p in folder.glob(f"{kind}-*.safetensors") if _FILE.fullmatch(p.name)), reverse=True)

    def _read(self, path: Path) -> SavedState | None:
        from safetensors.torch import load

        from bort_kedro.training.saved_state import SavedState

        data = path.read_bytes()
        expected = _FILE.fullmatch(path.name).group(2)  # type: ignore[union-attr]
        found = hashlib.sha256(data).hexdigest()[:16]
        if found != expected:
            aside = path.with_suffix(".damaged")
            path.rename(aside)
            LOGGER.warning(
                "The training state %s is truncated or altered (SHA-256 %s, expected %s). It was set aside as %s; "
                "training goes on from the state before it, or anew where there is none.",
                path,
                found,
                expected,
                aside.name,
            )
            return None
        header = _header(BytesIO(data))
        return SavedState(int(header["__metadata__"]["step"]), load(data), json.loads(header["__metadata__"]["record"]))


def _header(file: BinaryIO) -> JsonObject:
    """Of a safetensors file: its arrays by name, and what it says of itself under ``__metadata__``."""
    length = int.from_bytes(file.read(8), "little")
    header: JsonObject = json.loads(file.read(min(length, LONGEST_HEADER)))
    return header


def _step(path: Path) -> int:
    return int(_FILE.fullmatch(path.name).group(1))  # type: ignore[union-attr]


def _has_ended(path: Path) -> bool:
    """Whether a state is that of a finished training, or holds a result and no array."""
    try:
        with path.open("rb") as file:
            header = _header(file)
        metadata = header.pop("__metadata__")
        return not header or bool(json.loads(metadata["record"]).get("has_ended"))
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError):  # damaged
        return False
