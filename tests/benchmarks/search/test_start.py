"""``make bench-search-start``: figures from losses made up, and the whole on a space that trains in seconds."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.search import start, start_trainings
from benchmarks.search.measured_space import spaces_of
from benchmarks.search.start_page import OverSeeds, Ranks, best_sentence, correlation, leaning_sentence
from benchmarks.search.start_trainings import Course, courses_of
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.search.short_training import ShortTraining
from tiny_benchmarks import tiny_space_parameters, tiny_text, written

RANDOM_END, INHERITED_END = (Course(64, is_inherited=each, is_end=True) for each in (False, True))
SHORT = Course(4, is_inherited=True)
SHAPES = [BertShape(1, 2, 16, 32), BertShape(2, 2, 16, 32), BertShape(3, 2, 16, 32)]
# By course and seed, the losses of the three shapes; the smallest comes first.
LOSSES = {
    SHORT: {0: [3.0, 2.0, 1.0], 1: [1.0, 3.0, 2.0]},
    RANDOM_END: {2: [3.0, 2.0, 1.0], 3: [4.0, 3.5, 1.0]},
    INHERITED_END: {2: [1.0, 2.0, 3.0], 3: [1.0, 2.0, 3.0]},
}


@pytest.fixture(scope="module")
def ranks():
    parameters = tiny_space_parameters()
    maximum = parameters.search.stated_maximum()
    rows = [
        {"training": course.name, **shape.to_row(), "seed": seed, "share": 1.0, "seconds": 0.5}
        | {"is_maximum_point": shape == maximum, "error": 0.5, "error_standard_error": 0.0}
        | {"loss": loss, "loss_standard_error": 0.0}
        for course, by_seed in LOSSES.items()
        for seed, losses in by_seed.items()
        for shape, loss in zip([*SHAPES, maximum], [*losses, 1.0], strict=True)
    ]
    return Ranks(pd.DataFrame(rows), list(LOSSES), parameters, "loss")


def test_ends_have_seeds_of_their_own_and_steps_are_shares_of_those_of_the_space():
    parameters = tiny_space_parameters(num_steps=400)
    assert [course.name for course in courses_of(parameters.search)] == [
        "random, 400 steps",
        "random, 100 steps",
        "svd of T, 100 steps",
        "svd of T, 50 steps",
        "svd of T, 25 steps",
        "random, 1,600 steps",
        "svd of T, 1,600 steps",
    ]
    assert list(SHORT.seeds(3)) == [0, 1, 2]
    assert list(RANDOM_END.seeds(3)) == [3, 4, 5]


def test_a_seed_is_held_against_the_others_of_an_end(ranks):
    assert ranks.truth(RANDOM_END, 0) == pytest.approx([3.5, 2.75, 1.0])
    assert ranks.truth(RANDOM_END, 2) == pytest.approx([4.0, 3.5, 1.0])


def test_ranks_are_compared_seed_by_seed(ranks):
    # The end ranks 3, 2, 1; the seeds 3, 2, 1 and 1, 3, 2: of the second, one pair of three lies alike.
    spearman = ranks.agreement("Spearman", SHORT, RANDOM_END)
    assert spearman.values == pytest.approx([1.0, -0.5])
    assert (spearman.mean, spearman.standard_error) == pytest.approx((0.25, 0.75))
    assert ranks.agreement("Kendall", SHORT, RANDOM_END).values == pytest.approx([1.0, -1 / 3])
    assert ranks.agreement("Spearman", RANDOM_END, INHERITED_END).values == pytest.approx([-1, -1])
    assert best_sentence(ranks, RANDOM_END) == (
        "Held against random, 64 steps, the best of the short trainings is svd of T, 4 steps (0.25)."
    )


def test_a_shift_is_in_places_and_negative_where_a_shape_gains(ranks):
    assert ranks.shifts(SHORT, RANDOM_END).tolist() == [[0, 0, 0], [-2, 1, 1]]
    assert ranks.shifts(INHERITED_END, RANDOM_END).tolist() == [[-2, 0, 2], [-2, 0, 2]]


def test_where_nothing_is_ordered_nothing_correlates():
    assert correlation("Spearman", np.zeros(3), np.arange(3)) == 0


def test_who_leans_is_said_beyond_the_noise_alone():
    leaning = {"a": [-0.5, -0.5, -0.4], "b": [0.5, 0.6, 0.4], "c": [-0.9, 0.2, 0.1]}
    assert leaning_sentence({name: OverSeeds(np.array(values)) for name, values in leaning.items()}) == (
        "By parameters and beyond twice the standard error, these favour shapes near T's own: a (-0.47). "
        "These favour shapes far from it: b (+0.50)."
    )


def test_a_choice_is_worth_what_an_end_gives_it(ranks):
    maximum = spaces_of(ranks.of(SHORT), ranks.parameters, measure="loss")[0].problem.maximum
    factor = (1 - ranks.shapes["parameters"] / maximum.parameters) * (1 - ranks.shapes["cost"] / maximum.cost)
    # The first seed chooses the last shape, as the end's means of 3.5, 2.75 and 1 do, and the second the first.
    share = (factor[0] / 3.5) / (factor[2] / 1.0)
    assert ranks.w_shares(SHORT, RANDOM_END).values == pytest.approx([1.0, share])


@pytest.mark.session
def test_a_small_space_is_trained_in_every_way_and_goes_on_where_it_stopped(monkeypatch, tmp_path):
    few = partial(tiny_space_parameters, num_hidden_layers=(1, 2), intermediate_size=(32,), num_steps=16)
    monkeypatch.setattr(start, "bench_parameters", few)
    monkeypatch.setattr(start, "embedded_text", tiny_text)
    monkeypatch.setattr(start_trainings, "END_SHARE", 2.0)
    start.main(["--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "search-start")
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# The start of a search's trainings",
        "## Which ranks best",
        "## Does inheriting favour shapes near T's own?",
        "## What W chooses",
    ]
    assert "3 shapes, one of every 3 of the ordered space" in page
    assert figures["svd of T, 4 steps: steps"]["value"] == 4
    assert 0 < figures["random, 32 steps: share of the best W by svd of T, 32 steps of the shape chosen"]["value"] <= 1
    errors = pd.read_csv(tmp_path / "docs" / "search-start.csv")
    # Seven courses, two seeds each, of three shapes and T.
    assert len(errors) == 7 * 2 * 4
    # Nothing is trained again, and even the seconds are those of then.
    monkeypatch.delattr(ShortTraining, "run")
    again = start_trainings.train_courses(tiny_text(), few(), tmp_path / "states" / "search-start")
    seconds = again[~again["is_maximum_point"]].groupby("training")["seconds"].mean()
    assert {f"{name}: seconds a shape": value for name, value in seconds.items()} == pytest.approx(
        {name: each["value"] for name, each in figures.items() if name.endswith(": seconds a shape")}
    )
