"""Trainings that are looked at on their way, through the loop that trains everything."""

from itertools import pairwise

import pytest
import torch

from bort_kedro.training.early_stopping import EarlyStopping
from bort_kedro.training.loop import train
from bort_kedro.training.settings import OptimizationSettings
from memory_states import DictStore

SETTINGS = OptimizationSettings(
    num_steps=20,
    learning_rate=0.3,
    warmup_share=0.1,
    weight_decay=0.01,
    adam_beta2=0.98,
    adam_epsilon=1e-6,
    max_gradient_norm=10.0,
    seed=3,
    mixed_precision="no",
    checkpoint_every_steps=3,
    schedule="linear",
    bias_correction=True,
    gradient_accumulation_steps=1,
)


class Interrupted(Exception):
    """Stands for a kill."""


def new_model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.4), torch.nn.Linear(8, 1))


def batch_at(step):
    inputs = torch.randn(5, 6, generator=torch.Generator().manual_seed(step))
    return {"inputs": inputs, "wanted": inputs.sum(1, keepdim=True)}


def squared_error(model, batch):
    return {"loss": torch.nn.functional.mse_loss(model(batch["inputs"]), batch["wanted"])}


@torch.inference_mode()
def closeness(model):
    """A score that goes up and down, since dropout and a high learning rate make a rough way."""
    return -float(squared_error(model, batch_at(10_000))["loss"])


def scripted(*scores):
    left = iter(scores)
    return lambda model: next(left)


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def are_equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def trained(early_stopping=None, settings=SETTINGS, **options):
    model = new_model()
    result = train(
        model, squared_error, options.pop("batch_at", batch_at), settings, early_stopping=early_stopping, **options
    )
    return weights(model), result


def weights_after(step):
    return trained(stop_at=step)[0]


def test_the_weights_of_the_best_look_are_kept():
    stopping = EarlyStopping(scripted(0.2, 0.8, 0.5, 0.6, 0.1), every_steps=4, patience=None)
    found, result = trained(stopping)
    assert are_equal(found, weights_after(8))
    assert not are_equal(found, weights_after(20))
    assert stopping.best == {"step": 8, "score": 0.8}
    assert stopping.scores == [
        {"step": 4, "score": 0.2},
        {"step": 8, "score": 0.8},
        {"step": 12, "score": 0.5},
        {"step": 16, "score": 0.6},
        {"step": 20, "score": 0.1},
    ]
    assert result.num_steps == 20


def test_the_first_of_equal_looks_is_kept():
    stopping = EarlyStopping(scripted(0.2, 0.8, 0.8, 0.8, 0.1), every_steps=4, patience=None)
    found, _ = trained(stopping)
    assert stopping.best["step"] == 8
    assert are_equal(found, weights_after(8))


def test_so_many_looks_without_a_better_one_end_the_training():
    stopping = EarlyStopping(scripted(0.2, 0.8, 0.5, 0.9, 0.9, 0.6), every_steps=2, patience=2)
    found, result = trained(stopping)
    # The second 0.9 is not better, and ends it together with 0.6.
    assert result.num_steps == 12
    assert [row["step"] for row in result.history] == list(range(1, 13))
    assert [look["step"] for look in stopping.scores] == [2, 4, 6, 8, 10, 12]
    assert are_equal(found, weights_after(8))


def test_a_better_look_gives_new_patience():
    stopping = EarlyStopping(scripted(0.5, 0.4, 0.6, 0.4, 0.7, 0.4, 0.8, 0.4, 0.9, 0.4), every_steps=2, patience=2)
    _, result = trained(stopping)
    assert result.num_steps == 20
    assert stopping.best == {"step": 18, "score": 0.9}


def test_patience_of_one_ends_at_the_first_look_that_is_no_better():
    stopping = EarlyStopping(scripted(0.5, 0.5), every_steps=3, patience=1)
    found, result = trained(stopping)
    assert result.num_steps == 6
    assert are_equal(found, weights_after(3))


def test_looks_in_the_warmup_use_up_no_patience():
    """The best is the first, at step 2; of the looks at 4, 6, 8, 10 and 12 only the last two count."""
    stopping = EarlyStopping(lambda model: 0.0, every_steps=2, patience=2, warmup_steps=8)
    found, result = trained(stopping)
    assert result.num_steps == 12
    assert are_equal(found, weights_after(2))


def test_without_patience_a_training_goes_on_to_its_last_step():
    stopping = EarlyStopping(scripted(*[0.9, *[0.1] * 9]), every_steps=2, patience=None)
    found, result = trained(stopping)
    assert result.num_steps == 20
    assert are_equal(found, weights_after(2))


@pytest.mark.parametrize(
    ("every_steps", "looks"), [(7, [7, 14, 20]), (20, [20]), (50, [20]), (10, [10, 20])], ids="every {}".format
)
def test_looks_are_regular_and_the_last_step_is_always_looked_at(every_steps, looks):
    stopping = EarlyStopping(closeness, every_steps=every_steps, patience=None)
    trained(stopping)
    assert [look["step"] for look in stopping.scores] == looks


def test_looking_changes_no_step():
    stopping = EarlyStopping(scripted(*range(20)), every_steps=1, patience=1)
    found, result = trained(stopping)
    plain, plain_result = trained()
    assert are_equal(found, plain)
    assert result.history == plain_result.history
    assert result.num_steps == plain_result.num_steps == 20


