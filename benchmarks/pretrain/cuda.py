"""Pretraining on a CUDA device: best batch, tokens/s, share of its peak; writes docs/benchmarks/pretrain-cuda.*."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.command import command_line
from benchmarks.own_process import in_own_process
from benchmarks.page import Figure, Part, table, write_page
from benchmarks.pretrain.material import (
    MAX_POSITIONS,
    Setting,
    encoder,
    random_tokens,
    seconds_between,
    settings_of,
)
from bort_kedro.encoders.shapes import BERT_BASE, BORT, BertShape
from bort_kedro.encoders.training_cost import forward_flops
from bort_kedro.reporting.markdown import number, percent

NAME = "pretrain-cuda"
COMMAND = "python -m benchmarks.pretrain.cuda"
SHAPES = {"Bort": BORT, "BERT-base": BERT_BASE}
LENGTHS = (128, MAX_POSITIONS)
# Tokens of the smallest batch tried; each further one is twice as large.
FIRST_BATCH_TOKENS = 8192
# A batch twice as large is worth its memory only if it is at least this much faster.
WORTH_IT = 1.01
# The loop looks at the losses, which waits for the device, once in `STEPS_A_ROW` steps, as in a long training.
ROWS, STEPS_A_ROW = 5, 10
# What GPU-hours are stated for.
STATED_TOKENS = 10_000_000_000
TARGET_DEVICE, TARGET_SHARE = "H100", 0.5


@dataclass(frozen=True)
class Speed:
    """What one training on the device gave.

    Args:
        batch_size: Rows of a step.
        tokens_per_second: Of the timed steps together.
        peak_share: Share of the device's peak, by model-FLOP utilisation.
        peak_bytes: Largest memory that torch took on the device.
    """

    batch_size: int
    tokens_per_second: float
    peak_share: float
    peak_bytes: int


def is_present() -> bool:
    """Whether there is a CUDA device."""
    import torch

    return torch.cuda.is_available()


def speeds(setting: Setting, *, compiles: bool) -> list[Speed]:
    """Train with ever larger batches, from the setting's on: until memory runs out or twice the batch is no faster.

    Args:
        setting: The smallest batch; in bf16.
        compiles: Whether model and loss go through torch.compile.

    Returns:
        One for each batch size that fitted, smallest first; the last may be no faster than the one before it.
    """
    import torch

    found: list[Speed] = []
    while (speed := _speed(setting, compiles=compiles)) is not None:
        found.append(speed)
        if len(found) > 1 and speed.tokens_per_second < WORTH_IT * found[-2].tokens_per_second:
            break
        setting = replace(setting, batch_size=2 * setting.batch_size)
        if compiles:
            # Otherwise the compiler would take the batch size for a variable, and make slower kernels.
            torch.compiler.reset()
        torch.cuda.empty_cache()
    return found


def _speed(setting: Setting, *, compiles: bool) -> Speed | None:
    """None where the device has too little memory."""
    import torch

    from bort_kedro.errors import TrainingError
    from bort_kedro.pretraining.pretrain import pretrain
    from bort_kedro.training.loop import HISTORY_ROWS
    from bort_kedro.training.throughput import peak_flops

    # A training of so many steps tells a row of them at a time; this one is stopped early.
    whole = HISTORY_ROWS * STEPS_A_ROW
    steps = ROWS * STEPS_A_ROW
    settings = settings_of(replace(setting, mixed_precision="bf16"), num_steps=whole).changed(torch_compile=compiles)
    torch.cuda.reset_peak_memory_stats()
    ends: list[float] = []
    try:
        pretrain(
            encoder(setting.shape, setting),
            random_tokens(setting, num_blocks=16 * setting.batch_size),
            settings,
            states=None,
            name="benchmark",
            stop_at=steps,
            on_row=lambda row: ends.append(time.perf_counter()),
            measures_speed=True,
        )
    except (TrainingError, torch.OutOfMemoryError) as fault:
        if isinstance(fault, torch.OutOfMemoryError) or isinstance(fault.__cause__, torch.OutOfMemoryError):
            return None
        raise
    # The first row ends the warm-up, compiling included.
    seconds = seconds_between(ends, replace(setting, warmup_steps=1))
    tokens_per_second = len(seconds) * STEPS_A_ROW * setting.step_tokens / sum(seconds)
    peak = peak_flops("cuda", "bf16", torch.get_num_threads())
    share = tokens_per_second * step_flops(setting) / setting.step_tokens / peak
    return Speed(setting.batch_size, tokens_per_second, share, torch.cuda.max_memory_allocated())


def step_flops(setting: Setting) -> float:
    """FLOPs of a step's matrix products; backward does twice the work of forward."""
    return 3 * forward_flops(
        setting.shape,
        vocabulary_size=setting.vocabulary_size,
        num_tokens=setting.step_tokens,
        sum_of_squared_lengths=setting.batch_size * setting.sequence_length**2,
        num_predicted=setting.num_predicted,
        sum_of_predicted_lengths=setting.num_predicted * setting.sequence_length,
    )


def device_of() -> dict[str, Any]:
    """Name of the device, its bf16 peak in FLOP/s, and whether that is a data sheet's."""
    import torch

    from bort_kedro.training.devices import data_sheet_of
    from bort_kedro.training.throughput import peak_flops

    name = torch.cuda.get_device_name()
    is_known = data_sheet_of(name) is not None
    return {"name": name, "peak": peak_flops("cuda", "bf16", torch.get_num_threads()), "is_data_sheet": is_known}


