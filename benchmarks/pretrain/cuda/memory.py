"""States and teacher's targets kept in memory, where a project keeps them on its disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bort_kedro.pretraining.teacher_targets import TargetChunk
    from bort_kedro.training.saved_state import SavedState


class KeptState:
    """The newest state of one training; its tensors are copies already."""

    def __init__(self) -> None:
        self.state: SavedState | None = None

    def latest(self) -> SavedState | None:
        """None before the first."""
        return self.state

    def put(self, state: SavedState) -> None:
        """In the place of the one before."""
        self.state = state


class KeptTargets:
    """What one teacher says of one corpus, and how long it took to say it."""

    def __init__(self) -> None:
        self.chunks: dict[tuple[int, int], TargetChunk] = {}
        self._began = self._ended = time.perf_counter()

    def of(self, identity: Any) -> KeptTargets:
        """There is but one teacher."""
        return self

    def missing(self, epoch: int, first_block: int) -> bool:
        """Until it is written."""
        return (epoch, first_block) not in self.chunks

    def read(self, epoch: int, first_block: int) -> TargetChunk | None:
        """None where it is missing."""
        return self.chunks.get((epoch, first_block))

    def write(self, epoch: int, first_block: int, chunk: TargetChunk) -> None:
        """Keep a chunk, and note the time."""
        self.chunks[epoch, first_block] = chunk
        self._ended = time.perf_counter()

    def require_room(self, num_bytes: int) -> None:
        """The program's memory is taken to be large enough; what is asked for is asked right before it is computed."""
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """From the first question to the last answer."""
        return self._ended - self._began
