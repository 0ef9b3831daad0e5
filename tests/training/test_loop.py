import math
import threading

import pytest
import torch
from accelerate.state import AcceleratorState

from batch_reading import mask_of
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.errors import CheckpointError, StorageError, TrainingError
from bort_kedro.pretraining.masked_blocks import MaskedBlocks
from bort_kedro.pretraining.masked_lm import masked_lm_objective
from bort_kedro.training.loop import train
from bort_kedro.training.optimizer import ADAM_BETA1, build_optimizer
from bort_kedro.training.throughput import ThroughputMeter
from bort_kedro.training.validation import Validation
from half_on_cpu import HalfOnCpu
from memory_states import DictStore
from toy_training import OPTIMIZATION as SETTINGS


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.fixture
def new_model(tiny_shape, tiny_vocabulary):
    def build(dropout=0.2):
        config = bert_config(tiny_shape, vocabulary_size=tiny_vocabulary.size, max_positions=16, dropout=dropout)
        return build_masked_lm(config, seed=5)

    return build


@pytest.fixture
def batch_at(tiny_blocks, tiny_vocabulary):
    data = MaskedBlocks(tiny_blocks, tiny_vocabulary, seed=1, masked_share=0.3)
    return data.training_batches(batch_tokens=48)


def stopping_at(batch_at, stop):
    def batch_or_kill(step):
        if step == stop:
            raise Interrupted
        return batch_at(step)

    return batch_or_kill


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def largest_difference(left, right):
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def without_seconds(result):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]


@pytest.mark.parametrize("stop", [5, 7], ids=["just after the state", "long after it"])
def test_resumed_training_matches_uninterrupted_training_bit_for_bit(new_model, batch_at, stop):
    whole = new_model()
    whole_result = train(whole, masked_lm_objective, batch_at, SETTINGS)

    store = DictStore()
    with pytest.raises(Interrupted):
        train(new_model(), masked_lm_objective, stopping_at(batch_at, stop), SETTINGS, states=store)
    assert sorted(store.states) == [4]
    torch.rand(17)  # The caller's generator stands elsewhere in the new process.
    resumed = new_model()
    resumed_result = train(resumed, masked_lm_objective, batch_at, SETTINGS, states=store)

    assert largest_difference(weights(resumed), weights(whole)) == 0.0
    assert without_seconds(resumed_result) == without_seconds(whole_result)
    shown = sum(int(mask_of(batch_at(step)).sum()) for step in range(SETTINGS.num_steps))
    assert (resumed_result.num_tokens, whole_result.num_tokens) == (shown, shown)


def test_plain_descent_within_a_box_goes_on_bit_for_bit_and_stays_there(new_model, batch_at):
    settings = SETTINGS.changed(optimizer="sgd", learning_rate=1.0, max_weight=0.9)
    whole, store, resumed = new_model(), DictStore(), new_model()
    train(whole, masked_lm_objective, batch_at, settings)
    with pytest.raises(Interrupted):
        train(new_model(), masked_lm_objective, stopping_at(batch_at, 5), settings, states=store)
    assert [state.goes_on for state in store.states.values()] == [True]
    train(resumed, masked_lm_objective, batch_at, settings, states=store)
    assert largest_difference(weights(resumed), weights(whole)) == 0.0
    # Scales of layer norms begin at 1.
    assert max(float(value.abs().max()) for value in weights(whole).values()) == pytest.approx(0.9)
    assert largest_difference(weights(new_model()), weights(whole)) > 0.1


def test_resuming_takes_the_steps_that_are_left_and_no_other(new_model, batch_at):
    store, asked = DictStore(), []
    with pytest.raises(Interrupted):
        train(new_model(), masked_lm_objective, stopping_at(batch_at, 6), SETTINGS, states=store)

    def noted(step):
        asked.append(step)
        return batch_at(step)

    train(new_model(), masked_lm_objective, noted, SETTINGS, states=store)
    assert asked == [4, 5, 6, 7]


