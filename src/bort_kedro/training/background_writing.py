"""States written beside the training that goes on: the disk takes several times as long as the copy in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bort_kedro.training.saved_state import SavedState, StateStore


class BackgroundStore:
    """Hands states to a thread; one is written at a time, so memory holds two at most.

    Args:
        states: Where they are kept.
        thread: That writes.
    """

    def __init__(self, states: StateStore, thread: ThreadPoolExecutor) -> None:
        self._states, self._thread = states, thread
        self._writing: Future[None] | None = None

    def latest(self) -> SavedState | None:
        """The newest state that is whole, or None."""
        self.finish()
        return self._states.latest()

    def put(self, state: SavedState) -> None:
        """Have a state written, which must not be changed any more; fails as the one before it did, if it did."""
        self.finish()
        self._writing = self._thread.submit(self._states.put, state)

    def finish(self) -> None:
        """Wait until all is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


@contextmanager
def written_beside(states: StateStore | None) -> Iterator[BackgroundStore | None]:
    """A store whose states are on the disk when the block ends, however it ends; None where none are kept."""
    if states is None:
        yield None
        return
    with ThreadPoolExecutor(1, thread_name_prefix="training-state") as thread:
        store = BackgroundStore(states, thread)
        yield store
        store.finish()
