"""The page of how far two runs of one training are apart."""

from __future__ import annotations

from pathlib import Path

from benchmarks.page import FOLDER, Figure, Part, table, write_page
from benchmarks.reproducibility.settings import REFERENCE
from benchmarks.reproducibility.trainings import Difference, Outcome
from bort_kedro.reporting.markdown import MISSING, number, percent

HEADER = ("", "weights equal", "first step whose loss differs", "weights apart", "loss on test", "accuracy on test")


def write(outcomes: dict[str, Outcome], num_steps: int, folder: Path = FOLDER) -> None:
    """Write reproducibility.md and .json."""
    differences = {name: each.apart_from(outcomes[REFERENCE]) for name, each in outcomes.items() if name != REFERENCE}
    rows = [[name, *_cells(difference)] for name, difference in differences.items()]
    figures = [figure for name, difference in differences.items() for figure in _figures(name, difference)]
    write_page(
        "reproducibility",
        "Reproducibility: how far two runs of one training are apart",
        [Part("", _preface(outcomes[REFERENCE], num_steps)), Part("", table(HEADER, rows), figures)],
        {"num_steps": num_steps, "environment": "smoke", "variants": list(outcomes)},
        packages=("torch", "transformers", "numpy"),
        folder=folder,
    )


def _preface(reference: Outcome, num_steps: int) -> str:
    return (
        f"An encoder of the smoke environment, trained from random weights for {num_steps} steps of 512 tokens, once "
        "for each row, in a process of its own that differs from the reference in what the row names. The reference "
        f"has one thread, fp32 and no dropout; on test it has a loss of {number(reference.loss, 4)} ± "
        f"{number(reference.loss_standard_error, 4)} nats and predicts {percent(reference.accuracy)} of the hidden "
        "tokens. `Weights apart` is the length of the difference of all weights as a share of their length. Another "
        "seed is there to compare: what is far below it changes no conclusion. Older processors are emulated: torch, "
        "oneDNN and MKL are told not to use what those lack."
    )


def _cells(difference: Difference) -> list[str]:
    return [
        "yes" if difference.is_equal else "no",
        str(difference.first_step or MISSING),
        f"{difference.weights:.1e}",
        f"{difference.loss:+.1e}",
        f"{100 * difference.accuracy:+.2f} points",
    ]


def _figures(name: str, difference: Difference) -> list[Figure]:
    return [
        Figure(f"{name}: weights equal", float(difference.is_equal), "share"),
        Figure(f"{name}: weights apart", difference.weights, "share"),
        Figure(f"{name}: loss on test", difference.loss, "nats"),
        Figure(f"{name}: accuracy on test", difference.accuracy, "share"),
    ]
