"""Tokens a second, share of the peak, the best batch, torch.compile and forward passes; and hours made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.page import Figure
from benchmarks.pretrain.cuda.bench import CACHED, LIVE, NO_TEACHER, Bench, Case, Device, Speed
from benchmarks.pretrain.cuda.findings import Found
from benchmarks.pretrain.cuda.memory import KeptTargets
from benchmarks.pretrain.material import Setting, encoder, random_tokens, settings_of
from bort_kedro.reporting.markdown import number, percent
from bort_kedro.training.devices import DATA_SHEETS, data_sheet_of

if TYPE_CHECKING:
    from bort_kedro.pretraining.distillation import Distillation

# A batch twice as large is worth its memory only if it is at least this much faster.
WORTH_IT = 1.01
# Batches of random tokens, which a training repeats; a cached teacher is asked about each.
NUM_BATCHES = 16
TARGET_SHARE = 0.5
# What GPU-hours are stated for.
STATED_TOKENS = 1_000_000_000
LATENCY_LENGTH, LATENCY_TURN_MS, LATENCY_WARMUP_ROUNDS = 128, 20.0, 3


def speed_of(case: Case) -> Callable[[Bench], Found]:
    """Of a training with the first batch, or the largest half of it that fits."""

    def find(bench: Bench) -> Found:
        setting = bench.sizes.setting(case.shape, case.length)
        while (speed := measured(bench, setting, case)) is None and setting.batch_size > 1:
            setting = replace(setting, batch_size=setting.batch_size // 2)
        if speed is None:
            return Found("not even one row fits the memory", [Figure(f"{case}: tokens/s", None, "tokens/s")])
        bench.speeds[case] = [speed]
        return Found(*_told(case, speed))

    return find


def _told(case: Case, speed: Speed) -> tuple[str, list[Figure]]:
    figures = [
        Figure(f"{case}: tokens/s", speed.tokens_per_second, "tokens/s"),
        Figure(f"{case}: share of the device's peak", speed.peak_share, "share"),
    ]
    text = (
        f"{number(speed.tokens_per_second, 0)} tokens/s, {percent(speed.peak_share)} of the peak, "
        f"{speed.batch_size} rows, {number(speed.peak_bytes / 1e9, 1)} GB"
    )
    if speed.fill_tokens_per_second is not None:
        text += f"; the cache is filled with {number(speed.fill_tokens_per_second, 0)} tokens/s"
        figures.append(Figure(f"{case}: filling the cache", speed.fill_tokens_per_second, "tokens/s"))
    return text, figures


def measured(bench: Bench, setting: Setting, case: Case) -> Speed | None:
    """None where the device has too little memory."""
    import torch

    from bort_kedro.errors import FailedTrainingError
    from bort_kedro.pretraining.pretrain import pretrain
    from bort_kedro.training.loop import HISTORY_ROWS

    steps, targets = bench.sizes.steps_of(setting), KeptTargets()
    # A training of so many steps tells a row of them at a time; this one is stopped early.
    settings = settings_of(setting, num_steps=HISTORY_ROWS * steps).changed(torch_compile=case.compiles)
    tokens = random_tokens(setting, num_blocks=NUM_BATCHES * setting.batch_size)
    if case.teacher == NO_TEACHER:
        bench.without_teacher()
    bench.device.clear()
    try:
        rows = pretrain(
            encoder(setting.shape, setting),
            tokens,
            settings,
            states=None,
            name="benchmark",
            distillation=_distillation(bench, setting, case.teacher, targets),
            stop_at=bench.sizes.rows * steps,
            measures_speed=True,
        ).history
    except FailedTrainingError as fault:
        if isinstance(fault.__cause__, torch.OutOfMemoryError | MemoryError):
            return None
        raise
    # The first row ends the warm-up, compiling included. All have as many tokens, so the times are what to average.
    seconds = [steps * setting.step_tokens / row["tokens_per_second"] for row in rows[1:]]
    busy = sum(row["model_flop_utilization"] * time for row, time in zip(rows[1:], seconds, strict=True))
    speed = len(seconds) * steps * setting.step_tokens / sum(seconds)
    filled = int(tokens.splits["train"].lengths.sum()) / targets.seconds if targets.chunks else None
    return Speed(setting.batch_size, speed, busy / sum(seconds), bench.device.peak_bytes(), filled)


def _distillation(bench: Bench, setting: Setting, teacher: str, targets: KeptTargets) -> Distillation | None:
    from benchmarks.pretrain.systems import TOP_K, distillation_of
    from bort_kedro.pretraining.distillation import TeacherCache

    if teacher == NO_TEACHER:
        return None
    top_k = min(TOP_K, setting.vocabulary_size)
    cache = {LIVE: None, CACHED: TeacherCache(top_k=top_k, num_epochs=1, store=targets)}[teacher]
    return distillation_of(bench.teacher(), setting, cache=cache)


def best_batch(case: Case) -> Callable[[Bench], Found]:
    """Ever larger batches, from the one measured on: until memory runs out or twice the batch is no faster."""

    def find(bench: Bench) -> Found:
        tried = bench.speeds.setdefault(case, [])
        setting = bench.sizes.setting(case.shape, case.length)
        if tried:
            setting = replace(setting, batch_size=2 * tried[-1].batch_size)
        while (speed := measured(bench, setting, case)) is not None:
            tried.append(speed)
            if len(tried) > 1 and speed.tokens_per_second < WORTH_IT * tried[-2].tokens_per_second:
                break
            setting = replace(setting, batch_size=2 * setting.batch_size)
        best = bench.best(case)
        if best is None:
            return Found("none fits the memory", [Figure(f"{case}: best batch size", None, "rows")])
        text = ", ".join(f"{each.batch_size}: {number(each.tokens_per_second, 0)}" for each in tried)
        said, figures = _told(case, best)
        figures = [replace(figure, name=f"{figure.name}, best batch") for figure in figures]
        return Found(
            f"{said}; tokens/s by rows: {text}",
            [*figures, Figure(f"{case}: best batch size", float(best.batch_size), "rows")],
        )

    return find


def compiled(case: Case) -> Callable[[Bench], Found]:
    """torch.compile on and off, at the best batch without."""

    def find(bench: Bench) -> Found:
        plain = bench.best(replace(case, compiles=False))
        setting = bench.sizes.setting(case.shape, case.length)
        speed = measured(bench, replace(setting, batch_size=plain.batch_size) if plain else setting, case)
        if speed is None:
            return Found("does not fit the memory", [Figure(f"{case}: tokens/s", None, "tokens/s")])
        bench.speeds[case] = [speed]
        text, figures = _told(case, speed)
        if plain is None:
            return Found(f"{text}; without it nothing was measured", figures)
        times = speed.tokens_per_second / plain.tokens_per_second
        return Found(
            f"{text}; {times:.2f} times as fast as without", [*figures, Figure(f"{case}: over eager", times, "x")]
        )

    return find


def latencies(bench: Bench) -> Found:
    """Forward passes of the encoders without a head, side by side."""
    from bort_kedro.latency.conditions import Condition
    from bort_kedro.latency.shapes import time_conditions

    sizes = bench.sizes
    length = min(LATENCY_LENGTH, *sizes.lengths)
    conditions = [Condition(batch, length, 1, device=bench.device.kind) for batch in sizes.latency_batches]
    found = time_conditions(
        list(sizes.shapes.values()),
        conditions,
        vocabulary_size=sizes.vocabulary_size,
        warmup_rounds=LATENCY_WARMUP_ROUNDS,
        timed_rounds=sizes.latency_rounds,
        turn_ms=LATENCY_TURN_MS,
    )
    texts, figures = [], []
    for condition, timings in found.items():
        under = f"batch {condition.batch_size}, {length} tokens, fp32"
        times = dict(zip(sizes.shapes, (timing.median_ms for timing in timings), strict=True))
        texts.append(f"{under}: " + ", ".join(f"{name} {time:.2f} ms" for name, time in times.items()))
        figures += [Figure(f"{name}, {under}: median latency", time, "ms") for name, time in times.items()]
    return Found("; ".join(texts), figures)


def hours(bench: Bench) -> Found:
    """What the speeds found so far come to."""
    figures = []
    for case in bench.speeds:
        if best := bench.best(case):
            name = f"{case}: GPU-hours for {STATED_TOKENS:,} tokens"
            figures.append(Figure(name, STATED_TOKENS / best.tokens_per_second / 3600, "h"))
    said = "; ".join(f"{figure.name.split(':')[0]}: {number(figure.value, 2)} h" for figure in figures)
    return Found(said or "no speed was measured", figures)


def has_target(device: Device) -> bool:
    """Whether the aim is for such a device: the data sheet of an H200 has the peak of an H100."""
    sheets = {sheet.name: sheet.half for sheet in DATA_SHEETS}
    found = data_sheet_of(device.name)
    return found is not None and found.half == sheets["H100"]


def aim(bench: Bench) -> Found:
    """The largest share of the peak that each shape reached without a teacher, held against the aim."""
    figures = []
    for shape in bench.sizes.shapes:
        cases = [case for case in bench.speeds if case.shape == shape and case.teacher == NO_TEACHER]
        share = max((speed.peak_share for case in cases for speed in bench.speeds[case]), default=None)
        if has_target(bench.device):
            met = None if share is None else share >= TARGET_SHARE
            figures.append(Figure(f"{shape}: largest share of the peak", share, "share", TARGET_SHARE, met))
        else:
            figures.append(Figure(f"{shape}: largest share of the peak", share, "share"))
    verdicts = {None: "", True: " (met)", False: " (**missed**)"}
    told = (f"{figure.name} {percent(figure.value)}{verdicts[figure.met]}" for figure in figures)
    return Found(f"{percent(TARGET_SHARE)} of the peak without a teacher: {'; '.join(told)}", figures)
