"""The methods Agora is held against: trial by trial as long, on what each learns from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bort_kedro.agora.points import Teaching
from bort_kedro.agora.rivals import (
    RIVALS,
    ROUND_SEED_STRIDE,
    ScheduledRound,
    run_rival,
)
from bort_kedro.agora.run import run_agora
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.errors import TrainingError
from bort_kedro.finetuning import trials
from bort_kedro.finetuning.finetune import learn_dev_too
from bort_kedro.finetuning.methods import StudentTask
from bort_kedro.finetuning.report import MethodReport, RoundReport, RoundTrial
from bort_kedro.finetuning.rounds import Draw, DrawReport, Round
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.finetuning.trials import DIVERGED, Trial
from bort_kedro.params import FinetuneParams
from bort_kedro.tasks.table import Form
from bort_kedro.tasks.units import Unit
from memory_states import DictStates, NotingObserver
from toy_tasks import SETTINGS as TOY_SETTINGS
from toy_tasks import data_of, encoder_of

SETTINGS = TOY_SETTINGS.changed(num_epochs=2)
THETA = [HyperparameterSet(1e-3, 0.01, 0.1, 256, 0), HyperparameterSet(3e-3, 0.01, 0.1, 256, 5)]
COUNTS = DrawReport(num_sources=0, num_made=100, num_copies=0, num_repeated=0, num_beyond=0, num_kept=0)
# Round 1 threw its points away; of round 2, its replay, one setting is left in round 3.
REPORT = MethodReport(
    method="agora",
    rounds=tuple(
        RoundReport(
            plan=Round(number, settings, is_replay=number == 2, draws=draws, mistakes_of=None),
            num_train=48,
            points=None if num_points is None else COUNTS.model_copy(update={"num_kept": num_points}),
            trials=tuple(
                RoundTrial(
                    **asdict(HyperparameterSet(1e-3, 0.0, 0.1, 256, place)),
                    setting=place,
                    num_steps=10 * number + place + 1,
                    num_steps_done=0,
                    look_every=3 + number + place,
                    dev_score=0.0,
                    has_diverged=False,
                    seconds=0.0,
                    num_tokens=0,
                )
                for place in settings
            ),
        )
        for number, settings, draws, num_points in (
            (0, (0, 1), (), None),
            (1, (0, 1), (1,), 6),
            (2, (0, 1), (2,), 5),
            (3, (1,), (2, 3), 4),
        )
    ),
)
SCHEDULE = [ScheduledRound.of(each) for each in REPORT.rounds]


@dataclass(frozen=True)
class Noted(StudentTask):
    """Trains nothing; keeps what each trial was to learn from.

    Args:
        trials: Filled with round, place, steps, steps between looks, shift of the seed and examples.
        score: From the round and the place.
    """

    trials: Any = None
    score: Any = None

    def train(self, examples, place, *, method, number, num_steps=None, look_every=None, seed_shift=0):
        self.trials.append((number, place, num_steps, look_every, seed_shift, examples))
        score = self.score(number, place)
        model = None if score == DIVERGED else f"model {number}/{place}"
        chosen = replace(self.theta[place], seed=self.theta[place].seed + seed_shift)
        done = num_steps or 2
        trial = Trial(chosen, score, np.zeros(1), model, done, done, look_every or 1, 1.0)
        self.tell(method, number, place, trial)
        return trial


class Points:
    """Makes so many points of each source, and keeps what it was asked for."""

    def __init__(self, per_source=3):
        self.asked, self.per_source = [], per_source

    def make(self, sources, *, seed, max_points):
        self.asked.append((list(sources), seed, max_points))
        texts = [f"{unit.rows[0][0]} {copy} {seed}" for unit in sources for copy in range(self.per_source)]
        kept = [Unit(((text, None),)) for text in texts[:max_points]]
        return Draw(kept, np.tile([0.25, 0.75], (len(kept), 1)), len(sources), len(texts), 0, 0, len(texts) - len(kept))


@pytest.fixture(scope="module")
def data():
    return data_of(num_train=12, num_dev=8, num_test=8)


@pytest.fixture(scope="module")
def student(tiny_tokenizer):
    return encoder_of(tiny_tokenizer)


@pytest.fixture
def noted(data, student):
    encoded = data.encoded(student, max_tokens=48)
    score = lambda number, place: 0.5 + number / 10 + place / 100  # noqa: E731
    return Noted(student, data, encoded, THETA, SETTINGS, DictStates(), trials=[], score=score)


def beliefs():
    """The teacher's of the twelve rows of train, other for each."""
    shares = np.array([(1 + place) / 20 for place in range(12)])
    return np.stack([shares, 1 - shares], axis=1)


