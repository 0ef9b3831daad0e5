"""Ctrl-C and SIGTERM: who handles them, and blocks that they wait for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    from types import FrameType

# What Python runs at a signal: a function, a number for "ignore" or "default", or what no Python code set.
Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | None"

# After an exception that Python has ignored, until its signal is sent once more.
SECONDS_TO_GO_ON = 0.1


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


def stop_for_sure(stop: BaseException, number: int) -> NoReturn:
    """Raise what ends the run from a signal's handler, and again, by sending the signal once more, if Python ignores
    it, as it does where an object's end was under way."""
    told, handler = sys.unraisablehook, signal.getsignal(number)

    def again(number: int, frame: FrameType | None) -> None:
        signal.signal(number, handler)
        stop_for_sure(stop, number)

    def look(ignored: sys.UnraisableHookArgs) -> None:
        if ignored.exc_value is not stop:
            told(ignored)
            return
        sys.unraisablehook = told
        signal.signal(number, again)
        # Not from here, where it would be ignored as well.
        threading.Timer(SECONDS_TO_GO_ON, os.kill, (os.getpid(), number)).start()

    sys.unraisablehook = look
    raise stop


def restore(handlers: dict[int, Handler]) -> None:
    """Handle signals as they were handled before."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
