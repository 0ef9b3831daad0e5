"""Where the published choice ranks in the published space; writes docs/benchmarks/published-space.{md,json,csv}."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import yaml

from benchmarks.command import command_line
from benchmarks.configured import PROJECT
from benchmarks.page import FOLDER, Figure, Part, table, write_page
from benchmarks.search.published_space_law import (
    Counted,
    CountedSpace,
    Extrapolation,
    blockers,
    count_space,
    extrapolate,
    intervals,
    required_error_ratios,
    steps_from,
    sweep_power_law,
)
from bort_kedro.encoders.costs import count_parameters
from bort_kedro.encoders.shapes import BERT_LARGE, BORT, KNOWN_SHAPES, SHAPE_COLUMNS, BertShape
from bort_kedro.reporting.markdown import bullets, large, number
from bort_kedro.reporting.paper_claims import BORT_KEYS, MAX_POSITIONS, SEQUENCE_LENGTH, VOCABULARY_SIZE
from bort_kedro.search.space import SpaceSettings, enumerate_shapes
from bort_kedro.search.w_coefficient import size_factor

PAPER = PROJECT / "conf" / "paper" / "parameters_search.yml"
MEASURED = FOLDER / "search_errors.csv"
SIZES = {"vocabulary_size": VOCABULARY_SIZE, "max_positions": MAX_POSITIONS, "sequence_length": SEQUENCE_LENGTH}
FOLLOWED = {key: KNOWN_SHAPES[key].shape for key in BORT_KEYS}
ALPHAS = np.round(np.linspace(0.0, 2.0, 201), 2)
SHOWN_ALPHAS = (0.0, 0.02, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)
MULTIPLES = (1, 2, 4)
TOP = (1, 10, 30)
RESAMPLINGS, SEED = 100, 0
LAW_TITLES = {Counted.LAYERS: "parameters of the layers", Counted.ALL: "parameters of the whole encoder"}
WINNER_TITLES = ("winner", *(f"winner, T x {multiple}" for multiple in MULTIPLES[1:]))
# Laid over a row of a shape, hides its number of heads.
HEADLESS = {"num_attention_heads": 1}


def published_space() -> CountedSpace:
    """The lists of conf/paper and the paper's T, counted with the vocabulary and lengths of the released Bort."""
    search = yaml.safe_load(PAPER.read_text())["search"]
    return count_space(enumerate_shapes(SpaceSettings(**search["space"])).shapes, BERT_LARGE, **SIZES)


def excess(ratio: float, digits: int = 2) -> str:
    """A required ratio of errors as a signed percentage."""
    return f"{100 * (ratio - 1):+.{digits}f} %"


def share(value: float, digits: int) -> str:
    """A share as an unsigned percentage."""
    return f"{100 * value:.{digits}f} %"


def title(key: str) -> str:
    """Name and shape of one of those followed."""
    return f"{KNOWN_SHAPES[key].title} {FOLLOWED[key]}"


@dataclass(frozen=True)
class Section(Part):
    """A part of the page with its outcome in a sentence or two."""

    outcome: str = ""


def rank_figure(name: str, rank: int, count: int) -> Figure:
    """A rank of the ``count`` candidates; no rank is aimed at."""
    return Figure(name, rank, f"of {count}")


def required_row(space: CountedSpace, key: str) -> tuple[list[str], list[Figure]]:
    """Table cells and figures of the ratios that one shape asks of all others."""
    shape = FOLLOWED[key]
    factors = size_factor(space.maximum, parameters=space.parameters, cost=space.operations)
    ratio, own = required_error_ratios(space, shape), space.index(shape)
    cheaper, dearer = int((ratio > 1).sum()), int((ratio < 1).sum())
    most, least = int(np.argmax(ratio)), int(np.argmin(ratio))
    cells = [
        title(key),
        large(space.parameters[own]),
        large(space.operations[own]),
        number(factors[own], 4),
        f"{cheaper}",
        f"{excess(ratio[most])}, {space.shapes[most]}",
        f"{dearer}",
        f"{excess(ratio[least])}, {space.shapes[least]}",
    ]
    return cells, [
        Figure(f"{title(key)}: rank by the size factors alone", 1 + cheaper, f"of {len(ratio)}"),
        Figure(f"{title(key)}: cheaper candidates, which must err more", cheaper, "shapes"),
        Figure(f"{title(key)}: largest required ratio of errors", float(ratio[most]), "x"),
        Figure(f"{title(key)}: dearer candidates, which may err less", dearer, "shapes"),
        Figure(f"{title(key)}: smallest required ratio of errors", float(ratio[least]), "x"),
    ]


