"""Ctrl-C and SIGTERM: who handles them, and blocks that they wait for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from types import FrameType

# What Python runs at a signal: a function, a number for "ignore" or "default", or what no Python code set.
Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | None"


def on_signals(handle: Callable[[int, FrameType | None], None]) -> dict[int, Handler]:
    """Handle Ctrl-C and SIGTERM, which the main thread alone may; returns what was there before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}


@contextmanager
def signals_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the block: their handler writes to the store that the block may hold locked."""
    came: list[int] = []
    handlers = on_signals(lambda number, frame: came.append(number))
    try:
        yield
    finally:
        restore(handlers)
        for number in came:
            signal.raise_signal(number)


def restore(handlers: dict[int, Handler]) -> None:
    """Handle signals as they were handled before."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