TEN_STEPS = SETTINGS.changed(num_steps=10, checkpoint_every_steps=3)


@pytest.mark.parametrize("kill", [None, 5, 6], ids=["not killed", "killed before a state", "killed after a state"])
def test_training_to_4_then_7_then_10_steps_ends_bit_for_bit_where_10_at_once_end(new_model, batch_at, kill):
    whole = new_model()
    whole_result = train(whole, masked_lm_objective, batch_at, TEN_STEPS)

    store, asked = DictStore(), []

    def noted(step):
        asked.append(step)
        return batch_at(step)

    train(new_model(), masked_lm_objective, noted, TEN_STEPS, states=store, stop_at=4)
    if kill is not None:
        with pytest.raises(Interrupted):
            train(new_model(), masked_lm_objective, stopping_at(batch_at, kill), TEN_STEPS, states=store, stop_at=7)
    torch.rand(17)  # The caller's generator stands elsewhere in the new process.
    train(new_model(), masked_lm_objective, noted, TEN_STEPS, states=store, stop_at=7)
    stopped = new_model()
    stopped_result = train(stopped, masked_lm_objective, noted, TEN_STEPS, states=store)

    assert largest_difference(weights(stopped), weights(whole)) == 0.0
    assert without_seconds(stopped_result) == without_seconds(whole_result)
    assert asked == ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] if kill != 6 else [0, 1, 2, 3, 6, 7, 8, 9])


def test_a_stop_leaves_the_weights_of_its_step_in_evaluation_mode_and_a_whole_state(new_model, batch_at):
    store, model = DictStore(), new_model()
    result = train(model, masked_lm_objective, batch_at, TEN_STEPS, states=store, stop_at=4)
    assert [row["step"] for row in result.history] == [1, 2, 3, 4]
    assert sorted(store.states) == [3, 4]
    assert {"model", "optimizer", "generator"} == {name.split(".")[0] for name in store.states[4].tensors}
    assert not model.training
    kept = {name: store.states[4].tensors[f"model.{name}"] for name, _ in model.named_parameters()}
    assert largest_difference(kept, {name: weights(model)[name] for name in kept}) == 0.0


def test_a_second_call_with_the_same_stop_runs_no_step(new_model, batch_at):
    store, first, second = DictStore(), new_model(), new_model()
    first_result = train(first, masked_lm_objective, batch_at, TEN_STEPS, states=store, stop_at=4)
    asked = []
    second_result = train(second, masked_lm_objective, asked.append, TEN_STEPS, states=store, stop_at=4)
    assert asked == []
    assert largest_difference(weights(second), weights(first)) == 0.0
    assert second_result == first_result
    assert not second.training


def test_a_stop_at_the_last_step_is_the_whole_training(new_model, batch_at):
    left, right, store = new_model(), new_model(), DictStore()
    left_result = train(left, masked_lm_objective, batch_at, TEN_STEPS)
    right_result = train(right, masked_lm_objective, batch_at, TEN_STEPS, states=store, stop_at=10)
    assert largest_difference(weights(left), weights(right)) == 0.0
    assert without_seconds(left_result) == without_seconds(right_result)
    assert {name.split(".")[0] for name in store.states[10].tensors} == {"model"}


def test_a_stop_leaves_no_row_of_its_own_in_a_thinned_history():
    model = torch.nn.Linear(1, 1)
    settings = SETTINGS.changed(num_steps=400, checkpoint_every_steps=400)
    loss, batch = (lambda net, given: {"loss": net(given["x"]).square().mean()}), {"x": torch.ones(1, 1)}
    result = train(model, loss, lambda _: batch, settings, stop_at=5)
    assert [row["step"] for row in result.history] == [2, 4]


