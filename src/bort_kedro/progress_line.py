"""A line of progress that fits the terminal: bar, count and time left at any width, the rest as there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import ProgressColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement
    from rich.progress import Task

NARROWEST_BAR, WIDEST_BAR = 8, 40


class FittingColumn(ProgressColumn):
    """The only column of a line; tasks have a field ``status``, parts with commas between them."""

    def __init__(self) -> None:
        super().__init__()
        self._time_left = TimeRemainingColumn(compact=True)

    def render(self, task: Task) -> _Line:
        count = f"{int(task.completed)}/{int(task.total or 0)}"
        return _Line(task, f"{count} {self._time_left.render(task).plain} left")


class _Line:
    def __init__(self, task: Task, count: str) -> None:
        self._task, self._count = task, count

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement(options.max_width, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - NARROWEST_BAR - len(self._count) - 2
        said = Text(self._task.description, no_wrap=True)
        said.truncate(max(room, 0), overflow="ellipsis")
        room -= said.cell_len
        status = _parts_that_fit(self._task.fields["status"], room - 1)
        bar = min(NARROWEST_BAR + room - len(f" {status}".rstrip()), WIDEST_BAR)
        shown = ProgressBar(total=self._task.total, completed=self._task.completed, width=bar)
        line = Table.grid(padding=(0, 1))
        line.add_row(said, shown, *(Text(text, no_wrap=True) for text in (self._count, status) if text))
        yield line


def _parts_that_fit(status: str, width: int) -> str:
    """As many of the first parts as fit whole."""
    parts = status.split(", ")
    fitting = (", ".join(parts[:number]) for number in range(len(parts), 0, -1))
    return next((text for text in fitting if len(text) <= width), "")
