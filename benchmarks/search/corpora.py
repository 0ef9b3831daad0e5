"""Search the small space on another corpus beside the embedded one; writes docs/benchmarks/corpora.{md,json}."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks.command import command_line
from benchmarks.page import Figure, Part, table, write_page
from benchmarks.search.measured_space import (
    MeasuredSpace,
    bench_parameters,
    mean_space,
    spaces_of,
    tokens_of,
    train_all,
    w_of,
    winner,
)
from benchmarks.texts import EMBEDDED, embedded_text
from bort_kedro.datasets.text_sources import TextFilesDataset
from bort_kedro.params import Parameters
from bort_kedro.reporting.markdown import number


def agreement(first: list[MeasuredSpace], second: list[MeasuredSpace]) -> tuple[float, float]:
    """Mean rank correlation of errors, and of W, over pairs of different seeds, one from each list."""
    pairs = [(a, b) for a, b in itertools.product(first, second) if a.problem.seed != b.problem.seed]
    errors = [spearmanr(a.recorded.errors, b.recorded.errors).statistic for a, b in pairs]
    return float(np.mean(errors)), float(np.mean([spearmanr(w_of(a), w_of(b)).statistic for a, b in pairs]))


def winners_table(errors: dict[str, pd.DataFrame], parameters: Parameters, measure: str) -> str:
    """Who has the largest W on each corpus, seed by seed and by the means."""
    rows = []
    for corpus, table_of_corpus in errors.items():
        spaces = spaces_of(table_of_corpus, parameters, measure=measure)
        named = [(f"seed {space.problem.seed}", winner(space)) for space in spaces]
        named.append(("mean of the seeds", winner(mean_space(table_of_corpus, parameters, measure=measure))))
        rows += [[corpus, seed, shape, number(w, 3)] for seed, (shape, w) in named]
    return table(["corpus", "errors of", "largest W", "W"], rows)


def crossed(errors: dict[str, pd.DataFrame], parameters: Parameters, measure: str) -> list[tuple[str, str, str, float]]:
    """What choosing on one corpus costs on the other: (chosen on, used on, shape, share of the best W there)."""
    means = {name: mean_space(rows, parameters, measure=measure) for name, rows in errors.items()}
    found = []
    for chosen_on, used_on in itertools.permutations(means, 2):
        place = int(np.argmax(w_of(means[chosen_on])))
        there = w_of(means[used_on])
        found.append((chosen_on, used_on, winner(means[chosen_on])[0], float(there[place] / there.max())))
    return found


def reordering(pairs: dict[str, tuple[float, float]], measure: str) -> str:
    """Whether another corpus reorders the shapes more than another seed does; the last pair is across corpora."""
    *within, across = pairs.values()
    sentences = []
    for place, what in enumerate((f"the {measure}", "W")):
        least = min(values[place] for values in within)
        is_more = across[place] < least
        sentences.append(
            f"By {what}, another corpus reorders the shapes {'more' if is_more else 'no more'} than another seed does "
            f"({across[place]:.2f} against {least:.2f} at least)."
        )
    return " ".join(sentences)


def winners_part(errors: dict[str, pd.DataFrame], parameters: Parameters, measure: str) -> Part:
    """Who wins on each corpus, and what the choice on the one costs on the other."""
    regret = crossed(errors, parameters, measure)
    same = len({winner(mean_space(rows, parameters, measure=measure))[0] for rows in errors.values()}) == 1
    costs = "; ".join(
        f"the choice on {chosen_on}, {shape}, has {100 * value:.1f} % of the best W on {used_on}"
        for chosen_on, used_on, shape, value in regret
    )
    figures = [
        Figure(f"share of the best W on {used_on} of the shape chosen on {chosen_on}", value, "share")
        for chosen_on, used_on, _, value in regret
    ]
    figures.append(Figure("the same shape wins on both corpora, by the means of the seeds", float(same), "yes is 1"))
    text = (
        f"{winners_table(errors, parameters, measure)}\n\n"
        f"{'The same shape wins on both' if same else 'Not the same shape wins on both'}, by the means: {costs}."
    )
    return Part("Who wins", text, figures)


def luck_part(pairs: dict[str, tuple[float, float]], measure: str) -> Part:
    """Whether the corpora differ more than the seeds do; the last pair is across corpora."""
    figures = [
        Figure(f"rank correlation of the {what}: {title}", value, "correlation")
        for title, values in pairs.items()
        for what, value in zip((measure, "W"), values, strict=True)
    ]
    rows = [[title, f"{error:.2f}", f"{w:.2f}"] for title, (error, w) in pairs.items()]
    text = (
        "Rank correlations over the candidates, between trainings of different seeds:\n\n"
        f"{table(['between', measure, 'W'], rows)}\n\n{reordering(pairs, measure)}"
    )
    return Part("Is it the corpus, or luck?", text, figures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the space on both corpora, as far as that is not done yet, and compare."""
    parser = command_line(__doc__)
    parser.add_argument("corpus", nargs="?", default="", help="files of the other corpus, such as 'texts/*.txt'")
    parser.add_argument("--name", default="other", help="what the page calls it")
    given = parser.parse_args(arguments)
    if not given.corpus:
        parser.exit(2, "Name the other corpus: make bench-corpora CORPUS='texts/*.txt' NAME=texts\n")
    parameters = bench_parameters()
    measure = parameters.search.error_measure
    texts = {EMBEDDED: embedded_text(), given.name: TextFilesDataset([given.corpus]).load()}
    words = {name: int(text["text"].str.split().str.len().sum()) for name, text in texts.items()}
    errors = {
        name: train_all(tokens_of(text, parameters), parameters, given.states / name) for name, text in texts.items()
    }
    spaces = {name: spaces_of(rows, parameters, measure=measure) for name, rows in errors.items()}
    pairs = {
        "two seeds, embedded corpus": agreement(spaces[EMBEDDED], spaces[EMBEDDED]),
        f"two seeds, {given.name}": agreement(spaces[given.name], spaces[given.name]),
        "two seeds, one on each corpus": agreement(spaces[EMBEDDED], spaces[given.name]),
    }
    parts = [
        Part(
            "",
            f"The space of `conf/bench` was trained whole on the embedded corpus ({words[EMBEDDED]:,} words of "
            f"documentation) and on {given.name} ({words[given.name]:,} words), a tokenizer for each, "
            f"{parameters.search.num_seeds} seeds each. W takes the {measure}. The method's first author expected the "
            "same shape whatever the corpus, since the search favours shapes that converge fast.",
        ),
        winners_part(errors, parameters, measure),
        luck_part(pairs, measure),
    ]
    conditions = {"parameters": "conf/bench", "words": words, "seeds": parameters.search.num_seeds}
    command = f"make bench-corpora CORPUS=... NAME={given.name}"
    write_page("corpora", "Two corpora", parts, conditions, command=command, folder=given.folder)


if __name__ == "__main__":
    main()
