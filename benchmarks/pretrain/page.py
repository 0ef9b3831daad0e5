"""The page of the pretraining benchmark, and its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.page import Figure, Part, table, write_page
from benchmarks.pretrain.goals import CACHED, TRAINER, Measured, goals_of
from benchmarks.pretrain.loop_page import PRECISIONS, loop_part, products_part
from benchmarks.pretrain.material import DROPOUT
from benchmarks.pretrain.processors import COMMAND, PREFIX, name_of_processor, write_side_by_side
from benchmarks.pretrain.systems import TOP_K
from bort_kedro.reporting.markdown import bullets, number, percent

TITLES = {
    "trainer": "Trainer",
    "ours": "ours",
    "trainer_with_teacher": "naive distillation",
    "ours_live": "ours, teacher live",
    "ours_cached": f"ours, cached top-{TOP_K}",
}
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers")


def write(measured: Measured, *, num_rounds: int, about_cuda: str, folder: Path) -> None:
    """Write the page of this processor and its figures, and the page on which all processors stand side by side.

    Args:
        measured: On the CPU.
        num_rounds: Of the trainings.
        about_cuda: Sentence on where the figures of a device stand.
        folder: For page and figures.
    """
    goals, setting = goals_of(measured), measured.setting
    missed = [f"{goal.name}: {goal.why}" for goal in goals if goal.met is False]
    rates = [
        Figure(f"matrix product, {PRECISIONS[name]}", rate / 1e9, "GFLOP/s")
        for name, rate in measured.product_rates.items()
    ]
    header = ["figure", "median", "over the rounds", "target", "met"]
    parts = [
        Part("", _compared(measured, num_rounds), rates),
        Part("", table(header, [goal.row() for goal in goals]), [goal.figure() for goal in goals]),
        Part("What was missed, and why", bullets(missed) if missed else "Nothing."),
        _speed_part(measured),
        loop_part(measured),
        products_part(measured),
        _cache_part(measured),
        _preparation_part(measured),
    ]
    conditions = {
        "shape": str(setting.shape),
        "teacher_shape": str(setting.teacher_shape),
        "vocabulary_size": setting.vocabulary_size,
        "batch_size": setting.batch_size,
        "sequence_length": setting.sequence_length,
        "masked_share": setting.masked_share,
        "num_threads": setting.num_threads,
        "rounds": num_rounds,
        "timed_steps": setting.timed_steps,
    }
    name = f"{PREFIX}{name_of_processor()}"
    write_page(name, "Pretraining", parts, conditions, command=COMMAND, packages=PACKAGES, folder=folder)
    write_side_by_side(about_cuda, folder)


def _compared(measured: Measured, num_rounds: int) -> str:
    setting, rates = measured.setting, measured.product_rates
    optimizer = measured.trainings[TRAINER][0].others["optimizer"]
    return (
        f"Shape {setting.shape}, vocabulary {setting.vocabulary_size:,}, {setting.batch_size} x "
        f"{setting.sequence_length} tokens a step, all full, {percent(setting.masked_share)} masked, random ids, "
        f"dropout {DROPOUT}, {setting.num_threads} threads. *Trainer* is `transformers.Trainer` with "
        f"`DataCollatorForLanguageModeling` and its defaults (optimiser `{optimizer}`), nothing logged, saved or "
        "evaluated. *Ours* is the project's own `pretrain`, whole. *Naive distillation* is the Trainer with a teacher "
        f"of shape {setting.teacher_shape} beside it: both give logits at every position, the divergence takes the "
        "masked ones over the whole vocabulary, weights and temperature as ours. All start from the same random "
        "weights.\n\n"
        f"Every training is a process of its own. In each of {num_rounds} rounds each takes one turn, in rotating "
        f"order; a turn is {setting.warmup_steps} step(s) of warm-up and {setting.timed_steps} timed, from the end of "
        "one step to the end of the next, batches included. A ratio is taken inside a round; the table gives the "
        "median and the range of the rounds. Memory is the largest resident memory of such a process, libraries "
        "included, which are not the same on both sides. Matrix products run at "
        f"{rates['no'] / 1e9:.0f} GFLOP/s in fp32 and {rates['bf16'] / 1e9:.1f} in bf16 here."
    )


def _speed_part(measured: Measured) -> Part:
    rows, figures = [], []
    for (name, precision), taken in measured.trainings.items():
        title = f"{TITLES[name]}, {PRECISIONS[precision]}"
        steps = measured.step_seconds((name, precision))
        step = float(np.median(steps))
        peak = float(np.median([each.peak_bytes for each in taken])) / 1e9
        before = float(np.median([each.bytes_before for each in taken])) / 1e9
        speed = measured.setting.step_tokens / step
        rows.append(
            [
                title,
                number(step, 2),
                f"{number(min(steps), 2)} to {number(max(steps), 2)}",
                number(speed, 0),
                number(peak, 2),
                number(before, 2),
            ]
        )
        figures += [
            Figure(f"{title}: step", step, "s"),
            Figure(f"{title}: speed", speed, "tokens/s"),
            Figure(f"{title}: peak memory", peak, "GB"),
        ]
    header = ["training", "s a step", "over the rounds", "tokens/s", "peak GB", "of it libraries"]
    note = (
        f"The peak of the cached training includes filling the cache, with the teacher at work ({TITLES[CACHED[0]]})."
    )
    return Part("Times and memory", f"{table(header, rows)}\n\n{note}", figures)


def _cache_part(measured: Measured) -> Part:
    caches = [taken.others["cache"] for taken in measured.trainings[CACHED]]
    speed = float(np.median([cache["tokens"] / cache["seconds"] for cache in caches]))
    size = caches[0]["bytes"] / caches[0]["positions"]
    passes = float(np.median(measured.passes_to_pay_back))
    is_paid = bool(np.isfinite(passes))
    paid = (
        f"The time saved against the live teacher pays for it after {number(passes, 1)} passes over the text that was "
        "cached, so a cache is worth it where masks repeat or several students share it"
        if is_paid
        else "The cached training was no faster than the live one here, so filling is never paid back"
    )
    text = (
        f"Filling the cache (top-{TOP_K}, fp32) is not in the speeds above. It ran at {number(speed, 0)} tokens/s and "
        f"took {number(size, 0)} bytes for each predicted position, files whole. {paid}."
    )
    figures = [
        Figure("filling the teacher cache, fp32: speed", speed, "tokens/s"),
        Figure("teacher cache: size of a predicted position", size, "bytes"),
        Figure("teacher cache: passes that pay for filling it", passes if is_paid else None, "passes"),
    ]
    return Part("The teacher cache", text, figures)


def _preparation_part(measured: Measured) -> Part:
    preparation = measured.preparation
    rounds = preparation["rounds"]
    seconds = {part: float(np.median([each["parts"][part] for each in rounds])) for part in rounds[0]["parts"]}
    seconds["all of it"] = float(np.median([sum(each["parts"].values()) for each in rounds]))
    for bare in ("encode_batch", "encode_batch_fast"):
        seconds[f"bare {bare}"] = float(np.median([each[bare] for each in rounds]))
    megabytes = preparation["characters"] / 1e6
    rows = [[part, number(1000 * value, 0), number(megabytes / value, 1)] for part, value in seconds.items()]
    text = (
        f"The embedded corpus ({preparation['documents']:,} documents, {megabytes:.1f} million characters) written to "
        ".jsonl files; read, split, tokenised, packed and written by the functions of the corpus stage with the "
        "parameters of conf/base (no documents kept for tasks, so all of the text is tokenised): "
        f"{preparation['tokens']:,} tokens in {preparation['blocks']:,} blocks. The bare tokenizer encodes the same "
        "texts, already in memory, in one call and with the same threads. One process, after a first round that is "
        f"thrown away; medians of {len(rounds)} rounds."
    )
    figures = [Figure(f"token preparation: {part}", value, "s") for part, value in seconds.items()]
    return Part("Token preparation", f"{text}\n\n{table(['', 'ms', 'million characters/s'], rows)}", figures)
