"""The page of the fine-tuning benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.finetune.builtin import AGORA, BUILTIN, SEEDS, Lead, Outcome, lead_over
from benchmarks.finetune.real import RealOutcome
from benchmarks.finetune.throughput import ROUNDS, Throughput
from benchmarks.page import Figure, Part, table
from bort_kedro.evaluation.floors import FLOORS
from bort_kedro.reporting.markdown import number, percent, signed_points
from bort_kedro.reporting.report_sections import RIVAL_NAMES, lead_over_floor

TARGET_RATIO = 2.0
TARGET_TASKS = 2


def agora_outcomes(found: Sequence[Outcome], task: str) -> list[Outcome]:
    """Those of a task whose teacher was over its bar."""
    return [each for each in found if each.task == task and each.is_over]


def leads(found: Sequence[Outcome]) -> dict[str, dict[str, Lead]]:
    """By task and rival; a task is left out where the teacher was over its bar for fewer than two seeds."""
    tasks = dict.fromkeys(each.task for each in found)
    able = {task: agora_outcomes(found, task) for task in tasks}
    return {task: {rival: lead_over(rival, own) for rival in RIVAL_NAMES} for task, own in able.items() if len(own) > 1}


def builtin_part(found: Sequence[Outcome], num_seeds: int) -> Part:
    """Scores and leads on the built-in tasks."""
    rows, tasks = [], list(dict.fromkeys(each.task for each in found))
    for task in tasks:
        every, own = [each for each in found if each.task == task], agora_outcomes(found, task)
        floors = [percent(every[0].floors[name]) for name in FLOORS]
        teacher = _mean([each.teacher_test_score for each in every])
        # Under a weak teacher there is plain fine-tuning alone.
        scores = [_mean(_accuracies(own or every, method)) for method in (AGORA, *RIVAL_NAMES)]
        rows.append([f"`{task}`", f"{len(own)} of {len(every)}", *floors, teacher, *scores])
    header = [
        "Task",
        "Teacher over its bar",
        *(floor.title for floor in FLOORS.values()),
        "Teacher",
        "Agora",
        *RIVAL_NAMES.values(),
    ]
    ahead = [
        [f"`{task}`", *(signed_points(each.value, each.error) for each in of.values())]
        for task, of in leads(found).items()
    ]
    won = [task for task, of in leads(found).items() if of["plain"].is_above_noise]
    costs = [
        [
            f"`{task}`",
            method,
            number(np.mean([each.num_steps[method] for each in agora_outcomes(found, task)]), 0),
            number(np.mean([each.num_steps_done[method] for each in agora_outcomes(found, task)]), 0),
            number(np.mean([each.seconds[method] for each in agora_outcomes(found, task)]), 0),
        ]
        for task in leads(found)
        for method in (AGORA, *RIVAL_NAMES)
    ]
    names = f": {', '.join(f'`{task}`' for task in won)}" if won else ""
    unable = _unable_sentence(found)
    text = f"""Accuracy on the unseen test split, mean and standard error over {num_seeds} seeds of student and points:

{table(header, rows)}

Points that Agora is ahead, paired by seed and by test example; the standard error joins that over the seeds and that
over the examples:

{table(["Task", *RIVAL_NAMES.values()], ahead)}

Ahead of plain fine-tuning by more than two standard errors on {len(won)} of {len(tasks)} built-in tasks{names}.{unable}

What every method was allowed and took, mean of the seeds; the teacher's own training is not in it, nor is making
the points:

{table(["Task", "Method", "Steps allowed", "Steps done", "Seconds"], costs)}

{_points_sentence(found)}"""
    return Part("Agora against its rivals", text, _builtin_figures(found))


def _unable_sentence(found: Sequence[Outcome]) -> str:
    """Tasks without Agora, and why."""
    unable = [each for each in found if each.seed == SEEDS[0] and not each.is_over]
    return "".join(
        f" The teacher of `{each.task}` reaches {percent(each.teacher_score)} on dev, is not over its bar and labels "
        "nothing, so there is no Agora to compare and every student was fine-tuned plainly."
        for each in unable
    )


def _points_sentence(found: Sequence[Outcome]) -> str:
    draws = [each["points"] for outcome in found for each in outcome.rounds if each["points"]]
    made, copies = sum(draw["num_made"] for draw in draws), sum(draw["num_copies"] for draw in draws)
    if not made:
        return "No points were made."
    return (
        f"Of {number(made, 0)} points that Agora made of mistakes on dev, {number(copies, 0)} "
        f"({percent(copies / made)}) were thrown away as near-duplicates of a text of dev or of test."
    )


def _accuracies(found: Sequence[Outcome], method: str) -> list[float]:
    return [float(each.right[method].mean()) for each in found if method in each.right]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return percent(float(np.mean(values)), float(error))


def real_part(found: Sequence[RealOutcome]) -> Part:
    """Every real task, beside the floors."""
    rows = [
        [
            each.name,
            " / ".join(str(each.report["num_units"].get(split, 0)) for split in ("train", "dev", "test")),
            each.report["method"],
            f"{percent(each.check['score'], each.check['error'])} / {percent(each.check['bar'])}" if each.check else "",
            each.report["metrics"][0].replace("_", " "),
            percent(each.score.score.value, each.score.score.standard_error),
            *(cell for floor in each.score.floors.values() for cell in (percent(floor.score), lead_over_floor(floor))),
            percent(each.report["truncated_share"]),
            number(each.seconds, 0),
        ]
        for each in found
    ]
    header = [
        "Task",
        "train / dev / test",
        "Method",
        "Teacher / its bar (dev)",
        "Metric",
        "Score",
        *(head for floor in FLOORS.values() for head in (floor.title, "Beaten, points ahead")),
        "Truncated",
        "Seconds",
    ]
    ahead = "; ".join(
        f"{floor.words}: {', '.join(each.name for each in found if each.score.floors[name].is_beaten) or 'none'}"
        for name, floor in FLOORS.items()
    )
    text = f"""Teacher and student of the default run, pretrained for minutes on the documentation of four libraries
