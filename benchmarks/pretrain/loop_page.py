"""Where the time of a step goes, by the parts of the loop and by the machine's own matrix products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.page import Figure, Part, table
from benchmarks.pretrain.goals import Measured, step_flops
from benchmarks.pretrain.material import Setting
from benchmarks.pretrain.overhead import BACKWARD, BATCHES, FORWARD, OPTIMIZER, WORK, StepParts
from bort_kedro.reporting.markdown import bullets, number, percent

PRECISIONS = {"no": "fp32", "bf16": "bf16"}
STATE_INTERVAL = 200  # checkpoint_every_steps of conf/base
# Backward has two products for each of forward.
PRODUCTS = {FORWARD: 1 / 3, BACKWARD: 2 / 3}


def _loops(measured: Measured) -> Iterator[tuple[str, str, Setting, list[StepParts]]]:
    """Title, precision, setting and rounds of each loop that was looked into."""
    for setting, loops in ((measured.setting, measured.loops), (measured.small, measured.small_loops)):
        for precision, rounds in loops.items():
            yield f"{setting.shape}, {PRECISIONS[precision]}", precision, setting, rounds


def _step_seconds(rounds: list[StepParts]) -> float:
    return float(np.median([np.median(parts.step_seconds) for parts in rounds]))


def _shares(rounds: list[StepParts]) -> dict[str, float]:
    return {part: float(np.median([each.share(part) for each in rounds])) for part in (*WORK, BATCHES)}


def loop_part(measured: Measured) -> Part:
    """Shares of the parts of the loop."""
    rows, figures = [], []
    for title, _, _, rounds in _loops(measured):
        step, shares = _step_seconds(rounds), _shares(rounds)
        state = float(np.median([each.state_seconds for each in rounds]))
        state_share = state / (STATE_INTERVAL * step)
        rows.append(
            [title, number(1000 * step, 1), *map(percent, shares.values()), number(state, 2), percent(state_share)]
        )
        figures += [
            *(Figure(f"{title}: share of a step, {part}", share, "share") for part, share in shares.items()),
            Figure(f"{title}: writing a whole state", state, "s"),
            Figure(f"{title}: states every {STATE_INTERVAL} steps, of the steps' time", state_share, "share"),
        ]
    header = ["shape", "ms a step", *WORK, BATCHES, "s a state", f"states every {STATE_INTERVAL} steps"]
    text = (
        "Timers around the parts of the real loop, in processes of their own. Clipping and zeroing the gradient count "
        "as the optimiser's; the learning rate, batches, reading the losses, the meter of speed and progress as the "
        "loop's. States are not in these shares: one is written after the last timed step and stands apart, model and "
        "optimiser together."
    )
    return Part("Inside the loop", f"{text}\n\n{table(header, rows)}", figures)


def products_part(measured: Measured) -> Part:
    """Share of the machine's rate of matrix products that forward, backward and the whole step reach."""
    rows, notes, figures = [], [], []
    for title, precision, setting, rounds in _loops(measured):
        # What the products of a step would take at the machine's rate.
        ideal = step_flops(setting, teacher=False, everywhere=False) / measured.product_rates[precision]
        step, shares = _step_seconds(rounds), _shares(rounds)
        reached = {part: PRODUCTS[part] * ideal / (shares[part] * step) for part in PRODUCTS}
        reached["whole step"] = ideal / step
        rows.append([title, *map(percent, reached.values())])
        figures += [
            Figure(f"{title}: of the matrix products' rate, {part}", of, "share") for part, of in reached.items()
        ]
        beyond = sum(shares[part] for part in PRODUCTS) - ideal / step
        loop = 1.0 - sum(shares[part] for part in WORK)
        notes.append(
            f"{title}: of a step, {percent(ideal / step)} is what its matrix products take at that rate, "
            f"{percent(beyond)} what forward and backward take beyond (smaller products, and all that is none), "
            f"{percent(shares[OPTIMIZER])} the optimiser, {percent(loop)} the loop."
        )
    text = (
        "The FLOPs of a step's matrix products, the head on the predicted positions alone, by the seconds they took, "
        f"over the rate of one large product, {_rates(measured)}, measured in the same run. Backward has two products "
        "for each of forward."
    )
    header = ["shape", *PRODUCTS, "whole step"]
    body = f"{text}\n\n{table(header, rows)}\n\n{bullets(notes)}"
    return Part("By the machine's own matrix products", body, figures)


def _rates(measured: Measured) -> str:
    return " and ".join(
        f"{measured.product_rates[precision] / 1e9:,.0f} GFLOP/s in {PRECISIONS[precision]}"
        for precision in measured.loops
    )
