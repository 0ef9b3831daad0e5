"""Agora's rounds as they train: on which examples, of whose mistakes, how often, and after a kill."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agora_bounds import max_trials
from bort_kedro.agora.loop import AgoraRun
from bort_kedro.agora.run import run_agora
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.errors import TrainingError
from bort_kedro.finetuning import trials
from bort_kedro.finetuning.encoding import EncodedExamples
from bort_kedro.finetuning.finetune import conclude, points_table
from bort_kedro.finetuning.methods import RoundResult, StudentTask
from bort_kedro.finetuning.report import MethodReport
from bort_kedro.finetuning.rounds import Draw, Round
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.finetuning.trials import DIVERGED, Trial
from bort_kedro.tasks.table import Form
from bort_kedro.tasks.units import Unit
from memory_states import DictStates, NotingObserver
from toy_tasks import SETTINGS as TOY_SETTINGS
from toy_tasks import data_of, encoder_of

SETTINGS = TOY_SETTINGS.changed(num_epochs=2, dropout=0.1, checkpoint_every_steps=2)


def theta_of(size):
    return [HyperparameterSet(1e-3 * (place + 1), 0.01, 0.1, 256, place) for place in range(size)]


class KilledError(Exception):
    """Stands for a kill."""


@dataclass(frozen=True)
class Scripted(StudentTask):
    """Trains nothing: the trials of a round score what was written down, and err on the dev unit of their number.

    Args:
        scores: From the number of the round and the place to a score.
        trained: Filled with number, place and examples of each trial.
    """

    scores: Any = None
    trained: Any = None

    def train(self, examples, place, *, method, number, num_steps=None, look_every=None, seed_shift=0):
        self.trained.append((number, place, examples))
        score = self.scores(number, place)
        right = self.encoded.splits["dev"].targets.astype(float)
        outputs = right.copy()
        wrong = 2 * number + place
        outputs[wrong] = 1 - right[wrong]
        if score == DIVERGED:
            trial = Trial(self.theta[place], score, outputs, None, 10, 0, 5, 0.0, has_diverged=True)
        else:
            trial = Trial(self.theta[place], score, outputs, f"model {number}/{place}", 10, 9, 5, 1.0)
        self.tell(method, number, place, trial)
        return trial


class Points:
    """Makes one point of each source, and keeps what it was asked for."""

    def __init__(self, share_of_first=1.0):
        self.asked, self.share = [], share_of_first

    def make(self, sources, *, seed, max_points):
        self.asked.append((list(sources), seed, max_points))
        units = [Unit(((f"point {seed} {unit.rows[0][0]}", None),), unit, "by hand") for unit in sources]
        targets = np.tile([self.share, 1 - self.share], (len(units), 1))
        return Draw(units, targets, len(sources), len(units), 0, 0, 0)


@pytest.fixture(scope="module")
def data():
    return data_of(num_train=12, num_dev=24, num_test=8)


@pytest.fixture(scope="module")
def student(tiny_tokenizer):
    return encoder_of(tiny_tokenizer)


@pytest.fixture(scope="module")
def encoded(data, student):
    return data.encoded(student, max_tokens=48)


def scripted(data, encoded, size, scores, observer=None):
    """A task whose trials are written down, by a function or as rounds of scores for the places left."""
    if isinstance(scores, dict):
        by_place = scores
        scores = lambda number, place: by_place[number][place]  # noqa: E731
    return Scripted(None, data, encoded, theta_of(size), SETTINGS, DictStates(observer), scores, [])


def agora(task, points=None, *, max_replays=1, share=1.0, seed=7):
    settings = SimpleNamespace(max_replays=max_replays, max_points_share=share, seed=seed)
    return run_agora(task, SimpleNamespace(settings=settings, points=lambda states: points or Points()))


# Round 0 drops 2; round 1 is no better, so it is replayed as round 2, which is; round 3 is no better either and the
# one replay is done.
SCORES = {
    0: {0: 0.5, 1: 0.6, 2: 0.4},
    1: {0: 0.6, 1: 0.3},
    2: {0: 0.7, 1: 0.65},
    3: {0: 0.7},
}


def test_points_of_all_rounds_are_told_with_what_the_teacher_says(data, encoded):
    task = scripted(data, encoded, 3, SCORES)
    points = Points(share_of_first=0.25)
    table = points_table(task, agora(task, points).rounds)
    sources = [unit.rows[0][0] for units, _, _ in points.asked for unit in units]
    # One for each mistake; those of round 1, which is replayed, are thrown away.
    assert table["round"].tolist() == [number for number, (units, *_) in enumerate(points.asked, 1) for _ in units]
    assert table.groupby("round")["is_kept"].agg(["min", "max"]).to_numpy().tolist() == [
        [False, False],
        [True, True],
        [True, True],
    ]
    assert table["source"].tolist() == sources
    seeds = [7 + number for number in table["round"]]
    assert table["text"].tolist() == [f"point {seed} {text}" for seed, text in zip(seeds, sources, strict=True)]
    assert set(table["made_by"]) == {"by hand"}
    first, second = data.labels
    said = table[["answer", f"probability_{first}", f"probability_{second}"]]
    assert said.drop_duplicates().to_numpy().tolist() == [[second, 0.25, 0.75]]
    assert table[["source_pair", "text_pair"]].isna().all(axis=None)


def test_a_point_of_a_question_has_a_row_for_each_option(tiny_tokenizer):
    data = data_of(Form.MULTIPLE_CHOICE, num_train=4, num_dev=4, num_test=4)
    encoded = data.encoded(encoder_of(tiny_tokenizer), max_tokens=48)
    question = data.units["dev"][0]
    changed = Unit(tuple((f"new {text}", pair) for text, pair in question.rows), question, "by hand")
    draw = Draw([changed], np.array([[0.3], [0.6], [0.1]]), 1, 1, 0, 0, 0)
    plan = Round(1, (0,), is_replay=False, draws=(1,), mistakes_of=0)
    table = points_table(scripted(data, encoded, 1, {}), [RoundResult(plan, draw, [], 4)])
    assert table["source"].tolist() == [text for text, _ in question.rows]
    assert table["text_pair"].tolist() == table["source_pair"].tolist() == [pair for _, pair in question.rows]
    assert table["answer"].tolist() == ["wrong", "right", "wrong"]
    assert table["output"].tolist() == [0.3, 0.6, 0.1]


def test_rounds_are_those_of_the_loop(data, encoded):
    result = agora(scripted(data, encoded, 3, SCORES))
    run = AgoraRun(3, 1)
    for number, scores in SCORES.items():
        assert result.rounds[number].plan == run.next_round()
        run = run.record(list(scores.values()))
    assert run.next_round() is None
    assert [each.plan.settings for each in result.rounds] == [(0, 1, 2), (0, 1), (0, 1), (0,)]
    assert [each.plan.is_replay for each in result.rounds] == [False, False, True, False]
    assert [[trial.score for trial in each.trials] for each in result.rounds] == [
        list(scores.values()) for scores in SCORES.values()
    ]


def test_points_are_made_of_what_the_best_trial_of_the_round_before_got_wrong(data, encoded):
    points = Points()
    agora(scripted(data, encoded, 3, SCORES), points)
    dev = data.units["dev"]
    # Best of round 0 is place 1, of round 2 place 0; a replay starts from the same mistakes with another seed.
    assert points.asked == [([dev[1]], 8, 12), ([dev[1]], 9, 12), ([dev[4]], 10, 12)]


@pytest.mark.parametrize(("share", "expected"), [(1.0, 12), (0.5, 6), (2.5, 30), (0.01, 1)])
def test_points_of_a_round_are_bounded_by_a_share_of_the_train_split(data, encoded, share, expected):
    points = Points()
    agora(scripted(data, encoded, 2, {0: {0: 0.5, 1: 0.4}, 1: {0: 0.6}}), points, share=share)
    assert [most for _, _, most in points.asked] == [expected]


def test_each_round_trains_on_the_train_split_and_the_points_that_were_accepted(data, encoded):
    task, points = scripted(data, encoded, 3, SCORES), Points(share_of_first=0.25)
    result = agora(task, points)
    train = encoded.splits["train"]
    made = [points.make(sources, seed=seed, max_points=most) for sources, seed, most in list(points.asked)]
    expected = {
        0: train,
        # Round 1 was thrown away, with its point.
        1: task.with_points(made[:1]),
        2: task.with_points(made[1:2]),
        3: task.with_points(made[1:3]),
    }
    for number, _, examples in task.trained:
        assert examples.fingerprint == expected[number].fingerprint
    assert [each.num_train for each in result.rounds] == [12, 13, 13, 14]
    assert [each.draw.report().num_kept if each.draw else None for each in result.rounds] == [None, 1, 1, 1]
    joined = expected[3]
    assert len(joined) == joined.num_units == 14
    assert joined.targets[12:].tolist() == [[0.25, 0.75], [0.25, 0.75]]
    assert joined.input_ids[12].tolist() == encoded.encoder(made[1].units).input_ids[0].tolist()


def test_the_best_trial_of_all_rounds_is_returned_with_its_model_and_others_lose_theirs(data, encoded):
    result = agora(scripted(data, encoded, 3, SCORES))
    # 0.7 twice: the earlier one.
    assert (result.best.model, result.best.score) == ("model 2/0", 0.7)
    assert {trial.model for each in result.rounds for trial in each.trials} == {None}


def test_every_trial_is_told_once_and_in_order(data, encoded):
    observer = NotingObserver()
    agora(scripted(data, encoded, 3, SCORES, observer))
    assert [(told.task, told.method, told.round, told.setting, told.row["dev_score"]) for told in observer.trials] == [
        ("toy", "agora", number, place, score) for number, scores in SCORES.items() for place, score in scores.items()
    ]


def test_the_report_counts_trials_steps_and_seconds(data, encoded):
    report = agora(scripted(data, encoded, 3, SCORES)).report()
    assert {
        name: getattr(report, name) for name in ("method", "num_trials", "num_steps", "num_steps_done", "seconds")
    } == {
        "method": "agora",
        "num_trials": 8,
        "num_steps": 80,
        "num_steps_done": 72,
        "seconds": 8.0,
    }
    assert report.best.dev_score == 0.7
    last = report.to_json()["rounds"][3]
    assert last["plan"] == {
        "number": 3,
        "settings": [0],
        "is_replay": False,
        "draws": [2, 3],
        "mistakes_of": 2,
    }
    assert [(trial.setting, trial.look_every) for trial in report.rounds[2].trials] == [(0, 5), (1, 5)]
    assert MethodReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert report.num_trials == 8


def test_a_training_that_diverged_counts_as_the_worst_and_is_dropped_first(data, encoded):
    scores = {0: {0: DIVERGED, 1: 0.5}, 1: {1: 0.6}}
    result = agora(scripted(data, encoded, 2, scores))
    assert [each.plan.settings for each in result.rounds] == [(0, 1), (1,)]
    assert result.best.model == "model 1/1"
    assert [[trial.has_diverged for trial in each.trials] for each in result.report().rounds] == [
        [True, False],
        [False],
    ]


def test_if_every_training_of_the_first_round_diverges_it_ends_at_once_and_says_what_to_change(data, encoded):
    task, points = scripted(data, encoded, 2, lambda number, place: DIVERGED), Points()
    with pytest.raises(TrainingError) as caught:
        agora(task, points, max_replays=3)
    assert [trial[:2] for trial in task.trained] == [(0, 0), (0, 1)]
    assert points.asked == []
    assert str(caught.value) == (
        "Task `toy`: every training diverged. Lower learning_rates or max_gradient_norm, or set mixed_precision to "
        "`no`, in params:finetune.training."
    )


def test_a_later_round_that_diverges_leaves_the_best_of_those_before(data, encoded):
    result = agora(scripted(data, encoded, 2, {0: {0: 0.5, 1: 0.4}, 1: {0: DIVERGED}}), max_replays=0)
    assert (result.best.model, result.best.score, len(result.rounds)) == ("model 0/0", 0.5, 2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 4),
    max_replays=st.integers(0, 3),
    drawn=st.lists(st.sampled_from([0.2, 0.4, 0.6, 0.8]), min_size=20, max_size=20),
)
def test_whatever_the_scores_it_ends_within_the_bound_and_returns_the_first_of_the_best(
    data, encoded, size, max_replays, drawn
):
    task = scripted(data, encoded, size, lambda number, place: drawn[(3 * number + place) % len(drawn)])
    result = agora(task, max_replays=max_replays)
    assert len(task.trained) <= max_trials(size, max_replays)
    scores = [(drawn[(3 * number + place) % len(drawn)], number, place) for number, place, _ in task.trained]
    best = max(scores, key=lambda trial: trial[0])
    assert result.best.model == f"model {best[1]}/{best[2]}"


@pytest.mark.parametrize(("size", "max_replays"), [(1, 0), (2, 0), (3, 0), (3, 2), (4, 1)])
def test_the_bound_on_trials_is_reached_where_every_order_turns_round(data, encoded, size, max_replays):
    # Replays are used up in round 1; then each round turns the ranking of the round before, so one setting goes.
    def score(number, place):
        if 0 < number <= max_replays:
            return 0.0
        turn = 1 if max(0, number - max_replays) % 2 else -1
        return 0.1 + number / 10 + turn * place / 1000

    task = scripted(data, encoded, size, score)
    agora(task, max_replays=max_replays)
    assert len(task.trained) == max_trials(size, max_replays)


class Perfect:
    """Knows dev by heart from the first look on."""

    def make(self, sources, *, seed, max_points):
        assert sources == []
        return Draw([], np.zeros((0, 2)), 0, 0, 0, 0, 0)


@pytest.fixture
def ran(monkeypatch):
    """Steps of each training that was begun, in their order, and a step at which to raise."""
    noted = SimpleNamespace(steps=[], stop=None)
    begin, batches = trials.train, EncodedExamples.training_batches

    def begun(*arguments, **options):
        noted.steps.append([])
        return begin(*arguments, **options)

    def counted(self, **options):
        batch_at = batches(self, **options)

        def at(step):
            if noted.stop == (len(noted.steps) - 1, step):
                raise KilledError
            noted.steps[-1].append(step)
            return batch_at(step)

        return at

    monkeypatch.setattr(trials, "train", begun)
    monkeypatch.setattr(EncodedExamples, "training_batches", counted)
    return noted


def real_task(data, student, folder, size=2):
    states = TrainingStates(folder, keep=2)
    encoded = data.encoded(student, max_tokens=SETTINGS.max_tokens)
    return StudentTask(student, data, encoded, theta_of(size), SETTINGS, states)


def finished(data, student, folder):
    """Predictions and report without seconds, and the weights."""
    task = real_task(data, student, folder)
    found = conclude(task, agora(task))
    return found.predictions, untimed(found.report.to_json()), found.model.fingerprint, found.history


def untimed(report):
    """Without seconds, wherever they stand."""
    if isinstance(report, dict):
        return {name: untimed(value) for name, value in report.items() if name != "seconds"}
    return [untimed(value) for value in report] if isinstance(report, list | tuple) else report


def test_a_run_that_was_finished_trains_nothing_again_and_ends_alike(data, student, ran, tmp_path):
    predictions, report, weights, history = finished(data, student, tmp_path / "states")
    trained = [steps for steps in ran.steps if steps]
    assert len(trained) == len(list((tmp_path / "states" / "finetune").glob("toy-*")))
    assert report["num_trials"] == len(ran.steps)
    ran.steps.clear()
    again = finished(data, student, tmp_path / "states")
    assert len(ran.steps) == report["num_trials"]
    assert not any(ran.steps)
    assert again[0].equals(predictions)
    assert again[1:] == (report, weights, history)


def test_a_run_killed_in_any_trial_ends_as_one_in_peace(data, student, ran, tmp_path):
    expected = finished(data, student, tmp_path / "whole")
    lengths = [len(steps) for steps in copy.deepcopy(ran.steps)]
    assert len(lengths) >= 3
    for trial, num_steps in enumerate(lengths):
        ran.steps.clear()
        # After the first saved state, so that the training goes on from its middle.
        ran.stop = (trial, 3)
        folder = tmp_path / f"killed {trial}"
        if num_steps:
            with pytest.raises(KilledError):
                finished(data, student, folder)
        ran.stop = None
        ran.steps.clear()
        found = finished(data, student, folder)
        assert found[0].equals(expected[0])
        assert found[1:] == expected[1:]
        if num_steps:
            # Finished trainings are found, the killed one goes on after its state of step 2.
            assert ran.steps[:trial] == [[]] * trial
            assert ran.steps[trial][0] == 2


def test_the_run_ends_if_dev_is_perfect_at_once_and_trains_no_setting_twice(data, student, ran, tmp_path, monkeypatch):
    task = real_task(data, student, tmp_path / "states")
    monkeypatch.setattr("bort_kedro.agora.run.mistakes_of", lambda form, outputs, examples: [])
    result = agora(task, Perfect())
    assert [each.num_train for each in result.rounds] == [12] * len(result.rounds)
    assert len(result.rounds) >= 2
    # The same examples with the same settings: the states of round 0 are found again.
    assert [bool(steps) for steps in ran.steps] == [True, True] + [False] * (len(ran.steps) - 2)
    assert len(list((tmp_path / "states" / "finetune").iterdir())) == 2
    assert result.best.score == max(trial.score for trial in result.rounds[0].trials)


def test_the_model_returned_gives_the_outputs_that_chose_it(data, student, tmp_path):
    task = real_task(data, student, tmp_path / "states")
    result = agora(task)
    found = conclude(task, replace(result, rounds=result.rounds[:1]))
    dev = found.predictions[found.predictions["split"] == "dev"]
    assert task.encoded.score("dev", result.best.dev_outputs) == result.best.score
    assert (dev["label"] == dev["prediction"]).mean() == result.best.score
    assert set(found.predictions["split"]) == {"dev", "test"}
