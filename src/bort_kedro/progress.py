"""Progress with time left: a bar in a terminal, a line every few seconds in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 10.0


def track(
    items: Iterable[Item], description: str, *, total: int, start: int = 0, status: Callable[[], str] = lambda: ""
) -> Iterator[Item]:
    """Yield the items while showing how far it is and how long is left; a description of "" shows nothing.

    The total, and the number done before, are those of the whole; what else to say is asked when it is shown.
    """
    if not description:
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, description, total, start, status)
    else:
        yield from _lines(items, description, total, start, status)


def _bar(items: Iterable[Item], description: str, total: int, start: int, status: Callable[[], str]) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import Progress

    from bort_kedro.progress_line import FittingColumn

    with Progress(FittingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, completed=start, status="")
        for item in items:
            try:
                yield item
            finally:  # who stops asking is done with the last one, too
                progress.update(task, advance=1, status=status())


def _lines(
    items: Iterable[Item], description: str, total: int, start: int, status: Callable[[], str]
) -> Iterator[Item]:
    began = spoke = time.monotonic()
    for done, item in enumerate(items, start + 1):
        yield item
        now = time.monotonic()
        if now - spoke > SECONDS_BETWEEN_LINES and done < total:
            left = (now - began) / (done - start) * (total - done)
            said = f", {text}" if (text := status()) else ""
            LOGGER.info("%s: %d of %d, %.0f s left%s", description, done, total, left, said)
            spoke = now
