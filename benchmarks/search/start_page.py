"""The page on how short trainings rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, rankdata, spearmanr

from benchmarks.page import Figure, Part, table, write_page
from benchmarks.search.measured_space import MEASURES, mean_space, spaces_of, w_of, winner
from benchmarks.search.start_trainings import EVERY, MAXIMUM_POINT_SHARE, Course
from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.params import Parameters
from bort_kedro.reporting.markdown import number, percent, with_noise
from bort_kedro.search.short_training import steps_of
from bort_kedro.statistics import is_above_noise

CORRELATIONS: dict[str, Callable[..., object]] = {"Spearman": spearmanr, "Kendall": kendalltau}
SIZES = dict(zip(SHAPE_COLUMNS, ("depth", "heads", "hidden size", "intermediate size"), strict=True))


@dataclass(frozen=True)
class OverSeeds:
    """A number of each seed."""

    values: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(self.values.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return float(self.values.std(ddof=1) / np.sqrt(len(self.values)))

    @property
    def is_told_from_zero(self) -> bool:
        """Whether its mean is above the noise."""
        return is_above_noise(abs(self.mean), self.standard_error)

    @property
    def text(self) -> str:
        """Mean and standard error."""
        return with_noise(self.mean, self.standard_error)

    def figures(self, name: str, unit: str) -> list[Figure]:
        """Both, for programs."""
        return [Figure(name, self.mean, unit), Figure(f"{name}, standard error", self.standard_error, unit)]


def correlation(kind: str, first: ArrayLike, second: ArrayLike) -> float:
    """A rank correlation; 0 where one side knows no order."""
    if not np.ptp(first) or not np.ptp(second):
        return 0.0
    return float(CORRELATIONS[kind](first, second).statistic)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Ranks:
    """What the trainings say of the shapes, course by course.

    Args:
        rows: From `train_courses`.
        courses: In the order of the tables.
        parameters: Of the space.
        measure: What ranks the shapes.
    """

    rows: pd.DataFrame
    courses: Sequence[Course]
    parameters: Parameters
    measure: str

    @property
    def ends(self) -> list[Course]:
        """The long trainings, that from random weights first."""
        return sorted((course for course in self.courses if course.is_end), key=lambda course: course.is_inherited)

    @property
    def short(self) -> list[Course]:
        """All others."""
        return [course for course in self.courses if not course.is_end]

    @cached_property
    def shapes(self) -> pd.DataFrame:
        """(N,) shapes in order, with what W knows of their size."""
        return spaces_of(self.of(self.courses[0]), self.parameters, measure=self.measure)[0].table

    def of(self, course: Course) -> pd.DataFrame:
        """Its rows, T's among them."""
        return self.rows[self.rows["training"] == course.name]

    @cached_property
    def by_seed(self) -> dict[Course, pd.DataFrame]:
        """(N, S) the measure of each shape and seed, by course."""
        candidates, columns = self.rows[~self.rows["is_maximum_point"]], list(SHAPE_COLUMNS)
        in_order = pd.MultiIndex.from_frame(self.shapes[columns])
        tables = {
            name: rows.pivot_table(index=columns, columns="seed", values=self.measure).loc[in_order]
            for name, rows in candidates.groupby("training")
        }
        return {course: tables[course.name] for course in self.courses}

    def truth(self, end: Course, seed: int) -> NDArray[np.float64]:
        """(N,) means over the seeds of an end without that of what is held against it, whose luck would be shared."""
        return self.by_seed[end].drop(columns=seed, errors="ignore").mean(axis=1).to_numpy()

    def agreement(self, kind: str, course: Course, end: Course) -> OverSeeds:
        """Rank correlation of the measure with that of an end."""
        return OverSeeds(
            np.array([correlation(kind, own, self.truth(end, seed)) for seed, own in self.by_seed[course].items()])
        )

    def shifts(self, course: Course, end: Course) -> NDArray[np.float64]:
        """(S, N) places by which a course ranks a shape worse than an end does; negative where better."""
        return np.array([rankdata(own) - rankdata(self.truth(end, seed)) for seed, own in self.by_seed[course].items()])

    def w_shares(self, course: Course, end: Course) -> OverSeeds:
        """W, by an end, of the shape that each seed chooses, over the largest there."""
        shares = []
        for space in spaces_of(self.of(course), self.parameters, measure=self.measure):
            others = self.of(end)[lambda rows, seed=space.problem.seed: rows["seed"] != seed]
            true = w_of(mean_space(others, self.parameters, measure=self.measure))
            shares.append(true[int(np.argmax(w_of(space)))] / true.max())
        return OverSeeds(np.array(shares))