def test_a_stop_before_the_newest_state_is_refused(new_model, batch_at):
    store = DictStore()
    train(new_model(), masked_lm_objective, batch_at, TEN_STEPS, states=store, stop_at=7)
    with pytest.raises(CheckpointError) as caught:
        train(new_model(), masked_lm_objective, batch_at, TEN_STEPS, states=store, stop_at=4, description="D2")
    assert str(caught.value) == (
        "D2: the newest saved state is at step 7, beyond step 4 asked for, and trainings go forward only. Remove the "
        "folder of its states to train anew."
    )


@pytest.mark.parametrize("stop", [0, 11])
def test_a_stop_outside_of_the_training_is_refused(new_model, batch_at, stop):
    with pytest.raises(TrainingError) as caught:
        train(new_model(), masked_lm_objective, batch_at, TEN_STEPS, stop_at=stop, description="D2")
    assert str(caught.value) == (
        f"D2: stop_at is {stop}, allowed is 1 to num_steps, which is 10 in the parameters of this stage."
    )


def test_dropout_is_on_while_training_and_off_after(new_model, batch_at):
    with_dropout, without = new_model(dropout=0.2), new_model(dropout=0.0)
    assert largest_difference(weights(with_dropout), weights(without)) == 0.0
    train(with_dropout, masked_lm_objective, batch_at, SETTINGS)
    train(without, masked_lm_objective, batch_at, SETTINGS)
    assert largest_difference(weights(with_dropout), weights(without)) > 1e-4
    assert not with_dropout.training


def test_keeping_states_changes_no_weight(new_model, batch_at):
    plain, kept = new_model(), new_model()
    train(plain, masked_lm_objective, batch_at, SETTINGS)
    train(kept, masked_lm_objective, batch_at, SETTINGS, states=DictStore())
    assert largest_difference(weights(plain), weights(kept)) == 0.0


def test_same_seed_gives_the_same_weights_and_another_seed_other_dropout(new_model, batch_at):
    trained = []
    for seed in (3, 3, 4):
        model = new_model()
        train(model, masked_lm_objective, batch_at, SETTINGS.changed(seed=seed))
        trained.append(weights(model))
    assert largest_difference(trained[0], trained[1]) == 0.0
    assert largest_difference(trained[0], trained[2]) > 1e-4


def test_training_leaves_the_generator_of_the_caller_untouched(new_model, batch_at):
    model = new_model()
    torch.manual_seed(99)
    expected = torch.rand(4)
    torch.manual_seed(99)
    train(model, masked_lm_objective, batch_at, SETTINGS)
    assert torch.equal(torch.rand(4), expected)


def test_finished_training_is_taken_from_the_store_and_not_trained_again(new_model, batch_at):
    store = DictStore()
    first = new_model()
    first_result = train(first, masked_lm_objective, batch_at, SETTINGS, states=store)
    assert sorted(store.states) == [4, 8]
    second = new_model()
    second_result = train(second, masked_lm_objective, stopping_at(batch_at, 0), SETTINGS, states=store)
    assert largest_difference(weights(second), weights(first)) == 0.0
    assert second_result == first_result
    assert not second.training


def test_a_finished_state_keeps_the_weights_alone(new_model, batch_at):
    store = DictStore()
    train(new_model(), masked_lm_objective, batch_at, SETTINGS, states=store)
    kinds = {step: {name.split(".")[0] for name in state.tensors} for step, state in store.states.items()}
    assert {"model", "optimizer", "generator"} <= kinds[4]
    assert kinds[8] == {"model"}


