"""The page of the benchmark of recorded labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.finetune.leads import AGORA, Lead, lead_over, over_seeds
from benchmarks.finetune.noise import OTHERS, PLAIN, RANDOM, NoisyOutcome
from benchmarks.page import Figure, Part, table, write_page
from bort_kedro.evaluation.floors import floors_among
from bort_kedro.params.finetune import WEAK_SUPERVISION
from bort_kedro.reporting.markdown import number, percent, signed_points

NAME = "recorded-labels"
METHODS = {AGORA: "Agora", **OTHERS}


def write_noise_page(found: Sequence[Sequence[NoisyOutcome]], folder: Path) -> None:
    """Write the page of some tasks and its figures."""
    write_page(
        NAME,
        "Recorded labels",
        [noise_part(each) for each in found],
        {
            "parameters": "conf/base",
            "tasks": [each[0].task for each in found],
            "seeds": sorted({each.seed for each in found[0]}),
            "noise": sorted({each.noise for each in found[0]}),
        },
        command="make bench-noise" + (f" TASK={found[0][0].task}" if len(found) == 1 else ""),
        setting="one thread a training",
        packages=("torch", "transformers", "tokenizers", "scikit-learn"),
        folder=folder,
    )


def noise_part(found: Sequence[NoisyOutcome]) -> Part:
    """Of one task the scores and leads by the share of wrong labels, and whether the bar tells where Agora gains."""
    by_noise = {
        noise: [each for each in found if each.noise == noise] for noise in sorted({each.noise for each in found})
    }
    leads = {
        noise: {other: lead_over(other, [each.right for each in own], same_examples=True) for other in OTHERS}
        for noise, own in by_noise.items()
    }
    first, num_seeds = found[0], len(next(iter(by_noise.values())))
    floors = ", ".join(
        f"{floor.words} {percent(first.floors[name])}" for name, floor in floors_among([first.floors]).items()
    )
    rows = [
        [
            percent(noise),
            percent(_mean([each.check["score"] for each in own]), _mean([each.check["error"] for each in own])),
            f"{sum(each.check['is_over'] for each in own)} of {num_seeds}",
            number(_mean([each.num_points for each in own]), 0),
            number(_mean([each.num_steps for each in own]), 0),
            *(_accuracy(own, method) for method in METHODS),
        ]
        for noise, own in by_noise.items()
    ]
    header = ["Wrong labels", "The teacher on dev", "Over its bar", "Points", "Steps", *METHODS.values()]
    ahead = [
        [percent(noise), *(signed_points(lead.value, lead.error) for lead in of.values())]
        for noise, of in leads.items()
    ]
    train, pool, bar = number(first.num_train, 0), number(first.num_pool, 0), percent(first.check["bar"])
    text = f"""{train} labelled examples as in the last `make run`, learned by its student. The
teacher is a file: labels of dev and of {pool} sentences that the corpus gives beyond the train split, whose true labels
are known. So many of them are exchanged for another label. Agora goes on whatever its bar of {bar} says.
Accuracy on the unseen test split, mean and standard error over {num_seeds} seeds of student, points and wrong labels;
methods have the steps and the hyperparameters of Agora's trials:

{table(header, rows)}

On the same test split: {floors}. Every method ends with a training, by the setting that
was best on dev, on what was learned then and on dev with its true labels. "{OTHERS[WEAK_SUPERVISION]}" is
`finetune.method: weak_supervision`, which has the recorded sentences in train from the start, and "{OTHERS[RANDOM]}"
has as many points as Agora, drawn for random train examples instead of mistakes.

Points that Agora is ahead, paired by seed and by test example; the standard error joins that over the seeds and that
over the examples:

{table(["Wrong labels", *OTHERS.values()], ahead)}

{_verdict({noise: of[PLAIN] for noise, of in leads.items()}, by_noise)}"""
    return Part(f"Task `{first.task}`", text, _figures(first.task, by_noise, leads))


def _verdict(leads: dict[float, Lead], by_noise: dict[float, list[NoisyOutcome]]) -> str:
    """Where Agora gains, and what the bar says of it."""
    gains = {noise for noise, lead in leads.items() if lead.is_above_noise}
    passes = {noise for noise, own in by_noise.items() if all(each.check["is_over"] for each in own)}
    return (
        f"Shares of wrong labels with which Agora is ahead of {OTHERS[PLAIN]} by more than two standard errors: "
        f"{_shares(gains)}. With which the bar lets the teacher pass: {_shares(passes)}; turned away for all its gain: "
        f"{_shares(gains - passes)}; let pass without a gain: {_shares(passes - gains)}."
    )


def _shares(noises: set[float]) -> str:
    return ", ".join(percent(noise) for noise in sorted(noises)) or "none"


def _figures(task: str, by_noise: dict[float, list[NoisyOutcome]], leads: dict[float, dict[str, Lead]]) -> list[Figure]:
    figures = []
    for noise, own in by_noise.items():
        of = f"{task}, {percent(noise)} wrong labels"
        figures += [
            Figure(f"{of}: score of the teacher on dev", _mean([each.check["score"] for each in own]), "share"),
            Figure(f"{of}: seeds in which it is over its bar", sum(each.check["is_over"] for each in own), "seeds"),
            *(
                Figure(f"{of}: accuracy of {name}", _mean([each.right[method].mean() for each in own]), "share")
                for method, name in METHODS.items()
            ),
        ]
        for other, lead in leads[noise].items():
            figures += [
                Figure(f"{of}: Agora's lead over {OTHERS[other]}", lead.value, "share"),
                Figure(f"{of}: standard error of the lead over {OTHERS[other]}", lead.error, "share"),
            ]
    return figures


def _accuracy(own: Sequence[NoisyOutcome], method: str) -> str:
    return over_seeds([each.right[method].mean() for each in own])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
