from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.search.published_space_law import (
    Counted,
    CountedSpace,
    blockers,
    count_space,
    extrapolate,
    intervals,
    power_law_errors,
    ranks,
    ranks_heads_aside,
    required_error_ratios,
    scores,
    steps_from,
    sweep_power_law,
)
from bort_kedro.encoders.shapes import BERT_LARGE, BORT, BORT_ALTERNATIVE, BORT_EXCHANGED, BertShape
from bort_kedro.errors import ShapeError
from bort_kedro.search.space import SpaceSettings, enumerate_shapes
from bort_kedro.search.w_coefficient import MaximumPoint

PAPER = Path(__file__).parents[3] / "conf" / "paper" / "parameters_search.yml"
SIZES = {"vocabulary_size": 50_265, "max_positions": 512, "sequence_length": 128}
MEDIUM, SMALL, BIG = BertShape(2, 1, 8, 8), BertShape(1, 1, 8, 8), BertShape(2, 2, 8, 16)


@pytest.fixture(scope="module")
def published():
    lists = yaml.safe_load(PAPER.read_text())["search"]["space"]
    return count_space(enumerate_shapes(SpaceSettings(**lists)).shapes, BERT_LARGE, **SIZES)


@pytest.fixture
def toy():
    return CountedSpace(
        shapes=(MEDIUM, SMALL, BIG),
        parameters=np.array([50.0, 20.0, 80.0]),
        layer_parameters=np.array([10.0, 5.0, 40.0]),
        operations=np.array([100.0, 50.0, 160.0]),
        maximum=MaximumPoint(parameters=100.0, cost=200.0, error=1.0),
        maximum_layer_parameters=80.0,
    )


def test_required_ratios_equal_hand_values(toy):
    # Size factors 0.5 * 0.5, 0.8 * 0.75 and 0.2 * 0.2.
    np.testing.assert_allclose(required_error_ratios(toy, MEDIUM), [1.0, 0.60 / 0.25, 0.04 / 0.25])
    np.testing.assert_allclose(required_error_ratios(toy, SMALL), [0.25 / 0.60, 1.0, 0.04 / 0.60])
    # With T twice as large: 0.75 * 0.75, 0.9 * 0.875 and 0.6 * 0.6.
    np.testing.assert_allclose(required_error_ratios(toy, MEDIUM, multiple=2), [1.0, 0.7875 / 0.5625, 0.36 / 0.5625])


def test_choice_wins_exactly_when_every_ratio_of_errors_is_above_the_required_one(toy):
    for errors in permutations([0.1, 0.2, 0.25, 0.5, 0.9], 3):
        error = np.array(errors)
        w = scores(toy, error)
        for index, choice in enumerate(toy.shapes):
            others = np.arange(3) != index
            meets_all = (error / error[index] > required_error_ratios(toy, choice))[others].all()
            assert meets_all == (w[index] > w[others].max())


def test_errors_at_the_required_ratios_give_every_member_the_same_w(published):
    w = scores(published, 0.3 * required_error_ratios(published, BORT))
    np.testing.assert_allclose(w, w[published.index(BORT)], rtol=1e-12)


def test_published_space_has_300_members_and_the_three_shapes_of_bort(published):
    assert len(published.shapes) == 300
    assert [published.shapes[published.index(shape)] for shape in (BORT, BORT_EXCHANGED, BORT_ALTERNATIVE)] == [
        BORT,
        BORT_EXCHANGED,
        BORT_ALTERNATIVE,
    ]


def test_four_heads_have_the_parameters_of_eight_and_fewer_operations(published):
    four, eight = published.index(BertShape(4, 4, 1024, 768)), published.index(BORT)
    assert published.parameters[four] == published.parameters[eight]
    # 4 layers, 4 heads fewer, 128 * 128 scores each of 5 operations.
    assert published.operations[eight] - published.operations[four] == 4 * 4 * 128 * 128 * 5
    saved = 4 * 4 * 128 * 128 * 5 / (published.maximum.cost - published.operations[eight])
    assert required_error_ratios(published, BORT)[four] - 1 == pytest.approx(saved, rel=1e-9)
    assert saved == pytest.approx(1.797e-5, rel=1e-3)