def test_history_has_one_row_a_step_with_the_scheduled_learning_rate(new_model, batch_at):
    result = train(new_model(), masked_lm_objective, batch_at, SETTINGS)
    assert [row["step"] for row in result.history] == [1, 2, 3, 4, 5, 6, 7, 8]
    factors = [1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert [row["learning_rate"] for row in result.history] == pytest.approx([1e-2 * factor for factor in factors])
    assert set(result.history[0]) == {"step", "loss", "masked_accuracy", "learning_rate", "gradient_norm"}
    # Untrained, every one of the 300 ids is about equally likely.
    assert result.history[0]["loss"] == pytest.approx(math.log(300), abs=0.5)
    assert result.seconds > 0


def test_history_of_a_long_training_is_thinned_to_about_two_hundred_rows():
    model = torch.nn.Linear(1, 1)
    settings = SETTINGS.changed(num_steps=400, checkpoint_every_steps=400)
    batch = {"x": torch.ones(1, 1)}
    result = train(model, lambda net, given: {"loss": net(given["x"]).square().mean()}, lambda _: batch, settings)
    assert [row["step"] for row in result.history] == list(range(2, 401, 2))


def test_training_learns_what_it_is_shown_over_and_over(new_model, batch_at):
    settings = SETTINGS.changed(num_steps=40)
    result = train(new_model(dropout=0.0), masked_lm_objective, lambda _: batch_at(0), settings)
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]


def test_frozen_token_types_stay_zero_while_every_other_weight_moves(new_model, batch_at):
    model = new_model()
    before = weights(model)
    train(model, masked_lm_objective, batch_at, SETTINGS)
    name = "bert.embeddings.token_type_embeddings.weight"
    assert torch.equal(model.state_dict()[name], torch.zeros(1, 16))
    still = {key for key, value in model.named_parameters() if torch.equal(value, before[key])}
    assert still == {name}


def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_step():
    model = torch.nn.Linear(1, 1)
    store = DictStore()

    def loss(net, batch):
        return {"loss": (net(batch["x"]) * batch["factor"]).sum()}

    def batch_at(step):
        return {"x": torch.ones(1, 1), "factor": torch.tensor(float("nan") if step == 5 else 1.0)}

    with pytest.raises(TrainingError) as caught:
        train(model, loss, batch_at, SETTINGS, states=store, description="pretraining of D2-A2-H16-I24")
    text = str(caught.value)
    assert text.startswith("pretraining of D2-A2-H16-I24: loss, gradient_norm is not finite at step 6.")
    assert text.endswith(
        "The last good state is kept. Lower learning_rate or max_gradient_norm, raise warmup_share, or set "
        "mixed_precision to `no` in the parameters of this stage, then run the same command again: other settings "
        "train anew from the start."
    )
    assert sorted(store.states) == [4]
    assert all(value.isfinite().all() for value in store.states[4].tensors.values() if value.is_floating_point())


def test_the_gradient_is_clipped_to_the_norm_and_its_own_norm_is_told():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 2.0)
    # An epsilon of 1 lets the size of the gradient be seen in Adam's first step, which is g / (|g| + 1).
    settings = SETTINGS.changed(num_steps=1, warmup_share=0.0, adam_epsilon=1.0)
    batch = {"x": torch.ones(1, 1)}
    result = train(model, lambda net, given: {"loss": (net(given["x"]) * 100).sum()}, lambda _: batch, settings)
    assert result.history[0]["gradient_norm"] == pytest.approx(100.0)
    assert model.weight.item() == pytest.approx(2.0 * (1 - 1e-2 * 0.01) - 1e-2 / 2, abs=1e-6)


def test_one_process_may_train_in_one_precision_after_another(new_model, batch_at):
    settings = SETTINGS.changed(num_steps=2)
    full, half = (
        train(
            new_model(),
            masked_lm_objective,
            batch_at,
            settings.changed(mixed_precision=precision),
        )
        for precision in ("no", "bf16")
    )
    assert half.history[0]["loss"] == pytest.approx(full.history[0]["loss"], rel=0.02)
    assert half.history[0]["loss"] != full.history[0]["loss"]


