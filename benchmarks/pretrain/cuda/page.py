"""The page of a CUDA device, docs/benchmarks/pretrain-cuda.*, as far as it is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.page import Part, table, write_page
from benchmarks.pretrain.cuda.bench import Device, Sizes, is_present
from benchmarks.pretrain.cuda.findings import Outcome
from benchmarks.pretrain.cuda.speed import TARGET_SHARE, has_target
from bort_kedro.reporting.markdown import number, percent

NAME, COMMAND = "pretrain-cuda", "make bench-cuda"
NOT_REACHED = "Not reached"


def line_of(outcome: Outcome) -> str:
    """For the terminal."""
    finding, found = outcome.finding, outcome.found
    if found is None:
        return f"{finding.part}: {finding.name}: not reached, {finding.seconds:.0f} s were not left"
    return f"{finding.part}: {finding.name}: {found.text} ({outcome.seconds:.1f} s)"


def write(outcomes: Sequence[Outcome], device: Device, sizes: Sizes, *, minutes: float, folder: Path) -> None:
    """Write all that is known so far, page and figures; what no time was left for at the end of the page."""
    parts = [Part("", _opening(device, sizes, minutes))]
    reached = [outcome for outcome in outcomes if outcome.found is not None]
    for title, group in groupby(reached, key=lambda outcome: outcome.finding.part):
        of_part = list(group)
        rows = [[each.finding.name, each.found.text, f"{each.seconds:.1f}"] for each in of_part if each.found]
        figures = [figure for each in of_part for figure in each.figures]
        parts.append(Part(title, table(["", "found", "s"], rows), figures))
    missed = [figure.name for part in parts for figure in part.figures if figure.met is False]
    if missed:
        parts.insert(1, Part("Missed", "\n".join(f"- {name}" for name in missed)))
    left = [outcome.finding for outcome in outcomes if outcome.found is None]
    if left:
        lines = [f"- {finding.part}: {finding.name} ({finding.seconds:.0f} s)" for finding in left]
        parts.append(Part(NOT_REACHED, "\n".join(lines)))
    conditions = {
        "device": device.name,
        "peak_flops": device.peak,
        "vocabulary_size": sizes.vocabulary_size,
        "precision": sizes.precision,
        "minutes": minutes,
    }
    title = "Pretraining on a CUDA device"
    write_page(NAME, title, parts, conditions, command=COMMAND, folder=folder, is_shown=False)


def _opening(device: Device, sizes: Sizes, minutes: float) -> str:
    peak = f"{number(device.peak / 1e12, 1)} TFLOP/s, {'its data sheet' if device.is_data_sheet else 'measured'}"
    aim = f"The aim is {percent(TARGET_SHARE)} of the peak without a teacher on an H100, whose peak an H200 has too"
    return (
        f"The project's own pretraining in {sizes.precision} on one {device.name} (peak {peak}), vocabulary "
        f"{sizes.vocabulary_size:,}, 15 % masked, all rows full, random ids and weights; the teacher has the shape "
        f"{sizes.teacher}. Each speed is of {(sizes.rows - 1) * sizes.steps_a_row} steps after {sizes.steps_a_row} of "
        "warm-up, of fewer where a batch is larger than the first. The share counts matrix products only, 6 FLOPs for "
        "each weight and token, the head on the predicted positions alone, and 2 for each of a live teacher. "
        f"{aim}{'' if has_target(device) else '; this is another device'}. Findings come in the order of "
        f"their weight, within {minutes:g} minutes."
    )


def sentence(folder: Path) -> str:
    """For the page of the CPU: where the figures of a device stand."""
    page = folder / f"{NAME}.md"
    if is_present():
        return f"Measured on this machine's device: [{NAME}.md]({NAME}.md)."
    if page.exists():
        return f"What was measured on a CUDA device stands in [{NAME}.md]({NAME}.md)."
    return f"Never run on CUDA: no device was at hand; `{COMMAND}` measures one and writes {NAME}.md."