def test_ranks_without_an_error_are_those_of_the_size_factors(published):
    equal = power_law_errors(published, 0.0, Counted.LAYERS)
    assert equal.tolist() == [1.0] * 300
    rank = ranks(scores(published, equal))
    for shape, expected in ((BORT, 179), (BORT_EXCHANGED, 106), (BORT_ALTERNATIVE, 121)):
        assert rank[published.index(shape)] == expected
        assert expected == 1 + (required_error_ratios(published, shape) > 1).sum()


@pytest.mark.parametrize("counted", list(Counted))
def test_a_steep_power_law_is_won_by_the_largest_shape_with_the_fewest_heads(published, counted):
    found = sweep_power_law(published, [0.0, 50.0], counted, followed=[BORT])
    assert [published.shapes[index] for index in found["winner"]] == [
        BertShape(2, 4, 512, 256),
        BertShape(12, 4, 1024, 3072),
    ]


def test_power_law_equals_hand_values(toy):
    # Layers hold 10, 5 and 40 of 80; all parameters are 50, 20 and 80 of 100.
    np.testing.assert_allclose(power_law_errors(toy, 0.5, Counted.LAYERS), [8**0.5, 4.0, 2**0.5])
    np.testing.assert_allclose(power_law_errors(toy, 0.5, Counted.ALL), [2**0.5, 5**0.5, 1.25**0.5])


def test_sweep_equals_ranking_by_hand(toy):
    # Alpha 0: W 0.25, 0.6, 0.04. Alpha 2 over layers, e 64, 256, 4: W 0.0039, 0.0023, 0.01.
    found = sweep_power_law(toy, [0.0, 2.0], Counted.LAYERS, followed=[MEDIUM])
    assert found.to_dict("records") == [
        {"alpha": 0.0, "winner": 1, MEDIUM.identifier: 2, f"{MEDIUM.identifier}:heads_aside": 2},
        {"alpha": 2.0, "winner": 2, MEDIUM.identifier: 2, f"{MEDIUM.identifier}:heads_aside": 2},
    ]


def test_equal_w_share_the_better_rank():
    assert ranks(np.array([0.2, 0.5, 0.5, 0.1])).tolist() == [3, 1, 1, 4]


def test_heads_aside_every_d_h_i_is_ranked_once_with_its_best_heads():
    shapes = (BertShape(1, 1, 8, 8), BertShape(1, 2, 8, 8), BertShape(2, 1, 8, 8), BertShape(2, 2, 8, 8))
    space = count_space(shapes, BertShape(9, 2, 16, 16), vocabulary_size=10, max_positions=4, sequence_length=4)
    assert ranks_heads_aside(space, np.array([0.4, 0.9, 0.5, 0.3])).tolist() == [1, 1, 2, 2]
    assert ranks_heads_aside(space, np.array([0.4, 0.3, 0.5, 0.9])).tolist() == [2, 2, 1, 1]


def test_blockers_equal_brute_force_and_beat_the_choice_at_every_exponent(published):
    for counted, sizes in ((Counted.LAYERS, published.layer_parameters), (Counted.ALL, published.parameters)):
        ratio, own = required_error_ratios(published, BORT), published.index(BORT)
        found = blockers(published, BORT, counted)
        assert found.tolist() == [g for g in range(300) if ratio[g] > 1 and sizes[g] >= sizes[own]]
        assert published.index(BertShape(4, 4, 1024, 768)) in found
        for alpha in (0.01, 0.3, 1.0, 3.0):
            w = scores(published, power_law_errors(published, alpha, counted))
            assert (w[found] > w[own]).all()


