"""The page of the search benchmark."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks.page import Figure, Part, table, write_page
from benchmarks.search.measured_space import MeasuredSpace, mean_space, spaces_of, winner
from benchmarks.search.replays import COMPARED, FPTAS_BUDGETS, PART_SIZE, PARTS
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.params import Parameters
from bort_kedro.reporting.markdown import number, percent
from bort_kedro.search.guarantee import FEWEST_FOR_RESIDUAL
from bort_kedro.search.replay import bands
from bort_kedro.search.strategies.halving import RUNG_SHARES

MINUTES_ALLOWED = 15.0
SEARCH_SECONDS = {300: 2.0, 30_000: 20.0}


def guarantee_part(findings: pd.DataFrame) -> Part:
    """Whether the stated bound held, strategy by strategy."""
    # With fewer trainings T alone bounds, which the definition of T makes true.
    informed = findings[findings["budget"] >= FEWEST_FOR_RESIDUAL]
    rows, figures = [], []
    for name, group in informed.groupby("strategy", sort=False):
        held, runs = int(group["is_within_bound"].sum()), len(group)
        stated = 1 - group["epsilon"]
        rows.append(
            [
                f"`{name}`",
                f"{held} of {runs}",
                f"{percent(stated.min())} to {percent(stated.max())}",
                percent(stated.mean()),
                percent(group["w_share"].min()),
                percent(group["w_share"].mean()),
            ]
        )
        target = 1.0 if name == "fptas" else None
        figures.append(
            Figure(
                f"{name}: share of searches whose W was within the bound stated before the rest was looked at",
                held / runs,
                "share",
                target=target,
                met=None if target is None else held == runs,
            )
        )
    header = ["strategy", "within its bound", "bounds stated", "mean", "lowest share of the best W", "mean"]
    text = (
        "Each search states, from its own trainings alone, which share of the largest W of the space it has at least "
        "(`search/guarantee.py`, docs/decisions/0006). Every candidate was trained, so the statement can be checked: "
        f"on the whole space and its parts, every seed, budgets of {FEWEST_FOR_RESIDUAL} and more. Parts of one space "
        "share candidates, so these are not as many independent searches.\n\n"
    )
    return Part("Guarantee", text + table(header, rows), figures)


def half_part(findings: pd.DataFrame) -> Part:
    """The surrogate with half the trainings against the published scheme, pair by pair."""
    rows, figures = [], []
    for kind, budget in itertools.product(("whole", "part"), FPTAS_BUDGETS):
        of_kind = findings[findings["space"] == kind]
        own = of_kind[(of_kind["strategy"] == "fptas") & (of_kind["budget"] == budget)]
        half = of_kind[(of_kind["strategy"] == "surrogate") & (of_kind["budget"] == budget // 2)]
        keys = ["training_seed"] if kind == "whole" else ["training_seed", "seed"]
        pair = own.merge(half, on=keys, suffixes=("", "_half"))
        # As many as were trained, which is what a budget asks for at most.
        trained, all_trained = (f"{pair[name].mean():g}" for name in ("cost_half", "cost"))
        cells = [f"{kind}, {len(pair)} pairs", f"{trained} / {all_trained}"]
        for column, title in (("w_share", "best W"), ("hypervolume_share", "hypervolume")):
            difference = pair[f"{column}_half"] - pair[column]
            by_seed = difference.groupby(pair["training_seed"]).mean()
            error = float(by_seed.std(ddof=1) / np.sqrt(len(by_seed)))
            mean, not_worse = float(difference.mean()), float((difference >= 0).mean())
            values = percent(pair[f"{column}_half"].mean()), percent(pair[column].mean())
            cells += [" / ".join(values), f"{100 * mean:+.1f} ± {100 * error:.1f}", percent(not_worse)]
            name = (
                f"surrogate with {trained} trainings minus fptas with {all_trained}, {kind} space: share of the {title}"
            )
            figures.append(Figure(name, mean, "share", target=0.0, met=mean >= 0.0))
        rows.append(cells)
    header = ["space", "trainings", "W", "difference", "not worse", "hypervolume", "difference", "not worse"]
    text = (
        "`surrogate` with half as many trainings as `fptas`, both as shares of the best there was. Standard errors "
        "are over the training seeds; a difference counts as met where its mean is not below zero.\n\n"
    )
    return Part("Half the trainings", text + table(header, rows), figures)


def cost_part(findings: pd.DataFrame) -> Part:
    """What every strategy finds for every budget, on the parts."""
    curves = bands(findings[findings["space"] == "part"])
    texts = [f"{PARTS} random parts of {PART_SIZE} shapes for each training seed."]
    for statistic, title in (
        ("w", "Share of the best W"),
        ("hypervolume", "Share of the hypervolume of the true front"),
    ):
        rows = curves[curves["statistic"] == statistic]
        budgets = sorted(findings.loc[findings["space"] == "part", "budget"].unique())
        lines = []
        for name in COMPARED:
            own = rows[rows["strategy"] == name].reset_index(drop=True)
            cells = [
                f"{100 * row['mean']:.1f} ({100 * row['lower']:.0f}–{100 * row['upper']:.0f})"
                for row in own.to_dict("records")
            ]
            lines.append([f"`{name}`", *cells])
        texts.append(f"{title}, %, mean and the middle 80 %:\n\n{table(['trainings', *map(str, budgets)], lines)}")
    return Part("Cost", "\n\n".join([*texts, "![Share found by number of trainings](search.svg)"]))


def draw(findings: pd.DataFrame) -> str:
    """The cost curves as an SVG, for the page."""
    import matplotlib as mpl

    mpl.use("svg")
    # Equal figures give equal files.
    mpl.rcParams["svg.hashsalt"] = "search"
    from matplotlib import pyplot

    curves = bands(findings[findings["space"] == "part"])
    drawing, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharex=True)
    for axis, (statistic, title) in zip(
        axes, (("hypervolume", "hypervolume of the true front"), ("w", "largest W")), strict=True
    ):
        for name in COMPARED:
            rows = curves[(curves["strategy"] == name) & (curves["statistic"] == statistic)]
            (line,) = axis.plot(rows["trainings"], 100 * rows["mean"], marker="o", markersize=3, label=name)
            axis.fill_between(
                rows["trainings"], 100 * rows["lower"], 100 * rows["upper"], alpha=0.12, color=line.get_color()
            )
        axis.set(xlabel="full trainings", ylabel=f"share of the {title}, %")
        axis.grid(alpha=0.3)
    axes[1].legend(frameon=False, loc="lower right")
    drawing.tight_layout()
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(drawing)
    return buffer.getvalue()


def noise_part(errors: pd.DataFrame, parameters: Parameters, measure: str) -> Part:
    """Who wins, how much luck there is in it, and how well an early error ranks."""
    spaces = spaces_of(errors, parameters, measure=measure)
    rows = [[f"seed {space.problem.seed}", *_named(space)] for space in spaces]
    rows.append(["mean of the seeds", *_named(mean_space(errors, parameters, measure=measure))])
    candidates = errors[~errors["is_maximum_point"]]
    full = candidates[candidates["share"] == 1.0].pivot_table(index=list(SHAPE_COLUMNS), columns="seed", values=measure)
    luck = float(full.std(axis=1, ddof=1).pow(2).mean() ** 0.5)
    between = float(full.mean(axis=1).std(ddof=1))
    across = float(np.mean([spearmanr(full[a], full[b]).statistic for a, b in itertools.combinations(full.columns, 2)]))
    figures = [
        Figure(f"spread of the {measure} over seeds, one shape", luck, "nats"),
        Figure(f"spread of the {measure} over shapes", between, "nats"),
        Figure(f"rank correlation of the {measure} between two seeds", across, "correlation"),
    ]
    early = []
    for share in RUNG_SHARES[:-1]:
        at = candidates[candidates["share"] == share].pivot_table(
            index=list(SHAPE_COLUMNS), columns="seed", values=measure
        )
        value = float(np.mean([spearmanr(at[seed], full[seed]).statistic for seed in full.columns]))
        early.append(f"{value:.2f} after {percent(share)} of the steps")
        figures.append(
            Figure(
                f"rank correlation of the {measure} after {share:.2f} of the steps with the end", value, "correlation"
            )
        )
    text = (
        f"{table(['errors of', 'largest W', 'W'], rows)}\n\nOne shape's {measure} varies by {luck:.3f} nats over "
        f"seeds (standard deviation), the shapes' means by {between:.3f}. Two seeds rank the candidates with a "
        f"correlation of {across:.2f}; an "
        f"early {measure} ranks them as the end does with {' and '.join(early)}."
    )
    return Part("Winners and noise", text, figures)


def _named(space: MeasuredSpace) -> list[str]:
    shape, w = winner(space)
    return [shape, number(w, 3)]


def _setting(errors: pd.DataFrame, parameters: Parameters, trained: float | None) -> str:
    candidates = errors[~errors["is_maximum_point"]]
    training = parameters.search.training.optimization
    minutes = errors.loc[errors["share"] == 1.0, "seconds"].sum() / 60
    clock = "" if trained is None else f", {trained / 60:.1f} on the clock, corpus and scoring included"
    return (
        f"{len(candidates.drop_duplicates(list(SHAPE_COLUMNS)))} shapes and the maximum point, "
        f"{errors['seed'].nunique()} seeds each, trained on the embedded corpus as `conf/bench` says "
        f"({training.num_steps} steps; {minutes:.0f} minutes of training in all{clock}); W takes the "
        f"{parameters.search.error_measure}. Strategies are replayed on the recorded "
        "errors, those of every rung included, so comparing them costs no training."
    )


def overhead_part(seconds: Mapping[int, float], minutes: float | None) -> Part:
    """What a search takes beside its trainings, by number of candidates, and what this benchmark took."""
    figures = [
        Figure(
            f"search over {count} candidates without trainings",
            taken,
            "s",
            target=SEARCH_SECONDS[count],
            met=taken < SEARCH_SECONDS[count],
        )
        for count, taken in seconds.items()
    ]
    if minutes is not None:
        figures.append(Figure("this benchmark", minutes, "min", target=MINUTES_ALLOWED, met=minutes < MINUTES_ALLOWED))
    text = (
        "Enumerating, counting, ordering, choosing whom to train (`surrogate`, 60 trainings) and "
        "concluding, the plots of the space included, imports not: "
        + "; ".join(f"{count:,} candidates {taken:.1f} s" for count, taken in seconds.items())
        + "."
    )
    return Part("Overhead", text, figures)


def write(
    errors: pd.DataFrame,
    findings: pd.DataFrame,
    parameters: Parameters,
    samplers: Part,
    overhead: Part,
    *,
    trained: float | None,
    folder: Path,
) -> None:
    """Write the page, its figures, the drawing and the table of errors.

    Args:
        errors: Of every candidate, see `train_all`.
        findings: Of every strategy, see `play_all`.
        parameters: Of the space and its trainings.
        samplers: From `samplers_part`.
        overhead: From `overhead_part`.
        trained: Seconds that corpus and trainings took; None if they did not run in one go.
        folder: For all files.
    """
    write_page(
        "search",
        "Search",
        [
            Part("", _setting(errors, parameters, trained)),
            guarantee_part(findings),
            half_part(findings),
            cost_part(findings),
            samplers,
            noise_part(errors, parameters, parameters.search.error_measure),
            overhead,
        ],
        {"parameters": "conf/bench", "parts": PARTS, "part_size": PART_SIZE, "seeds": int(errors["seed"].nunique())},
        files={
            "search.svg": draw(findings),
            "search_errors.csv": errors.drop(columns="seconds").round(6).to_csv(index=False),
        },
        folder=folder,
    )
