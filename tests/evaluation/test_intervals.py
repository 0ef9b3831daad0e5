"""Bootstrap intervals against what is known of them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from bort_kedro.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    score_interval,
    score_standard_error,
    statistic_of_units,
)
from bort_kedro.evaluation.scores import units_in
from bort_kedro.evaluation.settings import BootstrapSettings
from bort_kedro.tasks.metrics import OF_TAG_COUNTS, score_rows, scored_rows
from bort_kedro.tasks.table import RIGHT, TASKS, WRONG, own_task

SETTINGS = BootstrapSettings(level=0.95, num_resamples=1000, seed=0)


def rows(labels, groups=None, options=None):
    groups = [str(number) for number in range(len(labels))] if groups is None else list(groups)
    return pd.DataFrame({"part": "", "group": groups, "option": options, "label": labels})


def interval(task, labels, answers, groups=None, options=None, **changes):
    return score_interval(TASKS[task], rows(labels, groups, options), answers, SETTINGS.changed(**changes))


def test_interval_of_accuracy_is_that_of_a_binomial_share():
    # 150 of 200 right: each resample's number of right answers is binomial.
    found = interval("rte", ["entailment"] * 200, ["entailment"] * 150 + ["not_entailment"] * 50, num_resamples=4000)
    expected = binom.ppf([0.025, 0.975], 200, 0.75) / 200
    assert [found.low, found.high] == pytest.approx(expected, abs=0.011)
    assert (found.level, found.num_resamples) == (0.95, 4000)


def test_a_lower_level_gives_a_narrower_interval():
    labels, answers = ["entailment"] * 100, ["entailment"] * 60 + ["not_entailment"] * 40
    wide, narrow = (interval("rte", labels, answers, level=level) for level in (0.95, 0.5))
    assert wide.low < narrow.low < 0.6 < narrow.high < wide.high


@pytest.mark.slow
def test_equal_seeds_give_equal_intervals_and_others_other_ones():
    generator = np.random.default_rng(3)
    labels, answers = generator.normal(size=(2, 50)).round(3).astype(str)
    first, again, other = (interval("stsb", labels, answers, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.slow
def test_intervals_cover_the_true_accuracy_about_as_often_as_they_say():
    generator = np.random.default_rng(5)
    is_inside = []
    for _ in range(200):
        is_right = generator.random(100) < 0.7
        settings = SETTINGS.changed(level=0.9, num_resamples=200)
        found = bootstrap_interval(lambda drawn, is_right=is_right: is_right[drawn].mean(), 100, settings)
        is_inside.append(found.low <= 0.7 <= found.high)
    # Five of its standard errors, 0.02 each.
    assert np.mean(is_inside) == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize("metric", OF_TAG_COUNTS)
def test_scores_of_drawn_texts_are_those_of_a_table_with_as_many_copies(metric):
    generator = np.random.default_rng(7)
    lengths = generator.integers(1, 9, 30)
    labels, answers = (
        [" ".join(generator.choice(["O", "O", "B-A", "I-A", "B-B"], length)) for length in lengths] for _ in range(2)
    )
    task = own_task(
        "tagged", files={"train": "a.conll", "dev": "b.conll"}, form="token_classification", metrics=[metric]
    )
    table, drawn = rows(labels), generator.integers(0, 30, 30)
    statistic = statistic_of_units(task, metric, scored_rows(task, table, answers), units_in(table))
    copies = rows([labels[row] for row in drawn])
    assert statistic(drawn) == score_rows(task, metric, copies, [answers[row] for row in drawn])
    found = score_interval(task, table, answers, SETTINGS)
    assert found.low < score_rows(task, metric, table, answers) < found.high


@pytest.mark.parametrize("task", ["rte", "cola", "mrpc", "cb", "stsb"])
def test_constant_data_has_an_interval_without_width(task):
    label = (TASKS[task].labels or ("2.5",))[-1]
    found = interval(task, [label] * 20, [label] * 20)
    expected = {"rte": 1.0, "cola": 0.0, "mrpc": 1.0, "cb": 1.0, "stsb": 0.0}[task]
    assert (found.low, found.high) == (expected, expected)


def test_the_standard_error_of_accuracy_is_that_of_a_share():
    labels, answers = ["entailment"] * 200, ["entailment"] * 150 + ["not_entailment"] * 50
    found = score_standard_error(TASKS["rte"], rows(labels), answers)
    # Of so many resamples, known to a twentieth of itself.
    assert found == pytest.approx((0.75 * 0.25 / 200) ** 0.5, rel=0.2)
    assert np.isnan(score_standard_error(TASKS["rte"], rows(labels[:1]), answers[:1]))


def test_a_single_unit_has_no_interval():
    assert interval("rte", ["entailment"], ["entailment"]) is None
    assert interval("copa", [RIGHT, WRONG], [RIGHT, WRONG], groups="qq", options=["x", "y"]) is None
    assert bootstrap_interval(len, 0, SETTINGS) is None


def test_a_metric_that_some_resamples_leave_undefined_counts_there_as_zero():
    # Matthews of three examples: a resample of one label alone, every ninth, correlates with nothing.
    found = interval("cola", ["0", "1", "1"], ["0", "1", "1"])
    assert (found.low, found.high) == (0.0, 1.0)


def test_questions_and_pairs_are_drawn_whole():
    # Of multiple choice one option is chosen in every resample, however often a question is drawn.
    found = interval("copa", [RIGHT, WRONG] * 2, [RIGHT, WRONG, WRONG, RIGHT], groups="qqrr", options=list("xyzw"))
    assert (found.low, found.high) == (0.0, 1.0)
    # Two pairs of AX-g, all of one right and none of the other: drawn by rows 0 and 1 would be rarer.
    answers = ["entailment"] * 2 + ["not_entailment"] * 2
    found = interval("axg", ["entailment"] * 4, answers, groups="ppqq", level=0.6)
    assert (found.low, found.high) == (0.0, 1.0)
    # Two questions of MultiRC: F1 over all answers is 0, 2/3 or 1 by the questions drawn.
    found = interval("multirc", ["true"] * 4, ["true", "true", "false", "false"], groups="qqrr", level=0.6)
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_unit_counts_by_its_rows_in_the_accuracy_of_classification():
    # A group of three wrong rows and single right ones: the mean over rows, not over groups.
    found = interval(
        "rte", ["entailment"] * 6, ["not_entailment"] * 3 + ["entailment"] * 3, groups="aaabcd", level=0.01
    )
    assert found.low == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("axg", "accuracy"),
        ("axg", "parity"),
        ("mrpc", "f1"),
        ("multirc", "f1_answers"),
        ("multirc", "exact_match"),
        ("cb", "macro_f1"),
        ("cola", "matthews"),
        ("ax", "matthews"),
    ],
)
def test_metrics_of_drawn_units_are_those_of_the_same_rows_written_out(task, metric):
    generator = np.random.default_rng(7)
    task = TASKS[task]
    table = rows(generator.choice(task.labels, 24).tolist(), groups=[str(number // 2) for number in range(24)])
    answers = generator.choice(task.labels, 24).tolist()
    statistic = statistic_of_units(task, metric, scored_rows(task, table, answers), units_in(table))
    for _ in range(20):
        drawn = generator.integers(12, size=12)
        places = [2 * unit + row for unit in drawn for row in range(2)]
        again = table.iloc[places].assign(group=np.repeat(np.arange(12), 2).astype(str))
        expected = score_rows(task, metric, again, [answers[place] for place in places])
        assert statistic(drawn) == pytest.approx(expected, abs=1e-12)


def test_interval_says_how_it_was_made():
    settings = SETTINGS.changed(level=0.8, num_resamples=100)
    assert bootstrap_interval(lambda drawn: 1.0, 5, settings) == Interval(1.0, 1.0, 0.8, 100)
