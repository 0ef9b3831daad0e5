"""The line of progress at the widths of terminals, as they show it."""

import io
import re
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from bort_kedro.progress import track
from bort_kedro.progress_line import NARROWEST_BAR, WIDEST_BAR, FittingColumn

STUDENT = "training the distilled student (12, 16, 1024, 4096)"
STATUS = "5,318 tokens/s, masked lm loss 5.123, masked accuracy 0.123"
BAR = re.compile(r"[━╸╺]+")


def line(width, description, status="", done=44, total=700):
    """What a terminal of this width shows, with the bar whole: without colours rich leaves out what is to be done."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")
    progress = Progress(FittingColumn(), console=console)
    progress.add_task(description, total=total, completed=done, status=status)
    console.print(progress.get_renderable())
    return re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue()).removesuffix("\n").rstrip()


@pytest.mark.parametrize("width", [*range(40, 101), 200])
@pytest.mark.parametrize(("done", "total"), [(44, 700), (123456, 1000000)])
def test_bar_count_and_time_left_are_there_at_any_width(width, done, total):
    shown = line(width, STUDENT, STATUS, done, total)
    assert "\n" not in shown
    assert len(shown) <= width
    assert f" {done}/{total} --:-- left" in shown
    (bar,) = BAR.findall(shown)
    assert NARROWEST_BAR <= len(bar) <= WIDEST_BAR


def test_who_stops_asking_is_done_with_what_was_last_asked_for(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    for name, value in {"COLUMNS": "60", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    for number in track(range(1, 10), "counting", total=3, status=lambda: "half way"):
        if number == 3:
            break
    last = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", terminal.getvalue()).split("\r")[-1]
    assert BAR.sub("", last).strip() == "counting  3/3 00:00 left half way"


def test_a_wide_terminal_shows_all():
    assert line(200, STUDENT, STATUS) == f"{STUDENT} {'━━╸'}{'━' * 37} 44/700 --:-- left {STATUS}"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (40, "training the…  44/700 --:-- left"),
        (60, "training the teacher  44/700 --:-- left"),
        (80, "training the teacher  44/700 --:-- left 5,318 tokens/s"),
        (100, "training the teacher  44/700 --:-- left 5,318 tokens/s, masked lm loss 5.123"),
    ],
)
def test_what_else_is_to_say_is_shown_as_far_as_its_parts_fit_whole(width, shown):
    assert BAR.sub("", line(width, "training the teacher", STATUS)) == shown


def test_a_line_without_more_to_say_gives_the_room_to_the_bar():
    shown = line(50, "timing exports", done=1, total=2)
    assert shown == f"timing exports {'━' * 10}╺{'━' * 9} 1/2 --:-- left"