def fewer_heads(space: CountedSpace) -> dict[str, float]:
    """Required ratios less 1 of the same shapes with fewer heads, by a name for both."""
    found = {}
    for shape in FOLLOWED.values():
        ratio = required_error_ratios(space, shape)
        for step in steps_from(space, shape)["num_attention_heads"]:
            if ratio[step] > 1:
                found[f"{space.shapes[step]} against {shape}"] = float(ratio[step] - 1)
    return found


def required_section(space: CountedSpace) -> Section:
    """What the errors would have to be, without any training."""
    found = [required_row(space, key) for key in FOLLOWED]
    heads = fewer_heads(space)
    header = ["shape", "parameters", "operations", "size factor", "cheaper", "must err more, up to", "dearer"]
    ties = [f"{name}: its error must be higher by a factor above 1 + {value:.2e}." for name, value in heads.items()]
    text = (
        "With a(f) the product of W's two size factors, W(c) > W(g) holds if and only if e(g) / e(c) > a(g) / a(c). "
        "Parameters and operations are exact, so these ratios are too. For c to have the largest W, every cheaper "
        "candidate (larger size factor) must err more than c by at least its ratio; every dearer one may err less, but "
        f"not below its ratio.\n\n{table([*header, 'may err less, down to'], [cells for cells, _ in found])}\n\n"
        "The same shape with fewer heads has exactly as many parameters and fewer operations, so more heads must pay:"
        f"\n\n{bullets(ties)}\n\nThat is no more than a tie-break. No measurement resolves so small a difference, and "
        "it stems from the operations of the softmax, which are our reading (docs/decisions/0002-operation-count.md); "
        f"by matrix products alone the numbers of heads tie.\n\n{steps_text(space)}"
    )
    figures = [each for _, figures in found for each in figures]
    figures += [Figure(f"{name}: required ratio of errors less 1", value, "") for name, value in heads.items()]
    ratio = required_error_ratios(space, BORT)
    return Section(
        "Exact: what the errors would have to be",
        text,
        figures,
        f"Exact: {BORT} has the largest W only if all {(ratio > 1).sum()} cheaper candidates err more than it does. "
        f"One of them is itself with four heads; the cheapest must err more by {share(ratio.max() - 1, 2)}. By size "
        f"alone it is number {1 + (ratio > 1).sum()}. These are conditions, and nothing published says that they fail.",
    )


def steps_text(space: CountedSpace) -> str:
    """The required ratios one axis away from the published choice, and what they say of each axis."""
    ratio, own = required_error_ratios(space, BORT), BORT.to_row()
    rows, sentences = [], []
    for axis, steps in steps_from(space, BORT).items():
        digits = 4 if axis == "num_attention_heads" else 2
        rows += [[str(space.shapes[step]), f"`{axis}`", excess(ratio[step], digits)] for step in steps]
        values = {space.shapes[step].to_row()[axis]: float(ratio[step]) for step in steps}
        phrases = []
        if below := [value for value in values if value < own[axis]]:
            must_fall = 1 - 1 / values[below[-1]]
            phrases.append(
                f"from {below[-1]} to {own[axis]} the error must fall by more than {share(must_fall, digits)}"
            )
        if above := [value for value in values if value > own[axis]]:
            may_fall = 1 - values[above[0]]
            phrases.append(f"from {own[axis]} to {above[0]} by less than {share(may_fall, digits)}")
        sentences.append(f"`{axis}`: {', '.join(phrases)}.")
    return (
        f"One axis away from the published choice {BORT}, the error against that of the choice must be above:\n\n"
        f"{table(['shape', 'differs in', 'above'], rows)}\n\nSo, for the choice to win:\n\n{bullets(sentences)}"
    )


def power_law_section(space: CountedSpace) -> Section:
    """Ranks and winners if the error were a power of the size."""
    text = (
        "e(f) = e(T) · (p(f) / p(T))^−α, with p the parameters of the layers or all of them. For the loss of "
        "left-to-right language models over their parameters without embeddings, Kaplan et al. 2020 (arXiv 2001.08361) "
        "found an α of 0.076; that the error rate of masked-LM models follows such a law is an assumption. Ranks are "
        f"among {len(space.shapes)}; in brackets among the {len(without_heads(space))} distinct (D, H, I), each with "
        "its best number of heads, because this law does not see heads."
    )
    figures, outcomes = [], []
    for counted, size in LAW_TITLES.items():
        sweeps = {
            multiple: sweep_power_law(space, ALPHAS, counted, followed=list(FOLLOWED.values()), multiple=multiple)
            for multiple in MULTIPLES
        }
        text += f"\n\n### By the {size}\n\n{law_table(space, sweeps)}\n\n{law_findings(space, counted, sweeps[1])}"
        for key, shape in FOLLOWED.items():
            best, aside = (int(sweeps[1][column].min()) for column in (shape.identifier, aside_column(shape)))
            name = f"{title(key)}: best rank under a power law of the {size}"
            figures += [
                rank_figure(name, best, len(space.shapes)),
                rank_figure(f"{name}, heads set aside", aside, len(without_heads(space))),
            ]
            if shape == BORT:
                outcomes.append(f"of the {size}, at best number {best} (heads set aside: number {aside})")
    return Section(
        "If the error is a power of the size",
        text,
        figures,
        f"If the error is a power of the size, {BORT} wins for no exponent: with four heads it has the same error and "
        f"costs less. If it is a power {'; '.join(outcomes)}.",
    )