def test_weight_decay_spares_biases_and_layer_norms(new_model):
    model = new_model()
    groups = build_optimizer(model, SETTINGS).param_groups
    decay_of = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        if "token_type" in name:
            assert id(parameter) not in decay_of
        else:
            spared = name.endswith("bias") or "LayerNorm" in name
            assert decay_of[id(parameter)] == (0.0 if spared else 0.01), name


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_accumulated_parts_of_a_batch_give_the_weights_of_the_whole(new_model, batch_at, parts):
    """Parts hold different numbers of predicted positions, and with seven some hold none."""
    whole, divided = new_model(dropout=0.0), new_model(dropout=0.0)
    # An epsilon of this size keeps Adam from blowing rounding up to a whole step.
    settings = SETTINGS.changed(adam_epsilon=1e-3)
    result = train(whole, masked_lm_objective, batch_at, settings)
    settings = settings.changed(gradient_accumulation_steps=parts)
    divided_result = train(divided, masked_lm_objective, batch_at, settings)
    assert largest_difference(weights(divided), weights(whole)) < 1e-5
    for left, right in zip(divided_result.history, result.history, strict=True):
        assert left == pytest.approx(right, rel=1e-3)


def test_a_loss_that_climbs_stops_the_training_names_the_step_and_keeps_the_last_state():
    model, store = torch.nn.Linear(1, 1), DictStore()
    settings = SETTINGS.changed(num_steps=400, checkpoint_every_steps=60)
    means = [7.0, 2.0, 9.0]

    def loss(net, batch):
        return {"loss": net(batch["x"]).sum() * 0 + batch["height"]}

    def batch_at(step):
        return {"x": torch.ones(1, 1), "height": torch.tensor(means[min(step // 50, 2)])}

    with pytest.raises(TrainingError) as caught:
        train(model, loss, batch_at, settings, states=store, description="pretraining of D2-A2-H16-I24")
    assert str(caught.value) == (
        "pretraining of D2-A2-H16-I24: the loss has climbed to 9.000 at step 150, above where it began (7.000) and far "
        "above its best (2.000, means of 50 steps). The last good state is kept. Lower learning_rate or "
        "max_gradient_norm, raise warmup_share, or set mixed_precision to `no` in the parameters of this stage, then "
        "run the same command again: other settings train anew from the start."
    )
    assert sorted(store.states) == [60, 120]


def test_a_full_disk_stops_the_training_and_leaves_the_last_good_state(new_model, batch_at):
    class FillsUp(DictStore):
        def put(self, state):
            if self.states:
                raise StorageError("the disk is full")
            super().put(state)

    store, whole = FillsUp(), new_model()
    settings = SETTINGS.changed(checkpoint_every_steps=2)
    with pytest.raises(StorageError, match="the disk is full"):
        train(new_model(), masked_lm_objective, batch_at, settings, states=store)
    assert sorted(store.states) == [2]
    # With room again, training goes on from there and ends where one without a fault does.
    emptied, resumed = DictStore(), new_model()
    emptied.states = store.states
    train(resumed, masked_lm_objective, batch_at, settings, states=emptied)
    train(whole, masked_lm_objective, batch_at, settings)
    assert largest_difference(weights(resumed), weights(whole)) == 0.0


def test_rows_are_told_as_they_are_made_and_hold_speed_where_a_meter_counts(new_model, batch_at, tiny_shape):
    told = []
    result = train(
        new_model(),
        masked_lm_objective,
        batch_at,
        SETTINGS,
        meter_for=lambda device, count: ThroughputMeter(tiny_shape, 300, 1e9, count),
        on_row=lambda row: told.append(row["step"]),
    )
    assert told == [1, 2, 3, 4, 5, 6, 7, 8]
    last = result.history[-1]
    assert last["tokens_per_second"] > 0
    assert last["model_flop_utilization"] > 0
    assert last["device_hours"] == pytest.approx(last["device_hours_forecast"])
    first = result.history[0]
    assert first["device_hours_forecast"] == pytest.approx(8 * first["device_hours"])


class SlowStore(DictStore):
    """Writes when it is let."""

    def __init__(self):
        super().__init__()
        self.may_write = threading.Event()

    def put(self, state):
        self.may_write.wait(timeout=60)
        super().put(state)


def test_steps_go_on_while_a_state_is_written_and_the_state_is_that_of_its_step(new_model, batch_at):
    slow, at_once, asked = SlowStore(), DictStore(), []

    def noted(step):
        asked.append(step)
        if step == 5:
            # The state of step 4 has been handed over and not been written.
            assert not slow.states
            slow.may_write.set()
        return batch_at(step)

    settings = SETTINGS.changed(checkpoint_every_steps=4)
    with pytest.raises(Interrupted):
        train(new_model(), masked_lm_objective, stopping_at(noted, 7), settings, states=slow)
    with pytest.raises(Interrupted):
        train(new_model(), masked_lm_objective, stopping_at(batch_at, 4), settings, states=at_once)
    assert asked[:6] == list(range(6))
    (found,), (expected,) = slow.states.values(), at_once.states.values()
    assert found.step == expected.step == 4
    assert found.record["history"] == expected.record["history"]
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(found.tensors[name], expected.tensors[name]) for name in expected.tensors)


def validation_of(batch_at, every_steps):
    return Validation(every_steps, 3, lambda number: batch_at(100 + number), masked_lm_objective)


def test_a_validation_gives_rows_of_the_weights_at_their_steps_and_changes_none(new_model, batch_at):
    alone, looked, told = new_model(), new_model(), []
    plain = train(alone, masked_lm_objective, batch_at, SETTINGS)
    validation = validation_of(batch_at, 3)
    found = train(looked, masked_lm_objective, batch_at, SETTINGS, validation=validation, on_row=told.append)
    assert largest_difference(weights(looked), weights(alone)) == 0.0
    assert [{k: v for k, v in row.items() if not k.startswith("validation_")} for row in found.history] == plain.history
    assert [row["step"] for row in found.history if "validation_loss" in row] == [3, 6, 8]
    assert told == found.history
    # The mean over predictions, not over batches, of the model as it ended.
    batches = [batch_at(100 + number) for number in range(3)]
    with torch.no_grad():
        values = [(masked_lm_objective(looked, batch), float(batch["weight"])) for batch in batches]
    total = sum(weight for _, weight in values)
    for name in ("loss", "masked_accuracy"):
        expected = sum(float(value[name]) * weight for value, weight in values) / total
        assert found.history[-1][f"validation_{name}"] == pytest.approx(expected, rel=1e-6)


def test_a_resumed_training_is_validated_as_one_at_once(new_model, batch_at):
    whole = train(new_model(), masked_lm_objective, batch_at, SETTINGS, validation=validation_of(batch_at, 3))
    states = DictStore()
    for stop in (5, 8):
        resumed = train(
            *(new_model(), masked_lm_objective, batch_at, SETTINGS),
            states=states,
            stop_at=stop,
            validation=validation_of(batch_at, 3),
        )
    assert resumed.history == whole.history


def test_device_hours_count_each_process_for_as_long_as_it_took_part(new_model, batch_at, tiny_shape):
    """Half the way took an hour on three processes; the rest takes moments on this one."""
    store = DictStore()
    train(new_model(), masked_lm_objective, batch_at, SETTINGS, states=store, stop_at=4)
    record = store.states[4].record
    assert record["device_seconds"] == pytest.approx(record["seconds"], rel=0.2, abs=0.05)
    record |= {"seconds": 3600.0, "device_seconds": 3 * 3600.0}
    meter_for = lambda device, count: ThroughputMeter(tiny_shape, 300, 1e9, count)  # noqa: E731
    result = train(new_model(), masked_lm_objective, batch_at, SETTINGS, states=store, meter_for=meter_for)
    assert result.history[-1]["device_hours"] == pytest.approx(3.0, abs=0.1)
    assert result.seconds == pytest.approx(3600, abs=60)


class Stream:
    """Batches that can only be asked for going forward from where it stands."""

    def __init__(self, batch_at):
        self.batch_at, self.at = batch_at, 0

    def __call__(self, step):
        assert step >= self.at, "asked for what was read before"
        return self.batch_at(step)

    def state(self, step):
        return {"at": step}

    def restore(self, state):
        self.at = state["at"]


def test_a_stream_goes_on_from_its_saved_position(new_model, batch_at):
    store, whole, resumed = DictStore(), new_model(), new_model()
    train(whole, masked_lm_objective, batch_at, SETTINGS)
    with pytest.raises(Interrupted):
        train(new_model(), masked_lm_objective, stopping_at(Stream(batch_at), 6), SETTINGS, states=store)
    # The wrapper that kills has no position, so give the state what a stream would have saved.
    store.states[4].record["stream"] = {"at": 4}
    stream = Stream(batch_at)
    train(resumed, masked_lm_objective, stream, SETTINGS, states=store)
    assert stream.at == 4
    assert largest_difference(weights(resumed), weights(whole)) == 0.0
    fresh = DictStore()
    train(new_model(), masked_lm_objective, Stream(batch_at), SETTINGS, states=fresh)
    assert fresh.states[4].record["stream"] == {"at": 4}


@pytest.fixture
def one_weight(monkeypatch):
    """Trains one weight in fp16; its gradient is 1, and infinite at the steps that overflow."""
    monkeypatch.setattr("bort_kedro.training.loop.Accelerator", HalfOnCpu)

    def run(settings, overflows, **others):
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(model.weight)

        def loss(net, batch):
            weight = net.weight.sum()
            # At 0 a root's slope is infinite.
            return {"loss": (weight - weight.detach()).sqrt() if batch["overflows"] else weight}

        result = train(model, loss, lambda step: {"overflows": torch.tensor(step in overflows)}, settings, **others)
        return model.weight.item(), result

    yield run
    AcceleratorState._reset_state()


HALF = SETTINGS.changed(mixed_precision="fp16", bias_correction=False, max_gradient_norm=10.0, weight_decay=0.0)


def test_steps_that_fp16_skips_move_nothing_and_count_for_no_moment(one_weight):
    """BertAdam by its formula: the moments know the steps that were taken, the schedule knows all."""
    weight, first, second = 1.0, 0.0, 0.0
    rates = [1e-2 * factor for factor in (1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6)]
    for step, rate in enumerate(rates):
        if step not in {0, 5}:
            first, second = ADAM_BETA1 * first + 1 - ADAM_BETA1, 0.98 * second + 0.02
            weight -= rate * first / (second**0.5 + 1e-6)
    found, result = one_weight(HALF, {0, 5})
    assert found == pytest.approx(weight, rel=1e-6)
    assert [row["step"] for row in result.history if not math.isfinite(row["gradient_norm"])] == [1, 6]


def test_skipped_steps_are_known_to_a_resumed_training(one_weight):
    store = DictStore()
    one_weight(HALF, {0, 5}, states=store, stop_at=6)
    assert one_weight(HALF, {0, 5}, states=store)[0] == one_weight(HALF, {0, 5})[0]


def test_a_gradient_that_always_overflows_ends_the_training(one_weight):
    settings, store = HALF.changed(num_steps=100), DictStore()
    with pytest.raises(TrainingError) as caught:
        one_weight(settings, range(10, 100), states=store, description="pretraining of D2-A2-H16-I24")
    assert str(caught.value) == (
        "pretraining of D2-A2-H16-I24: the gradient overflows fp16 at step 60, as at the 49 before it, however small "
        "the loss is scaled. The last good state is kept. Lower learning_rate or max_gradient_norm, raise "
        "warmup_share, or set mixed_precision to `no` in the parameters of this stage, then run the same command "
        "again: other settings train anew from the start."
    )
    assert max(store.states) == 56