with a vocabulary of 1,024 tokens. Every task goes its way with one set of settings: the teacher is fine-tuned and held
against its bar; over it, and over the best constant answer, the student learns by Agora, else plainly.
QNLI has no teacher: a hundred thousand examples are too many for it on two cores.

{table(header, rows)}

The test split is the half of the official dev that no method saw; of BoolQ, whose training file was not at hand, 32
examples train, 32 choose and the official dev is scored. Standard errors are those of a jackknife over the test
examples, one training each. Ahead by more than two of them of {ahead}."""
    figures = []
    for each in found:
        metric, score = each.report["metrics"][0], each.score.score
        figures += [
            Figure(f"{each.name}: {metric}, {each.report['method']}", score.value, "share"),
            Figure(f"{each.name}: its standard error", score.standard_error, "share"),
            *(
                Figure(f"{each.name}: of {FLOORS[name].words}", floor.score, "share")
                for name, floor in each.score.floors.items()
            ),
        ]
    return Part("Real tasks", text, figures)


def throughput_part(measured: Sequence[Throughput], max_tokens: int, batch_tokens: int, fixed_batch: int) -> Part:
    """The two loops side by side."""
    rows = [
        [
            number(each.vocabulary_size, 0),
            number(each.mean_tokens, 1),
            number(np.median(each.bucketed), 0),
            percent(each.padding),
            number(np.median(each.fixed), 0),
            percent(each.fixed_padding),
            f"**{each.ratio:.2f}x**",
        ]
        for each in measured
    ]
    header = ["Vocabulary", "Tokens an example", "Bucketed, examples/s", "Padding", "Fixed length", "Padding", "Ratio"]
    text = f"""Training steps on QNLI's questions and sentences, cut at {max_tokens} tokens, one thread. Bucketed:
batches of similar length, {number(batch_tokens, 0)} padded tokens each. Fixed length: {fixed_batch} examples padded to
{max_tokens} tokens, as transformers' run_glue does unless told otherwise. The ratio is the median of those of
{ROUNDS} paired rounds, the rates are medians of their own: where the machine was slow for some turns, one does not
follow from the other.

{table(header, rows)}

The target is {TARGET_RATIO:g}x. The small vocabulary of the default run makes texts so long that the fixed loop pads
little: no loop can then be faster than it by more than the share of padding lets it."""
    figures = [
        Figure(
            f"examples a second on QNLI, bucketed over fixed length, {each.vocabulary_size} tokens in the vocabulary",
            each.ratio,
            "x",
            target=TARGET_RATIO,
            met=each.ratio >= TARGET_RATIO,
        )
        for each in measured
    ]
    return Part("Throughput", text, figures)


def _builtin_figures(found: Sequence[Outcome]) -> list[Figure]:
    first = {each.task: each for each in reversed(found)}
    figures = [
        Figure(f"{task}: accuracy of {FLOORS[name].words}", score, "share")
        for task, each in first.items()
        for name, score in each.floors.items()
    ]
    for task, of in leads(found).items():
        own = agora_outcomes(found, task)
        figures += [
            Figure(
                f"{task}: accuracy of {method}", float(np.mean([each.right[method].mean() for each in own])), "share"
            )
            for method in (AGORA, *RIVAL_NAMES)
        ]
        for rival, lead in of.items():
            figures += [
                Figure(f"{task}: Agora's lead over {rival}", lead.value, "share"),
                Figure(f"{task}: standard error of that lead", lead.error, "share"),
            ]
    won = sum(of["plain"].is_above_noise for of in leads(found).values())
    name = "built-in tasks where Agora leads plain by two standard errors"
    # Of all three tasks; of fewer there is nothing to reach.
    is_whole = {each.task for each in found} == set(BUILTIN)
    reached = {"target": TARGET_TASKS, "met": won >= TARGET_TASKS} if is_whole else {}
    return [*figures, Figure(name, won, "tasks", **reached)]