def without_heads(space: CountedSpace) -> list[tuple[int, int, int]]:
    """The distinct (D, H, I)."""
    return sorted({(shape.num_hidden_layers, shape.hidden_size, shape.intermediate_size) for shape in space.shapes})


def aside_column(shape: BertShape) -> str:
    """Where `sweep_power_law` puts the rank among the distinct (D, H, I)."""
    return f"{shape.identifier}:heads_aside"


def law_table(space: CountedSpace, sweeps: dict[int, pd.DataFrame]) -> str:
    """Ranks with T as published, and the winner for each size of T."""
    rows = []
    for position in np.flatnonzero(np.isin(ALPHAS, SHOWN_ALPHAS)):
        at = sweeps[1].loc[position]
        ranks = [f"{at[shape.identifier]:.0f} ({at[aside_column(shape)]:.0f})" for shape in FOLLOWED.values()]
        winners = [str(space.shapes[int(sweeps[multiple].loc[position, "winner"])]) for multiple in MULTIPLES]
        rows.append([f"{at['alpha']:.2f}", *ranks, *winners])
    return table(["α", *(KNOWN_SHAPES[key].title for key in FOLLOWED), *WINNER_TITLES], rows)


def law_findings(space: CountedSpace, counted: Counted, sweep: pd.DataFrame) -> str:
    """For each followed shape: its best rank, the exponents that put it near the top, and what rules it out."""
    near, excluded = [], []
    for key, shape in FOLLOWED.items():
        for name, column in ((title(key), shape.identifier), ("the same, heads set aside", aside_column(shape))):
            best = sweep.loc[sweep[column].idxmin()]
            reached = [spans(sweep[column] <= top) for top in TOP]
            near.append([name, f"{best[column]:.0f}", f"{best['alpha']:.2f}", *reached])
        ahead = blockers(space, shape, counted)
        other = [g for g in ahead if space.shapes[g].to_row() | HEADLESS != shape.to_row() | HEADLESS]
        excluded.append(
            f"{title(key)}: {len(ahead)}, of which {len(other)} differ in more than heads"
            + (f" (one is {space.shapes[other[0]]})." if other else ".")
        )
    return (
        "Where they come near the top, on a grid of α from 0 to 2 in steps of 0.01:\n\n"
        f"{table(['shape', 'best rank', 'at α', *(f'first {top}' for top in TOP)], near)}\n\n"
        f"Whatever the form of the law: a candidate with a larger size factor and no fewer {LAW_TITLES[counted]} has "
        "the larger W under every error that depends on these alone and does not rise with them. Against each stand:"
        f"\n\n{bullets(excluded)}"
    )


def spans(holds: pd.Series) -> str:
    """The exponents of the grid for which something holds, in words."""
    runs = intervals(ALPHAS, holds.to_numpy(bool))
    return " and ".join(f"{low:.2f} to {high:.2f}" if high > low else f"{low:.2f}" for low, high in runs) or "never"


def measured_section(space: CountedSpace) -> Section:
    """Ranks under a regression of the errors that the search benchmark measured."""
    heading = "If the error continues what small shapes show"
    if not MEASURED.exists():
        left_out = f"there is no docs/benchmarks/{MEASURED.name} with measured errors; `make bench-search` makes it"
        return Section(heading, f"Left out: {left_out}. Then run this again.", (), f"Not extrapolated: {left_out}.")
    measured = pd.read_csv(MEASURED)
    # T has a learning rate of its own, and earlier rungs are other trainings' errors.
    measured = measured[(measured["share"] == 1.0) & ~measured["is_maximum_point"]]
    rows, figures, found = [], [], {}
    for measure in ("error", "loss"):
        known = measured[measured[measure].notna()]
        shapes, errors = known[list(SHAPE_COLUMNS)].to_numpy(int), known[measure].to_numpy(float)
        for multiple in MULTIPLES:
            found[measure, multiple] = extrapolate(
                space,
                shapes,
                errors,
                followed=list(FOLLOWED.values()),
                resamplings=RESAMPLINGS,
                seed=SEED,
                multiple=multiple,
            )
            rows.append([f"{measure}, T x {multiple}", *extrapolation_cells(space, found[measure, multiple])])
        figures += [
            rank_figure(f"{title(key)}: rank by extrapolated {measure}", int(rank), len(space.shapes))
            for key, rank in zip(FOLLOWED, found[measure, 1].rank, strict=True)
        ]
    header = ["measure", "predicted", *(KNOWN_SHAPES[key].title for key in FOLLOWED), "winner", "most frequent winner"]
    winners = [f"by {measure} {space.shapes[found[measure, 1].winner]}" for measure in ("error", "loss")]
    return Section(
        heading,
        f"{extrapolation_words(space, measured, found['error', 1])}\n\n{table(header, rows)}",
        figures,
        f"Extrapolated from small shapes, which is weak evidence, the winner is {', '.join(winners)}; {BORT} is number "
        f"{found['error', 1].rank[0]} and {found['loss', 1].rank[0]}.",
    )


