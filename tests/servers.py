"""Servers on this machine, each in processes of its own that end with the test."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# Until a server answers: it imports for half a minute where the machine is busy.
SECONDS = 900


@contextmanager
def serving(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, path: str = ""
) -> Iterator[str]:
    """The address of a server while it runs.

    Args:
        words: Its command, with ``{port}`` where a free port belongs.
        folder: In which it is started.
        environment: All its variables.
        log: File for what it prints.
        path: What is asked, below the address, to see whether it is up.
    """
    port = _free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [word.format(port=port) for word in words],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(process, f"{address}/{path}", log)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _free_port() -> int:
    """One below those that the system gives to clients, among which are some that Kedro-Viz refuses: above 49151."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("none of a hundred ports from 20000 to 32000 is free")


def _wait_until_up(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"no answer from {address} after {SECONDS} s: {log.read_text()}"
            time.sleep(0.2)