def test_steps_differ_on_one_axis_and_rise(published):
    steps = {axis: [published.shapes[g] for g in found] for axis, found in steps_from(published, BORT).items()}
    assert steps == {
        "num_hidden_layers": [BertShape(depth, 8, 1024, 768) for depth in (2, 6, 8, 10, 12)],
        "num_attention_heads": [BertShape(4, heads, 1024, 768) for heads in (4, 16)],
        "hidden_size": [BertShape(4, 8, hidden, 768) for hidden in (512, 768)],
        "intermediate_size": [BertShape(4, 8, 1024, units) for units in (256, 512, 1024, 3072)],
    }


def test_intervals_are_the_unbroken_runs():
    values = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    assert intervals(values, np.array([True, True, False, False, True])) == [(0.0, 0.1), (0.4, 0.4)]
    assert intervals(values, np.zeros(5, dtype=bool)) == []
    assert intervals(values, np.ones(5, dtype=bool)) == [(0.0, 0.4)]


def test_a_shape_outside_the_space_is_refused(toy):
    with pytest.raises(ShapeError) as error:
        required_error_ratios(toy, BORT)
    assert str(error.value) == (
        "BERT shape (4, 8, 1024, 768) is not one of the 3 shapes of the space, so it has no rank there. Name a member, "
        "or add its values under params:search.space."
    )


def test_a_member_no_smaller_than_the_maximum_point_is_refused():
    with pytest.raises(ShapeError) as error:
        count_space([MEDIUM, BIG], BIG, vocabulary_size=10, max_positions=4, sequence_length=4)
    assert str(error.value) == (
        "BERT shape (2, 2, 8, 16) has 1,434 parameters and 12,160 operations, no fewer than the maximum point "
        "(2, 2, 8, 16) with 1,434 and 12,160; W needs fewer of both. Take it out of params:search.space or enlarge "
        "params:search.maximum_point."
    )


def small_measurements():
    """Tiny shapes whose error falls as a planted power of depth, hidden and intermediate size."""
    shapes = np.array(
        [
            (depth, heads, hidden, units)
            for depth in (1, 2, 4)
            for heads in (2, 4)
            for hidden in (64, 128, 256)
            for units in (128, 512)
        ]
    )
    return shapes, 0.8 * (shapes[:, 0] * shapes[:, 2] * shapes[:, 3] / 8192) ** -0.05


def test_extrapolation_of_a_planted_law_finds_its_winner_and_the_same_draws_again(published):
    shapes, errors = small_measurements()
    planted = (published.array[:, [0, 2, 3]].prod(axis=1)) ** -0.05
    expected = scores(published, planted)
    found = extrapolate(published, shapes, errors, followed=[BORT, BORT_EXCHANGED], resamplings=10, seed=0)
    again = extrapolate(published, shapes, errors, followed=[BORT, BORT_EXCHANGED], resamplings=10, seed=0)
    assert found.winner == int(np.argmax(expected))
    own = [published.index(shape) for shape in (BORT, BORT_EXCHANGED)]
    np.testing.assert_allclose(found.rank, ranks(expected)[own], atol=3)
    assert (found.resampled_winners.shape, found.resampled_ranks.shape) == ((10,), (10, 2))
    np.testing.assert_array_equal(found.resampled_ranks, again.resampled_ranks)


def test_resampling_draws_shapes_with_all_their_rows(published):
    # One shape measured three times can only be drawn whole, so that every draw is the whole.
    found = extrapolate(
        published,
        np.array([[2, 4, 64, 128]] * 3),
        np.array([0.7, 0.8, 0.9]),
        followed=[BORT],
        resamplings=4,
        seed=0,
    )
    assert found.resampled_winners.tolist() == [found.winner] * 4
    assert found.resampled_ranks.ravel().tolist() == [found.rank[0]] * 4
    # One shape says nothing of the others: every error is the mean logarithm, so that W ranks by size alone.
    np.testing.assert_allclose(found.predicted, (0.7 * 0.8 * 0.9) ** (1 / 3))
    assert (found.rank[0], published.shapes[found.winner]) == (179, BertShape(2, 4, 512, 256))