def extrapolation_cells(space: CountedSpace, found: Extrapolation) -> list[str]:
    """Range of the predictions, ranks with the middle 90 % of the resamplings, and winners."""
    low, high = np.percentile(found.resampled_ranks, [5, 95], axis=0)
    indices, counts = np.unique(found.resampled_winners, return_counts=True)
    form = "quadratic" if found.is_quadratic else "linear"
    return [
        f"{found.predicted.min():.3g} to {found.predicted.max():.3g}, {form}",
        *(f"{rank} ({a:.0f} to {b:.0f})" for rank, a, b in zip(found.rank, low, high, strict=True)),
        str(space.shapes[found.winner]),
        f"{space.shapes[indices[counts.argmax()]]}, {counts.max()} of {RESAMPLINGS}",
    ]


def extrapolation_words(space: CountedSpace, measured: pd.DataFrame, found: Extrapolation) -> str:
    """How far the measured shapes are from the space, and what that makes of the ranks."""
    shapes = {BertShape.from_row(row) for _, row in measured.iterrows()}
    largest = max(count_parameters(shape, vocabulary_size=1, max_positions=1).encoder for shape in shapes)
    own = space.layer_parameters[space.index(BORT)]
    return (
        f"Ridge regression of {len(measured)} measured rows ({len(shapes)} shapes, {measured['seed'].nunique()} seeds) "
        "on the logarithm of the shape (`search.error_model`), carried over to the published space. This is weak "
        f"evidence: the largest measured shape has {large(largest)} parameters in its layers, the published choice "
        f"{own / largest:,.0f} times as many, and it learned from other text for far fewer steps. Squares and products "
        "of the logarithms, where the regression took them up, run away so far out. Predicted: the range over the "
        f"space. In brackets: the middle 90 % of {RESAMPLINGS} bootstrap draws of the measured shapes, which show how "
        "far the ranks hang on which shapes were measured, not how wrong the regression is."
    )


def ratios_table(space: CountedSpace) -> str:
    """All members with their sizes and the ratios that each followed shape asks of them, as CSV."""
    rows = pd.DataFrame([shape.to_row() for shape in space.shapes]).assign(
        parameters=space.parameters.astype(int),
        layer_parameters=space.layer_parameters.astype(int),
        operations=space.operations.astype(int),
        **{f"required_ratio_{key}": required_error_ratios(space, shape) for key, shape in FOLLOWED.items()},
    )
    return rows.to_csv(index=False, float_format="%.8f", lineterminator="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute every part and write the page."""
    given = command_line(__doc__, trains=False).parse_args(arguments)
    space = published_space()
    sections = [required_section(space), power_law_section(space), measured_section(space)]
    opening = (
        f"The paper (de Wynter and Perry 2020, arXiv 2010.10499) names its choice, {BORT}, and not the errors of its "
        f"{len(space.shapes)} candidates; its printed sizes fit the twin with H and I exchanged. Where does the choice "
        "rank, and what would have to hold for it to have the largest W?"
    )
    write_page(
        "published-space",
        "The published choice in the published space",
        [
            Part("", f"{opening}\n\n{bullets(section.outcome for section in sections)}"),
            *sections,
            Part("", "The required ratios of all candidates: `published-space.csv`."),
        ],
        {**SIZES, "candidates": len(space.shapes), "resamplings": RESAMPLINGS, "seed": SEED},
        packages=("numpy", "scipy", "scikit-learn"),
        setting=f"vocabulary {VOCABULARY_SIZE:,}, {MAX_POSITIONS} positions, {SEQUENCE_LENGTH} tokens, T is BERT-large",
        files={"published-space.csv": ratios_table(space)},
        folder=given.folder,
    )


if __name__ == "__main__":
    main()