def recorded():
    """Five texts of no split, of each of which something else believes with 0.6 that it is a `row`."""
    units = [Unit(((f"recorded text {number}", None),)) for number in range(5)]
    return Draw(units, np.tile([0.4, 0.6], (5, 1)), 0, 6, 1, 0, 0)


def material(points=None, **changes):
    """A teacher that makes such points, and what else is known of texts."""
    settings = SimpleNamespace(**{"points_per_mistake": 3, "distillation_share": 0.25, "seed": 7} | changes)
    return Teaching(SimpleNamespace(settings=settings, points=lambda states: points or Points()), beliefs, recorded)


def test_every_rival_that_can_be_asked_for_is_known():
    allowed = FinetuneParams.model_fields["rivals"].annotation.__args__[0].__args__
    assert set(allowed) == set(RIVALS)


def test_schedule_is_read_from_a_report_as_it_was_saved():
    saved = MethodReport.from_json(json.loads(json.dumps(REPORT.to_json())))
    assert [ScheduledRound.of(each) for each in saved.rounds] == SCHEDULE
    assert SCHEDULE[3].plan.settings == (1,)
    assert SCHEDULE[3].plan.draws == (2, 3)
    assert [each.num_points for each in SCHEDULE] == [None, 6, 5, 4]
    assert [each.look_every for each in SCHEDULE] == [(3, 4), (4, 5), (5, 6), (7,)]


@pytest.mark.parametrize("method", RIVALS)
def test_a_rival_has_the_trials_of_agora_and_as_many_steps_and_looks_in_each(noted, method):
    result = run_rival(method, noted, SCHEDULE, material())
    assert [trial[:4] for trial in noted.trials] == [
        (0, 0, 1, 3),
        (0, 1, 2, 4),
        (1, 0, 11, 4),
        (1, 1, 12, 5),
        (2, 0, 21, 5),
        (2, 1, 22, 6),
        (3, 1, 32, 7),
    ]
    report = result.report()
    assert (report.method, report.num_trials, report.num_steps) == (method, 7, 101)
    # 0.5 + 3 / 10 + 1 / 100.
    assert (result.best.score, result.best.model) == (pytest.approx(0.81), "model 3/1")
    assert {trial.model for each in result.rounds for trial in each.trials} == {None}


