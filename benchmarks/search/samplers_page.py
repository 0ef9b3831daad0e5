"""What the page of the search says of optuna's samplers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.page import Figure, Part, table
from benchmarks.search.samplers import MAX_REPEATS, NUM_RANDOM, OWN, QUESTIONS, SAMPLERS
from bort_kedro.search.replay import BAND

# A lead is one beyond so many standard errors.
ERRORS_OF_A_LEAD = 2.0


def samplers_part(found: pd.DataFrame, *, judged: int, spaces: str) -> Part:
    """Everyone's shares by budget, and whether the surrogate is ahead.

    Args:
        found: From `ask_all`.
        judged: The budget whose leads are figures.
        spaces: Says which spaces were searched, as a sentence.
    """
    texts = [_introduction(found, spaces)]
    for asked, question in QUESTIONS.items():
        texts.append(f"{question.title}, %, mean and the middle 80 %:\n\n{_shares(found[found['question'] == asked])}")
    leads = [_lead(found, asked, sampler, judged) for asked in QUESTIONS for sampler in _present(found, SAMPLERS)]
    header = ["after " + str(judged) + " trainings", "surrogate", "sampler", "lead", "ahead"]
    texts.append(
        f"The lead of `surrogate`, in points, with the standard error of the draws; ahead is one of more than "
        f"{ERRORS_OF_A_LEAD:g} of these:\n\n{table(header, [cells for cells, _ in leads])}"
    )
    return Part("Against optuna's samplers", "\n\n".join(texts), [figure for _, figure in leads])


def _introduction(found: pd.DataFrame, spaces: str) -> str:
    import optuna

    draws = found.groupby("searcher")[["space", "draw"]].apply(lambda rows: len(rows.drop_duplicates()))
    counts = ", ".join(f"{name} {draws[name]}" for name in _present(found, (*OWN, *SAMPLERS)))
    return (
        f"{spaces} The samplers of optuna {optuna.__version__} are told what the page judges: sizes and the error, "
        f"scaled as in the hypervolume, W, or the error alone. They begin with {NUM_RANDOM} random shapes "
        f"(NSGA-II has a population of {NUM_RANDOM + 1}), suggest places among the sizes of the space, and a shape "
        f"that they suggest again costs them nothing; after {MAX_REPEATS} of these in a row one is drawn for them. "
        "What they cannot be told is that parameters and cost are known before any training, which is what ours "
        f"uses. Draws: {counts}."
    )


def _present(found: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if (found["searcher"] == name).any()]


def _shares(found: pd.DataFrame) -> str:
    budgets = sorted(found["budget"].unique())
    rows = []
    for name in _present(found, (*OWN, *SAMPLERS)):
        by_budget = found[found["searcher"] == name].groupby("budget")["share"]
        mean, low, high = by_budget.mean(), by_budget.quantile(BAND[0]), by_budget.quantile(BAND[1])
        cells = [f"{100 * mean[each]:.1f} ({100 * low[each]:.0f}–{100 * high[each]:.0f})" for each in budgets]
        rows.append([f"`{name}`" if name in OWN else name, *cells])
    return table(["trainings", *map(str, budgets)], rows)


def _lead(found: pd.DataFrame, asked: str, sampler: str, judged: int) -> tuple[list[str], Figure]:
    rows = found[(found["question"] == asked) & (found["budget"] == judged)]
    own = rows[rows["searcher"] == "surrogate"].groupby("space")["share"].mean()
    other = rows[rows["searcher"] == sampler]
    differences = (other["space"].map(own) - other["share"]).to_numpy()
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))
    is_ahead = mean > ERRORS_OF_A_LEAD * error
    name = f"surrogate ahead of {sampler} after {judged} trainings: {asked}"
    figure = Figure(name, mean, "share", target=ERRORS_OF_A_LEAD * error, met=is_ahead)
    against = own.loc[other["space"]].mean()
    cells = [
        f"{asked}, {sampler}",
        f"{100 * against:.1f}",
        f"{100 * other['share'].mean():.1f}",
        f"{100 * mean:+.1f} ± {100 * error:.1f}",
        "yes" if is_ahead else "**no**",
    ]
    return cells, figure
