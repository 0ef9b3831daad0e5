import numpy as np
import pytest

from bort_kedro.text.batching import BatchPlan, padding_share, plan_epoch, query_slots

BATCH_TOKENS = 64


@pytest.fixture
def lengths():
    return np.random.default_rng(3).integers(2, 40, size=500)


def as_lists(batches):
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_each_example_stands_in_exactly_one_batch_of_an_epoch(lengths, epoch):
    batches = plan_epoch(lengths, batch_tokens=BATCH_TOKENS, seed=1, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))


def test_padded_size_of_a_batch_stays_within_the_budget(lengths):
    batches = plan_epoch(lengths, batch_tokens=BATCH_TOKENS, seed=1, epoch=0)
    assert max(len(batch) * int(lengths[batch].max()) for batch in batches) <= BATCH_TOKENS


def test_an_example_longer_than_the_budget_makes_a_batch_alone():
    lengths = np.array([3, 12, 3, 3, 10])
    batches = plan_epoch(lengths, batch_tokens=9, seed=0, epoch=0)
    assert sorted(map(sorted, as_lists(batches))) == [[0, 2, 3], [1], [4]]


def test_examples_of_equal_length_fill_every_batch_but_the_last_of_a_pool():
    batches = plan_epoch(np.full(10, 4), batch_tokens=12, seed=0, epoch=0)
    assert sorted(len(batch) for batch in batches) == [1, 3, 3, 3]


def test_sorting_inside_pools_leaves_little_padding(lengths):
    batches = plan_epoch(lengths, batch_tokens=256, seed=1, epoch=0)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    # In plain shuffled order a batch is padded to nearly the longest of all, 1.9 times the mean.
    assert padded < 1.1 * lengths.sum()


def test_padding_share_is_that_of_the_planned_batches(lengths):
    batches = plan_epoch(lengths, batch_tokens=256, seed=1, epoch=0)
    padded = np.concatenate([np.full(len(batch), lengths[batch].max()) for batch in batches])
    expected = (padded.sum() - lengths.sum()) / padded.sum()
    assert padding_share(lengths, batch_tokens=256, seed=1) == pytest.approx(expected, abs=1e-12)
    assert 0 < expected < 0.1


def test_equal_lengths_need_no_padding_and_a_single_batch_that_to_its_longest():
    assert padding_share(np.full(30, 7), batch_tokens=70, seed=0) == 0.0
    assert padding_share(np.array([1, 3]), batch_tokens=6, seed=0) == pytest.approx(1 / 3)
    assert padding_share(np.array([], dtype=int), batch_tokens=6, seed=0) == 0.0


def test_same_seed_and_epoch_give_the_same_plan_and_others_another(lengths):
    plan = as_lists(plan_epoch(lengths, batch_tokens=BATCH_TOKENS, seed=1, epoch=0))
    assert as_lists(plan_epoch(lengths, batch_tokens=BATCH_TOKENS, seed=1, epoch=0)) == plan
    assert as_lists(plan_epoch(lengths, batch_tokens=BATCH_TOKENS, seed=2, epoch=0)) != plan
    assert as_lists(plan_epoch(lengths, batch_tokens=BATCH_TOKENS, seed=1, epoch=1)) != plan


def test_the_batch_of_a_step_does_not_depend_on_the_steps_asked_before(lengths):
    def new_plan():
        return BatchPlan(lengths[:60], batch_tokens=BATCH_TOKENS, seed=5)

    plan = new_plan()
    in_order = [(epoch, batch.tolist()) for epoch, batch in map(plan.at, range(80))]
    assert in_order[-1][0] >= 2
    for order in (reversed(range(80)), np.random.default_rng(0).permutation(80).tolist()):
        plan = new_plan()
        for step in order:
            epoch, batch = plan.at(step)
            assert (epoch, batch.tolist()) == in_order[step]
    epoch, batch = new_plan().at(79)
    assert (epoch, batch.tolist()) == in_order[79]


def test_steps_run_through_the_epochs_one_after_another(lengths):
    plan = BatchPlan(lengths, batch_tokens=BATCH_TOKENS, seed=5)
    steps = plan.first_epoch_steps
    first = [plan.at(step) for step in range(steps)]
    assert {epoch for epoch, _ in first} == {0}
    assert sorted(np.concatenate([batch for _, batch in first]).tolist()) == list(range(500))
    assert plan.at(steps)[0] == 1
    assert plan.first_epoch_steps == steps


def test_rows_ask_with_as_many_queries_as_the_fullest_and_unused_slots_with_their_first_token():
    # Row 0 asks for columns 1 and 4, row 1 for none, row 2 for column 0; rows have 5 columns.
    slots, positions = query_slots(np.array([1, 4, 10]), 3, 5)
    assert slots.tolist() == [0, 1, 4]
    assert positions.tolist() == [1, 4, 5, 5, 10, 10]


def test_a_batch_without_predicted_positions_asks_once_a_row_from_its_first_token():
    slots, positions = query_slots(np.zeros(0, dtype=np.int64), 2, 4)
    assert slots.tolist() == []
    assert positions.tolist() == [0, 4]