def ranking_part(ranks: Ranks) -> Part:
    """How each course ranks, what it costs, and how far the losses lie apart."""
    of_maximum = _seconds(ranks.rows, are_maximum=True)
    rows, figures = [], [Figure("seconds of T", of_maximum, "s")]
    for course in ranks.courses:
        losses, seconds = ranks.by_seed[course], _seconds(ranks.of(course))
        spread, luck = float(losses.mean(axis=1).std(ddof=1)), float(losses.var(axis=1, ddof=1).mean() ** 0.5)
        found = {(kind, end.name): ranks.agreement(kind, course, end) for end in ranks.ends for kind in CORRELATIONS}
        rows.append(
            [
                course.name,
                number(seconds, 2),
                *(each.text for each in found.values()),
                number(spread, 3),
                number(luck, 3),
            ]
        )
        figures += [
            Figure(f"{course.name}: steps", course.num_steps, "steps"),
            Figure(f"{course.name}: seconds a shape", seconds, "s"),
            Figure(f"{course.name}: spread of the {ranks.measure} over shapes", spread, "nats"),
            Figure(f"{course.name}: spread of the {ranks.measure} over seeds, one shape", luck, "nats"),
        ]
        for (kind, end), each in found.items():
            figures += each.figures(f"{course.name}: {kind}'s rank correlation with {end}", "correlation")
    titles = [f"{kind}, {end.name}" for end in ranks.ends for kind in CORRELATIONS]
    header = ["training", "seconds a shape", *titles, "spread over shapes, nats", "over seeds, nats"]
    text = (
        f"Rank correlation of one seed's {ranks.measure} with the mean of an end over its seeds; standard errors are "
        "over the seeds. The ends share their seeds, and none is held against itself but against the mean of the "
        "others, so the rows of the ends say how well any training could do. Seconds are those of building, training "
        "and scoring, on one thread, as many shapes at a time as there are workers "
        f"({ranks.parameters.search.num_workers}); T, which W needs from whatever start, takes "
        f"{number(of_maximum, 1)}.\n\n"
        f"{table(header, rows)}\n\n{' '.join(best_sentence(ranks, end) for end in ranks.ends)}"
    )
    return Part("Which ranks best", text, figures)


def _seconds(rows: pd.DataFrame, *, are_maximum: bool = False) -> float:
    return float(rows.loc[rows["is_maximum_point"] == are_maximum, "seconds"].mean())


def best_sentence(ranks: Ranks, end: Course) -> str:
    """Which short training agrees best with an end, and which others the seeds cannot tell from it."""
    found = {course.name: ranks.agreement("Spearman", course, end) for course in ranks.short}
    best = max(found, key=lambda name: found[name].mean)
    alike = [
        name
        for name, each in found.items()
        if name != best and not OverSeeds(found[best].values - each.values).is_told_from_zero
    ]
    rest = f"; not told from it by twice the standard error, seed by seed: {'; '.join(alike)}" if alike else ""
    return f"Held against {end.name}, the best of the short trainings is {best} ({found[best].mean:.2f}){rest}."


