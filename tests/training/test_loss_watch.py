import dataclasses

import pytest

from bort_kedro.training.loss_watch import WINDOW_STEPS, LossWatch


def alarms(means):
    """Steps, counted from 1, at which a training with these window means is called diverged."""
    watch = LossWatch()
    losses = [mean for mean in means for _ in range(WINDOW_STEPS)]
    return [step for step, loss in enumerate(losses, 1) if watch.has_climbed(loss)]


@pytest.mark.parametrize(
    "means",
    [[7.0, 6.0, 5.0, 4.0], [7.0, 7.1, 7.0, 7.2], [7.0, 4.0, 5.9], [7.0, 3.0, 7.5], [7.0, 6.9, 7.6]],
    ids=["learns", "learns nothing", "loses less than half", "back to its start", "a little above its start"],
)
def test_a_training_that_did_not_come_apart_raises_no_alarm(means):
    assert alarms(means) == []


def test_a_loss_above_its_start_and_far_above_its_best_is_divergence_at_the_end_of_that_window():
    assert alarms([7.0, 5.0, 8.0]) == [3 * WINDOW_STEPS]


def test_one_hard_batch_is_no_divergence():
    watch = LossWatch()
    losses = [7.0] * WINDOW_STEPS + [4.0] * WINDOW_STEPS + [4.0] * (WINDOW_STEPS - 1) + [90.0]
    assert not any(watch.has_climbed(loss) for loss in losses)


def test_a_watch_that_goes_on_from_its_values_sees_what_one_without_a_break_sees():
    losses = [7.0] * 50 + [5.0] * 50 + [8.0] * 50
    whole = LossWatch()
    expected = [whole.has_climbed(loss) for loss in losses]
    for stop in (30, 50, 120):
        first = LossWatch()
        seen = [first.has_climbed(loss) for loss in losses[:stop]]
        resumed = LossWatch(**dataclasses.asdict(first))
        assert seen + [resumed.has_climbed(loss) for loss in losses[stop:]] == expected
    assert expected.index(True) == 149
