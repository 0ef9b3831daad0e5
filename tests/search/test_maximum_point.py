"""T under Theta: which set and seed is kept, what its error is, and what a set that fails does."""

import pytest

from bort_kedro.errors import FailedTrainingError
from bort_kedro.search.maximum_point import Attempt, under_theta

# Error and loss by set and seed.
FOUND = {(0, 5): (0.4, 2.5), (0, 6): (0.6, 2.7), (1, 5): (0.5, 2.0), (1, 6): (0.3, 2.2), (2, 5): (0.2, 9.0)}


def train(number, seed):
    if (number, seed) not in FOUND:
        raise FailedTrainingError("T", f"set {number} came apart with seed {seed}", "")
    error, loss = FOUND[number, seed]
    noise = {"error_standard_error": 0.03, "loss_standard_error": 0.4}
    return Attempt(f"{number}/{seed}", {"error": error, "loss": loss, **noise, "seconds": 1.5, "num_tokens": 10}, [{}])


def test_the_best_set_counts_with_its_mean_over_seeds_and_its_first_seed_is_kept():
    best = under_theta(train, num_sets=2, seeds=[5, 6], decided_by="error")
    assert best.encoder == "1/5"
    # Both of 0.1 and 0.1 from their mean: a deviation of 0.1 of that, beside the noise of the split.
    assert best.errors == {
        "hyperparameter_set": 1,
        "error": pytest.approx(0.4),
        "error_standard_error": pytest.approx((0.03**2 + 0.1**2) ** 0.5),
        "loss": pytest.approx(2.1),
        "loss_standard_error": pytest.approx((0.4**2 + 0.1**2) ** 0.5),
        "seconds": 6.0,
        "num_tokens": 40,
    }


def test_the_measure_decides_which_set_is_the_best():
    assert under_theta(train, num_sets=3, seeds=[5], decided_by="error").encoder == "2/5"
    assert under_theta(train, num_sets=3, seeds=[5], decided_by="loss").encoder == "1/5"


def test_one_set_and_seed_is_what_it_was():
    best = under_theta(train, num_sets=1, seeds=[5], decided_by="error")
    assert best.errors == {"hyperparameter_set": 0} | train(0, 5).errors


def test_a_set_that_fails_with_any_seed_is_told_and_leaves_the_choice_to_the_others(caplog):
    assert under_theta(train, num_sets=3, seeds=[5, 6], decided_by="error").encoder == "1/5"
    assert caplog.messages == ["The maximum point failed with hyperparameter set 2: set 2 came apart with seed 6."]
    with pytest.raises(FailedTrainingError, match="set 0 came apart with seed 7"):
        under_theta(train, num_sets=3, seeds=[7], decided_by="error")