def leaning_part(ranks: Ranks) -> Part:
    """Whether a course ranks shapes near T's own better than the long training from random weights does."""
    end = ranks.ends[0]
    sizes = {title: ranks.shapes[name].to_numpy() for name, title in SIZES.items()}
    sizes["parameters"] = ranks.shapes["parameters"].to_numpy()
    rows, figures, leaning = [], [], {}
    for course in ranks.courses:
        shifts = ranks.shifts(course, end)
        half = OverSeeds(shifts[:, len(ranks.shapes) // 2 :].mean(axis=1))
        found = {
            title: OverSeeds(np.array([correlation("Spearman", shift, size) for shift in shifts]))
            for title, size in sizes.items()
        }
        leaning[course.name] = found["parameters"]
        rows.append([course.name, half.text, *(each.text for each in found.values())])
        figures += half.figures(f"{course.name}: mean rank shift of the larger half of the shapes", "places")
        for title, each in found.items():
            figures += each.figures(f"{course.name}: rank correlation of the rank shift with {title}", "correlation")
    text = (
        f"A shape's shift is its place by the {ranks.measure} of one seed (1 is the lowest) less its place by "
        f"{end.name}. No size of a candidate exceeds T's, {ranks.parameters.search.stated_maximum()}: the greater, the "
        "nearer. So a training that favours shapes near T's own has negative shifts of the larger half, and negative "
        "rank correlations of the shift with the sizes. Noise alone gives positive ones where the larger shapes are "
        "the better, as these can only lose places; the trainings from random weights show how much.\n\n"
        f"{table(['training', 'shift of the larger half, places', *sizes], rows)}\n\n{leaning_sentence(leaning)}"
    )
    return Part("Does inheriting favour shapes near T's own?", text, figures)


def leaning_sentence(leaning: dict[str, OverSeeds]) -> str:
    """Who favours which shapes, by the rank correlation of the shifts with the parameters."""

    def named(sign: int) -> str:
        found = [
            f"{name} ({each.mean:+.2f})"
            for name, each in leaning.items()
            if each.is_told_from_zero and sign * each.mean > 0
        ]
        return "; ".join(found) or "none"

    return (
        "By parameters and beyond twice the standard error, these favour shapes near T's own: "
        f"{named(-1)}. These favour shapes far from it: {named(1)}."
    )


def choice_part(ranks: Ranks) -> Part:
    """Who is chosen by W after each course, and what that is worth by the ends."""
    rows, figures = [], []
    for course in ranks.courses:
        spaces = spaces_of(ranks.of(course), ranks.parameters, measure=ranks.measure)
        shares = {end.name: ranks.w_shares(course, end) for end in ranks.ends}
        cells = [percent(each.mean, each.standard_error) for each in shares.values()]
        rows.append([course.name, "; ".join(winner(space)[0] for space in spaces), *cells])
        for end, each in shares.items():
            figures += each.figures(f"{course.name}: share of the best W by {end} of the shape chosen", "share")
    true = "; ".join(
        f"by {end.name} {winner(mean_space(ranks.of(end), ranks.parameters, measure=ranks.measure))[0]}"
        for end in ranks.ends
    )
    header = ["training", "largest W, seed by seed", *(f"share of the best W, {end.name}" for end in ranks.ends)]
    text = f"{table(header, rows)}\n\nBy the means of an end's seeds the largest W has, {true}."
    return Part("What W chooses", text, figures)


def write(rows: pd.DataFrame, courses: Sequence[Course], parameters: Parameters, *, folder: Path) -> None:
    """Write the page, its figures and the table of errors.

    Args:
        rows: From `train_courses`.
        courses: Of `courses_of`.
        parameters: Of the space and its trainings.
        folder: For all files.
    """
    ranks = Ranks(rows, courses, parameters, parameters.search.error_measure)
    seeds, steps = parameters.search.num_seeds, parameters.search.training.optimization.num_steps
    maximum_steps = steps_of(MAXIMUM_POINT_SHARE, steps)
    setting = (
        f"{len(ranks.shapes)} shapes, one of every {EVERY} of the ordered space of `conf/bench`, were trained on the "
        f"embedded corpus in {len(courses)} ways, {seeds} seeds each: from random weights, and from layers of T "
        f"narrowed by singular values (`svd`), T being {parameters.search.stated_maximum()} after {maximum_steps:,} "
        "steps from the same seed. "
        "The learning rate of the shapes is that of `conf/bench` and decays over exactly the steps named. The two long "
        f"trainings are the ends that the short ones are held against; their {seeds} seeds, T's included, are others."
    )
    write_page(
        "search-start",
        "The start of a search's trainings",
        [Part("", setting), ranking_part(ranks), leaning_part(ranks), choice_part(ranks)],
        {"parameters": "conf/bench", "every": EVERY, "seeds": seeds, "maximum_point_steps": maximum_steps},
        files={"search-start.csv": _table_of_errors(rows)},
        folder=folder,
    )


def _table_of_errors(rows: pd.DataFrame) -> str:
    noise = [f"{measure}_standard_error" for measure in MEASURES]
    kept = ["training", *SHAPE_COLUMNS, "is_maximum_point", "seed", *MEASURES, *noise]
    return rows[kept].round(6).to_csv(index=False)