def test_plain_learns_the_train_split_each_time_with_other_seeds_but_in_the_first_round(noted):
    run_rival("plain", noted, SCHEDULE, material())
    train = noted.encoded.splits["train"]
    assert {examples.fingerprint for *_, examples in noted.trials} == {train.fingerprint}
    assert [shift // ROUND_SEED_STRIDE for *_, shift, _ in noted.trials] == [0, 0, 1, 1, 2, 2, 3]


def test_dev_is_learned_last_with_the_best_setting_and_what_was_learned_then(noted):
    task = replace(noted, score=lambda number, place: 0.9 - number / 2 + place / 100)
    result = run_rival("random_augmentation", task, SCHEDULE[:2], material())
    task.trials.clear()
    last = learn_dev_too(task, result)
    # Setting 1 of round 0 was best; it had 2 steps for 12 examples and has 3 for 20.
    [(number, place, num_steps, look_every, shift, examples)] = task.trials
    assert (number, place, num_steps, look_every, shift) == (2, 1, 3, 3, 0)
    splits = noted.encoded.splits
    assert examples.fingerprint == splits["train"].joined(splits["dev"]).fingerprint
    assert (last.best, last.last.model) == (result.best, "model 2/1")
    assert last.report().num_steps == result.report().num_steps + 3
    assert (last.report().num_trials, last.report().last.num_steps) == (5, 3)


def test_points_of_the_best_round_are_learned_with_dev(noted):
    result = run_rival("random_augmentation", noted, SCHEDULE, material())
    noted.trials.clear()
    last = learn_dev_too(noted, result)
    # The last round was best, of the draws 2 and 3: nine points beside the twelve examples, and eight of dev.
    assert [trial[-1].num_units for trial in noted.trials] == [29]
    assert last.last.num_steps == round(32 * 29 / 21)


def test_a_last_training_that_diverges_changes_nothing(noted):
    result = run_rival("plain", noted, SCHEDULE[:1], material())
    assert learn_dev_too(replace(noted, score=lambda number, place: DIVERGED), result) == result


def test_distilled_targets_lie_between_labels_and_beliefs(noted):
    run_rival("distilled", noted, SCHEDULE[:1], material())
    train, (*_, examples) = noted.encoded.splits["train"], noted.trials[0]
    # Rows 0 and 1 of train: `array`, then `row`; the teacher gives them 1/20 and 2/20 of `array`.
    assert train.targets[:2].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert examples.targets[0].tolist() == pytest.approx([0.75 + 0.25 * 0.05, 0.25 * 0.95])
    assert examples.targets[1].tolist() == pytest.approx([0.25 * 0.1, 0.75 + 0.25 * 0.9])
    assert examples.targets.sum(axis=1) == pytest.approx(1.0)
    assert all(np.array_equal(*pair) for pair in zip(examples.input_ids, train.input_ids, strict=True))


@pytest.mark.parametrize("form", [Form.REGRESSION, Form.MULTIPLE_CHOICE])
def test_distilled_targets_of_numbers_and_options_are_mixed_alike(student, form):
    data = data_of(form, num_train=6, num_dev=6, num_test=6)
    encoded = data.encoded(student, max_tokens=48)
    task = Noted(student, data, encoded, THETA, SETTINGS, DictStates(), trials=[], score=lambda number, place: 0.5)
    train = encoded.splits["train"]
    said = np.linspace(0, 1, len(train))[:, None]
    given = replace(material(distillation_share=0.5), train_beliefs=lambda: said)
    run_rival("distilled", task, SCHEDULE[:1], given)
    assert task.trials[0][-1].targets == pytest.approx((train.targets + said) / 2)


@pytest.mark.parametrize(("share", "expected"), [(0.0, "labels"), (1.0, "beliefs")])
def test_the_share_goes_from_labels_alone_to_beliefs_alone(noted, share, expected):
    run_rival("distilled", noted, SCHEDULE[:1], material(distillation_share=share))
    targets = {"labels": noted.encoded.splits["train"].targets, "beliefs": beliefs()}
    assert noted.trials[0][-1].targets == pytest.approx(targets[expected])


def test_recorded_labels_are_further_rows_of_train_in_every_round(noted, caplog):
    with caplog.at_level("INFO", "bort_kedro"):
        result = run_rival("weak_supervision", noted, SCHEDULE, material())
    assert caplog.messages == [
        "Task `toy`: 5 recorded texts are learned as further rows of train; 1 others are near-duplicates of dev or "
        "test."
    ]
    train, examples = noted.encoded.splits["train"], [examples for *_, examples in noted.trials]
    assert {each.fingerprint for each in examples} == {noted.with_points([recorded()]).fingerprint}
    assert examples[0].targets[:12].tolist() == train.targets.tolist()
    assert examples[0].targets[12:] == pytest.approx(np.tile([0.4, 0.6], (5, 1)))
    assert [each.num_train for each in result.rounds] == [17] * 4
    # As plain, which learns the same in each round: other seeds.
    assert [shift // ROUND_SEED_STRIDE for *_, shift, _ in noted.trials] == [0, 0, 1, 1, 2, 2, 3]
    noted.trials.clear()
    last = learn_dev_too(noted, result)
    # 32 steps of setting 1 in round 3, which was best, on 17 examples; with the 8 of dev 25.
    assert [(place, steps, examples.num_units) for _, place, steps, _, _, examples in noted.trials] == [(1, 47, 25)]
    assert last.last.num_steps == 47


def test_random_points_are_as_many_as_agora_had_and_made_of_train_alone(noted, data):
    points = Points()
    result = run_rival("random_augmentation", noted, SCHEDULE, material(points))
    # Half as many again are made: ceil(1.5 * 6 / 3), ceil(1.5 * 5 / 3), ceil(1.5 * 4 / 3).
    assert [(len(sources), seed, most) for sources, seed, most in points.asked] == [(3, 8, 6), (3, 9, 5), (2, 10, 4)]
    for sources, _, _ in points.asked:
        assert len(set(sources)) == len(sources)
        assert set(sources) <= set(data.units["train"])
        assert not set(sources) & {*data.units["dev"], *data.units["test"]}
    assert points.asked[0][0] != points.asked[1][0]
    assert [each.num_train for each in result.rounds] == [12, 18, 17, 21]
    assert [each.draw and each.draw.report().num_kept for each in result.rounds] == [
        None,
        6,
        5,
        4,
    ]


def test_random_points_are_joined_as_agora_joins_its_own(noted):
    points = Points()
    run_rival("random_augmentation", noted, SCHEDULE, material(points))
    made = [Points().make(sources, seed=seed, max_points=most) for sources, seed, most in points.asked]
    expected = [[], made[:1], made[1:2], made[1:3]]
    for number, *_, shift, examples in noted.trials:
        assert examples.fingerprint == noted.with_points(expected[number]).fingerprint
        # New examples make another training of the same seed.
        assert shift == 0


def test_fewer_random_points_than_agora_had_are_taken_as_they_are(noted):
    result = run_rival("random_augmentation", noted, SCHEDULE, material(Points(per_source=1)))
    assert [each.draw.report().num_kept for each in result.rounds[1:]] == [3, 3, 2]


def test_random_points_follow_the_seed(noted):
    first, again, other = Points(), Points(), Points()
    for points, seed in ((first, 7), (again, 7), (other, 8)):
        run_rival("random_augmentation", noted, SCHEDULE, material(points, seed=seed))
    assert first.asked == again.asked
    assert [sources for sources, *_ in first.asked] != [sources for sources, *_ in other.asked]


def test_rounds_in_which_agora_had_no_point_have_none_here(noted):
    bare = [replace(each, num_points=None if each.num_points is None else 0) for each in SCHEDULE]
    result = run_rival("random_augmentation", noted, bare, material())
    assert [each.num_train for each in result.rounds] == [12, 12, 12, 12]


def test_a_rival_whose_every_training_diverges_says_what_to_change(noted):
    task = replace(noted, score=lambda number, place: DIVERGED)
    with pytest.raises(TrainingError, match=r"^Task `toy`: every training diverged. Lower learning_rates"):
        run_rival("plain", task, SCHEDULE, material())


def test_every_trial_is_told_with_the_method(noted):
    observer = NotingObserver()
    run_rival("distilled", replace(noted, states=DictStates(observer)), SCHEDULE, material())
    told = [(trial.method, trial.round, trial.setting) for trial in observer.trials]
    assert told == [("distilled", number, place) for number, place, *_ in noted.trials]


@dataclass
class LooksAlone:
    """Stands for a training: changes no weight, so that no look is better than the first, and counts.

    Args:
        looks: Filled with the steps looked at in each training.
    """

    looks: list[list[int]]

    def __call__(self, model, loss, batches, optimization, *, states, description, early_stopping):
        self.looks.append([])
        for step in range(1, optimization.num_steps + 1):
            if early_stopping.is_due(step, optimization.num_steps):
                self.looks[-1].append(step)
                if early_stopping.look(model, step):
                    break
        return SimpleNamespace(num_steps=step, seconds=1.0, history=[], num_tokens=10 * step)


def test_a_rival_that_gains_nothing_is_ended_after_as_many_steps_as_agora(data, student, tmp_path, monkeypatch):
    counting = LooksAlone([])
    monkeypatch.setattr(trials, "train", counting)
    theta = [replace(each, batch_tokens=48) for each in THETA]
    settings = SETTINGS.changed(num_epochs=6, patience=2)
    states = TrainingStates(tmp_path, keep=2)
    task = StudentTask(student, data, data.encoded(student, max_tokens=48), theta, settings, states)
    agora = run_agora(task, material(max_replays=0, max_points_share=1.0).teacher)
    looks_of_agora, counting.looks = counting.looks, []
    schedule = [ScheduledRound.of(each) for each in agora.report().rounds]
    plain = run_rival("plain", task, schedule, material())
    # Round 1 has points beside the train split, so its epochs, and with them the steps between looks, are longer.
    assert schedule[1].look_every[0] > schedule[0].look_every[0]
    assert counting.looks == looks_of_agora
    # The first look and two without gain.
    assert [trial.num_steps_done for each in plain.rounds for trial in each.trials] == [
        3 * every for each in schedule for every in each.look_every
    ]
    # Without Agora's, plain would look as often an epoch as of its own fewer examples, and end sooner.
    alone = task.train(task.encoded.splits["train"], 0, method="plain", number=1, num_steps=schedule[1].num_steps[0])
    assert alone.num_steps_done == 3 * schedule[0].look_every[0] < plain.rounds[1].trials[0].num_steps_done


@pytest.fixture(scope="module")
def real(data, student, tmp_path_factory):
    """A run of Agora, its task, and the folder with its trainings."""
    folder = tmp_path_factory.mktemp("states")
    task = StudentTask(
        student, data, data.encoded(student, max_tokens=48), THETA, SETTINGS, TrainingStates(folder, keep=2)
    )
    return run_agora(task, material(max_replays=0, max_points_share=0.5).teacher), task, folder


def trainings(folder):
    return set((folder / "finetune").iterdir())


def test_the_first_round_of_plain_is_that_of_agora_and_is_not_trained_twice(real):
    agora, task, folder = real
    before = trainings(folder)
    schedule = [ScheduledRound.of(each) for each in agora.report().rounds]
    plain = run_rival("plain", task, schedule, material())
    assert len(schedule) >= 2
    assert [trial.report() for trial in plain.rounds[0].trials] == [trial.report() for trial in agora.rounds[0].trials]
    num_later = sum(len(each.plan.settings) for each in schedule[1:])
    assert len(trainings(folder) - before) == num_later
    assert [[trial.num_steps_done for trial in each.trials] for each in plain.rounds] == [
        [trial.num_steps_done for trial in each.trials] for each in agora.rounds
    ]
    seeds = [[trial.hyperparameters.seed for trial in each.trials] for each in plain.rounds]
    assert seeds[0] == [0, 5]
    assert seeds[1] == [ROUND_SEED_STRIDE + THETA[place].seed for place in schedule[1].plan.settings]


def test_a_rival_started_again_trains_nothing(real):
    agora, task, folder = real
    schedule = [ScheduledRound.of(each) for each in agora.report().rounds]
    first = run_rival("distilled", task, schedule, material())
    before = trainings(folder)
    assert run_rival("distilled", task, schedule, material()).report() == first.report()
    assert trainings(folder) == before
