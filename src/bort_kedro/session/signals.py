"""Ctrl-C and SIGTERM: who handles them, and blocks that they wait for."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TypeAlias

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


def stop_for_sure(stop: BaseException) -> NoReturn:
    """Raise from a signal's handler, and again if Python ignores it, as it does where an object's end was under way."""
    told = sys.unraisablehook

    def again(frame: FrameType, event: str, argument: object) -> NoReturn:
        # By which Python takes this function off again.
        raise stop

    def look(ignored: sys.UnraisableHookArgs) -> None:
        if ignored.exc_value is not stop:
            told(ignored)
            return
        # From here it would be ignored as well, so at the next line of whatever goes on.
        for frame, _ in traceback.walk_stack(sys._getframe().f_back):
            frame.f_trace = again
        sys.settrace(again)

    sys.unraisablehook = look
    raise stop


def restore(handlers: dict[int, Handler]) -> None:
    """Handle signals as they were handled before."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