def measure() -> dict[tuple[str, int, bool], list[Speed]]:
    """`speeds` by name of the shape, length and whether compiled; compiled ones start from the best batch without."""
    found: dict[tuple[str, int, bool], list[Speed]] = {}
    for (name, shape), length in product(SHAPES.items(), LENGTHS):
        first = FIRST_BATCH_TOKENS // length
        for compiles in (False, True):
            setting = _setting(shape, length, first)
            found[name, length, compiles] = in_own_process({}, speeds, setting, compiles=compiles)
            first = best(found[name, length, compiles], first).batch_size
    return found


def _setting(shape: BertShape, length: int, batch_size: int) -> Setting:
    return Setting(shape=shape, sequence_length=length, batch_size=batch_size)


def best(found: list[Speed], first: int) -> Speed:
    """The fastest; one of no speed where not even the first batch fitted."""
    return max(found, key=lambda speed: speed.tokens_per_second, default=Speed(first, 0.0, 0.0, 0))


def write(found: dict[tuple[str, int, bool], list[Speed]], device: dict[str, Any], folder: Path) -> None:
    """The page of the device and its figures."""
    target = TARGET_SHARE if TARGET_DEVICE in device["name"] else None
    rows, figures = [], []
    for (name, length, compiles), tried in found.items():
        fastest = best(tried, FIRST_BATCH_TOKENS // length)
        speed = fastest.tokens_per_second or None
        hours = STATED_TOKENS / speed / 3600 if speed else None
        share = fastest.peak_share if speed else None
        title = f"{name}, {length} tokens, {'torch.compile' if compiles else 'eager'}"
        figures += [
            Figure(f"{title}: tokens/s", speed, "tokens/s"),
            Figure(
                f"{title}: share of the device's bf16 peak",
                share,
                "share",
                target=target,
                met=None if target is None else share is not None and share >= target,
            ),
            Figure(f"{title}: best batch size", float(fastest.batch_size) if speed else None, "rows"),
            Figure(f"{title}: GPU-hours for {STATED_TOKENS:,} tokens", hours, "h"),
        ]
        tried_text = ", ".join(f"{each.batch_size}: {each.tokens_per_second:,.0f}" for each in tried)
        rows.append(
            [
                title,
                str(fastest.batch_size) if speed else "none fits",
                number(speed, 0),
                percent(share),
                number(fastest.peak_bytes / 1e9 if speed else None, 1),
                number(hours, 1),
                tried_text,
            ]
        )
    peak = f"{device['peak'] / 1e12:.0f} TFLOP/s, {'its data sheet' if device['is_data_sheet'] else 'measured'}"
    header = ["encoder", "best batch", "tokens/s", "of the peak", "GB", f"GPU-hours, {STATED_TOKENS // 10**9} G tokens"]
    body = (
        f"The project's own pretraining in bf16 on one {device['name']} (peak {peak}), vocabulary 50 265, 15 % masked, "
        "all rows full, random ids. Batches are doubled until memory runs out or twice the batch is less than "
        f"{100 * (WORTH_IT - 1):.0f} % faster; compiled trainings start from the best batch without. Each speed is of "
        f"{(ROWS - 1) * STEPS_A_ROW} steps after {STEPS_A_ROW} steps of warm-up. The share counts matrix products "
        "only, 6 FLOPs for each weight and token, the head on the predicted positions alone.\n\n"
        + table([*header, "tokens/s by batch size tried"], rows)
        + f"\n\n{_verdict(figures, target)}"
    )
    conditions = {
        "device": device["name"],
        "peak_flops": device["peak"],
        "vocabulary_size": 50_265,
        "precision": "bf16",
    }
    parts = [Part("", body, figures)]
    write_page(NAME, "Pretraining on a CUDA device", parts, conditions, command=COMMAND, folder=folder)


def _verdict(figures: list[Figure], target: float | None) -> str:
    if target is None:
        return (
            f"The aim of {percent(TARGET_SHARE)} of the peak is stated for an {TARGET_DEVICE}; this is another device."
        )
    missed = [each.name.split(":")[0] for each in figures if each.met is False]
    return (
        f"{percent(target)} of the peak is missed by: {'; '.join(missed)}."
        if missed
        else f"All reach {percent(target)} of the peak."
    )


def sentence(folder: Path) -> str:
    """For the page of the CPU: where the figures of a device stand."""
    page = folder / f"{NAME}.md"
    if is_present():
        return f"Measured on this machine's device: [{NAME}.md]({NAME}.md)."
    if page.exists():
        return f"What was measured on a CUDA device stands in [{NAME}.md]({NAME}.md)."
    return f"Never run on CUDA: no device was at hand; `{COMMAND}` measures one and writes {NAME}.md."


def measure_and_write(folder: Path) -> None:
    """Measure the device that is there, and write its page."""
    write(measure(), in_own_process({}, device_of), folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write, or say that there is no device."""
    given = command_line(__doc__, trains=False).parse_args(arguments)
    if not is_present():
        sys.exit("There is no CUDA device on this machine; nothing was measured.")
    measure_and_write(given.folder)


if __name__ == "__main__":
    main()