def test_a_model_is_looked_at_without_dropout_and_left_without():
    modes = []

    def score(model):
        modes.append([module.training for module in model.modules()])
        return 0.0

    model = new_model()
    train(model, squared_error, batch_at, SETTINGS, early_stopping=EarlyStopping(score, every_steps=5, patience=None))
    assert modes == [[False] * 4] * 4
    assert not model.training


def test_there_is_no_best_look_before_the_first():
    with pytest.raises(ValueError, match="empty"):
        _ = EarlyStopping(closeness, every_steps=1, patience=None).best


def killed_at(step):
    def batch_or_kill(asked):
        if asked == step:
            raise Interrupted
        return batch_at(asked)

    return batch_or_kill


def rough(score=closeness):
    """Looks at every second step, and ends at the third look that is no better."""
    return EarlyStopping(score, every_steps=2, patience=3)


def test_the_way_that_is_resumed_below_is_rough_and_ends_early():
    stopping = rough()
    _, result = trained(stopping)
    scores = [look["score"] for look in stopping.scores]
    assert result.num_steps == stopping.scores[-1]["step"] < SETTINGS.num_steps
    assert stopping.best["step"] == result.num_steps - 3 * 2
    assert sum(later < before for before, later in pairwise(scores)) >= 2


@pytest.mark.parametrize("checkpoint_every_steps", [1, 2, 3])
def test_a_training_resumed_at_any_saved_step_equals_an_uninterrupted_one(checkpoint_every_steps):
    settings = SETTINGS.changed(checkpoint_every_steps=checkpoint_every_steps)
    whole = rough()
    expected, expected_result = trained(whole)
    for kill in range(1, expected_result.num_steps):
        store = DictStore()
        with pytest.raises(Interrupted):
            trained(rough(), settings, states=store, batch_at=killed_at(kill))
        assert max(store.states, default=0) == kill // checkpoint_every_steps * checkpoint_every_steps
        torch.rand(17)  # The caller's generator stands elsewhere in the new process.
        resumed = rough()
        found, result = trained(resumed, settings, states=store)
        assert are_equal(found, expected), kill
        assert resumed.scores == whole.scores
        assert resumed.best == whole.best
        assert result.history == expected_result.history
        assert result.num_steps == expected_result.num_steps


def test_a_training_killed_while_it_is_looked_at_looks_again():
    whole = rough()
    expected, expected_result = trained(whole)
    for kill in range(len(whole.scores)):
        count, store = iter(range(100)), DictStore()

        def score_or_kill(model, count=count, kill=kill):
            if next(count) == kill:
                raise Interrupted
            return closeness(model)

        with pytest.raises(Interrupted):
            trained(rough(score_or_kill), states=store)
        resumed = rough()
        found, result = trained(resumed, states=store)
        assert are_equal(found, expected), kill
        assert resumed.scores == whole.scores
        assert result.history == expected_result.history


def test_a_training_that_is_stopped_on_its_way_keeps_its_last_weights_and_goes_on_to_the_best():
    whole = rough()
    expected, expected_result = trained(whole)
    store = DictStore()
    for stop in (5, 11):
        stopped, _ = trained(rough(), states=store, stop_at=stop)
        assert are_equal(stopped, weights_after(stop))
    gone_on = rough()
    found, result = trained(gone_on, states=store)
    assert are_equal(found, expected)
    assert gone_on.scores == whole.scores
    assert result.history == expected_result.history


@pytest.mark.parametrize("patience", [3, None], ids=["ended early", "ended at its last step"])
def test_a_finished_training_is_found_and_not_repeated(patience):
    store = DictStore()
    first = EarlyStopping(closeness, every_steps=2, patience=patience)
    expected, expected_result = trained(first, states=store)
    again = EarlyStopping(scripted(), every_steps=2, patience=patience)
    found, result = trained(again, states=store, batch_at=killed_at(0))
    assert are_equal(found, expected)
    assert result == expected_result
    assert again.scores == first.scores
    assert again.best == first.best
    assert result.num_steps == (20 if patience is None else first.scores[-1]["step"])


def test_a_finished_state_keeps_the_best_weights_alone_and_others_the_best_beside_all():
    store, stopping = DictStore(), EarlyStopping(scripted(0.2, 0.8, 0.5, 0.1), every_steps=4, patience=2)
    trained(stopping, states=store)
    kinds = {step: {name.split(".")[0] for name in state.tensors} for step, state in store.states.items()}
    # Nothing was looked at before step 4.
    assert kinds[3] == {"model", "optimizer", "generator"}
    assert all(kinds[step] == {"model", "optimizer", "generator", "best"} for step in (6, 9, 12, 15))
    assert (max(kinds), kinds[16]) == (16, {"model"})
    best = {f"model.{name}": value for name, value in weights_after(8).items()}
    assert are_equal(store.states[16].tensors, best)
    assert are_equal(
        {f"best.{name}": value for name, value in weights_after(8).items()},
        {name: value for name, value in store.states[12].tensors.items() if name.startswith("best.")},
    )
    assert store.states[16].record["has_ended"]
    assert not store.states[15].record["has_ended"]


def test_the_best_weights_are_put_into_a_model():
    stopping, best, other = rough(scripted(1.0, 0.5)), new_model(), new_model()
    torch.nn.init.zeros_(other[0].weight)
    stopping.look(best, 1)
    stopping.look(other, 2)
    stopping.put_best(other)
    assert are_equal(weights(other), weights(best))
