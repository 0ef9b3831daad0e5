"""The process in which findings are made: what hangs, dies or spoils its device there ends that process alone."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from benchmarks.pretrain.cuda.bench import Bench, Device
from benchmarks.pretrain.cuda.findings import Finding, Found

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# For imports from a cold disk and the start of CUDA.
START_SECONDS = 120.0
# Makes the device's bench and all findings, in the process: a function of a module, since its name is handed over.
Start = Callable[[], tuple[Bench, Sequence[Finding]]]


class Worker:
    """One process for all findings, or another after one that failed, since a device may then refuse everything.

    Args:
        start: What each process begins with.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._process: Any = None
        self._connection: Connection
        # What the processes so far found of speed.
        self._speeds: dict[Any, Any] = {}

    def begin(self) -> Device:
        """Begin a process.

        Raises:
            RuntimeError: If there is none that is ready in time.
        """
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._start, self._speeds), daemon=True)
        self._process.start()
        other.close()
        device: Device = self._answer(START_SECONDS)
        return device

    def find(self, number: int, seconds: float) -> Found:
        """What the finding of this number says; that it failed, if it does or takes longer than so many seconds."""
        try:
            if self._process is None:
                self.begin()
            self._connection.send(number)
            found, self._speeds = self._answer(seconds)
        except (RuntimeError, OSError) as fault:
            found = Found.failed(str(fault))
        if found.has_failed:
            self.end()
        return found

    def _answer(self, seconds: float) -> Any:
        try:
            if self._connection.poll(seconds):
                return self._connection.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"its process ended with code {self._process.exitcode}") from None
        raise RuntimeError(f"ended after {seconds:.0f} s, three times what was expected or all that was left")

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(connection: Connection, start: Start, speeds: dict[Any, Any]) -> None:
    bench, findings = start()
    bench.speeds.update(speeds)
    connection.send(bench.device)
    while True:
        found = found_of(findings[connection.recv()], bench)
        connection.send((found, bench.speeds))


def found_of(finding: Finding, bench: Bench) -> Found:
    """What a finding says, or its fault."""
    try:
        # Inside, since after some faults a device refuses even this.
        bench.device.clear()
        return finding.find(bench)
    # Whatever it is, on a device that none of this was run on: time on it is too dear to end here.
    except Exception as fault:
        traceback.print_exc(file=sys.stderr)
        return Found.failed(f"{type(fault).__name__}: {(str(fault) or 'no message').splitlines()[0]}")
