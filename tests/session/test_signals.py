"""A signal ends a run wherever it comes."""

import signal
import sys
import time

import pytest

from bort_kedro.session.signals import stop_for_sure


class SignalledAtItsEnd:
    """Python ignores what is raised while an object ends, whoever raises it."""

    def __del__(self):
        signal.raise_signal(signal.SIGUSR1)


@pytest.fixture
def handled():
    """What the handler of a signal was called for, in turn."""
    calls = []

    def handle(number, frame):
        calls.append(number)
        stop_for_sure(SystemExit(143), number)

    before, hook = signal.signal(signal.SIGUSR1, handle), sys.unraisablehook
    yield calls
    signal.signal(signal.SIGUSR1, before)
    sys.unraisablehook = hook


def test_a_signal_that_comes_while_an_object_ends_stops_the_run_all_the_same(handled):
    def go_on():
        SignalledAtItsEnd()
        time.sleep(10)

    with pytest.raises(SystemExit, match="143"):
        go_on()
    # What marks a run as killed is done once.
    assert handled == [signal.SIGUSR1]


def test_a_signal_that_comes_at_any_other_time_stops_the_run_at_once(handled):
    with pytest.raises(SystemExit, match="143"):
        signal.raise_signal(signal.SIGUSR1)
    assert handled == [signal.SIGUSR1]
