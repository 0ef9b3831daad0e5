"""What the command lines of all benchmarks share."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from benchmarks.configured import PROJECT
from benchmarks.page import FOLDER

STATES = PROJECT / "data" / "06_models" / "training_states" / "bench"


def command_line(description: str | None, *, trains: bool = True) -> ArgumentParser:
    """A parser that knows where the page goes and, of a benchmark that trains, where its states are kept."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the page, docs/benchmarks unless given")
    if trains:
        parser.add_argument("--states", type=Path, default=STATES, help="folder of trainings, which are not repeated")
    return parser
