"""Errors of candidates by short training: seeds, hyperparameter sets, rungs, and what is found again."""

import math
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.errors import FailedTrainingError, TrainingError
from bort_kedro.pretraining.distillation import Distillation, read
from bort_kedro.pretraining.losses import relations_divergence
from bort_kedro.pretraining.masked_lm import MaskedBlocks
from bort_kedro.pretraining.pretrain import new_encoder, pretraining_identity, score
from bort_kedro.pretraining.settings import PretrainingSettings
from bort_kedro.search import short_training as candidates
from bort_kedro.search import trained_errors
from bort_kedro.search.engines import Engine
from bort_kedro.search.maximum_point import error_of
from bort_kedro.search.settings import EngineSettings
from bort_kedro.search.short_training import (
    Inheritance,
    ShortTraining,
    comparison,
    errors_of,
    steps_of,
    with_changes,
)
from bort_kedro.search.strategies import Outcome, Trial
from bort_kedro.search.trained_errors import TrainedErrors, combine_seeds
from bort_kedro.statistics import is_on_plateau
from bort_kedro.text.tokens import Tokens
from bort_kedro.text.trimming import vocabulary_map
from bort_kedro.training.observer import Training
from bort_kedro.training.saved_state import SavedState
from memory_states import NotingObserver
from toy_pretraining import mixture
from toy_training import OPTIMIZATION

SHAPES = [BertShape(1, 2, 8, 8), BertShape(1, 2, 16, 24), BertShape(2, 2, 16, 24)]
SETTINGS = PretrainingSettings(
    optimization=OPTIMIZATION.changed(num_steps=9, warmup_share=0.2),
    batch_tokens=64,
    masked_share=0.3,
    dropout=0.1,
    initialization="published",
    num_threads=1,
    whole_word_masking=False,
    gradient_checkpointing=False,
    torch_compile=False,
)
# The maximum point has the candidates' own vocabulary.
EVERY_ID = torch.arange(300)


RELATIONS = mixture(masked_lm=0.0, relations=1.0, num_heads=2)


def teaching(maximum_point, settings=RELATIONS):
    return Distillation(maximum_point, vocabulary_map(maximum_point.tokenizer, maximum_point.tokenizer), settings)


# What a clock goes into.
TIMED = {"seconds"}


@pytest.fixture(scope="module")
def tokens(tiny_blocks, tiny_vocabulary):
    return Tokens(tiny_vocabulary, {"train": tiny_blocks, "validation": tiny_blocks}, "tiny")


@pytest.fixture
def training(tokens, tmp_path):
    return ShortTraining(tokens, SETTINGS, max_positions=16, states=TrainingStates(tmp_path / "states", keep=2))


@pytest.fixture(scope="module")
def maximum_point(tiny_tokenizer, tiny_vocabulary):
    """Of the last shape's own sizes; all others are narrower or shallower."""
    config = bert_config(SHAPES[2], vocabulary_size=tiny_vocabulary.size, max_positions=16)
    return Pretrained(build_masked_lm(config, seed=5, initialization="published").eval(), tiny_tokenizer)


@pytest.fixture
def inherited(training, maximum_point):
    """The same trainings from layers of T."""
    return replace(training, inheritance=Inheritance(maximum_point, EVERY_ID, "svd"))


@pytest.fixture
def distilled(inherited, maximum_point):
    """The same trainings, which learn how T relates the tokens and what it says of them, and predict nothing."""
    kinds = mixture(masked_lm=0.0, relations=1.0, hidden_states=1.0, until={"hidden_states": 0.5})
    return replace(inherited, distillation=teaching(maximum_point, kinds))


@pytest.fixture
def trained(monkeypatch):
    """Names of the trainings that were begun or gone on with, by how often."""
    names = Counter()
    pretrain = candidates.pretrain

    def counted(*arguments, **keywords):
        names[keywords["name"]] += 1
        return pretrain(*arguments, **keywords)

    monkeypatch.setattr(candidates, "pretrain", counted)
    return names


@pytest.fixture
def steps(monkeypatch):
    """The steps that were run, counted from 0."""
    run = []
    training_batches = MaskedBlocks.training_batches

    def noted(*arguments, **keywords):
        batch_at = training_batches(*arguments, **keywords)
        return lambda step: run.append(step) or batch_at(step)

    monkeypatch.setattr(MaskedBlocks, "training_batches", noted)
    return run


def source_of(training, *, sets=({},), num_seeds=1, measure="error", engine=None, unigram_error=None):
    return TrainedErrors(
        SHAPES,
        training,
        measure=measure,
        hyperparameter_sets=list(sets),
        num_seeds=num_seeds,
        engine=engine or Engine(EngineSettings(engine="sequential", num_workers=1, cluster_address=None)),
        unigram_error=unigram_error,
    )


def untimed(rows):
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


@dataclass
class Dictated:
    """Stands for trainings: each gives the record written for its hyperparameters and seed."""

    records: dict
    settings: PretrainingSettings = SETTINGS
    asked: list = field(default_factory=list)

    def score_identity(self, shape, settings, num_steps):
        return {"shape": shape.to_row()}

    def run(self, shape, changes, seed, num_steps):
        self.asked.append((shape, changes, seed, num_steps))
        record = self.records[changes.get("learning_rate"), seed]
        if isinstance(record, dict):
            return record
        error, noise, seconds = record
        losses = {"loss": 10 * (1 - error), "loss_standard_error": 10 * noise}
        history = [{"step": num_steps, "masked_lm_error": error}]
        spent = {"seconds": seconds, "num_tokens": 100 * seed}
        return {"error": error, "error_standard_error": noise, "history": history} | spent | losses


def test_one_seed_has_the_noise_of_the_validation_split_alone():
    assert combine_seeds([0.6], [0.02]) == (0.6, 0.02)


def test_seeds_give_their_mean_and_their_spread_beside_the_noise():
    mean, standard_error = combine_seeds([0.5, 0.7], [0.03, 0.05])
    assert mean == pytest.approx(0.6)
    # Variance of the two 0.02, of their mean 0.01; noise (0.0009 + 0.0025) / 2, which more seeds do not lower.
    assert standard_error == pytest.approx(math.sqrt(0.01 + 0.0017))


@pytest.mark.parametrize(("share", "steps"), [(1 / 9, 1), (1 / 3, 3), (1.0, 9), (0.01, 1)])
def test_a_share_is_so_many_steps_and_at_least_one(share, steps):
    assert steps_of(share, 9) == steps


def test_changes_reach_the_settings_and_those_of_the_optimisation():
    changed = with_changes(SETTINGS, {"learning_rate": 0.5, "dropout": 0.0, "seed": 8})
    optimization = SETTINGS.optimization.changed(learning_rate=0.5, seed=8)
    assert changed == SETTINGS.changed(dropout=0.0, optimization=optimization)


def test_two_seeds_count_from_the_first_and_are_combined():
    training = Dictated({(None, 3): (0.5, 0.03, 2.0), (None, 4): (0.7, 0.05, 3.0)})
    source = source_of(training, num_seeds=2)
    ((trial, outcome),) = source([Trial(1)])
    assert trial == Trial(1)
    assert outcome.error == pytest.approx(0.6)
    assert outcome.standard_error == pytest.approx(math.sqrt(0.0117))
    assert training.asked == [(SHAPES[1], {}, 3, 9), (SHAPES[1], {}, 4, 9)]
    (row,) = source.rows
    expected = SHAPES[1].to_row() | {"candidate": 1, "share": 1.0, "hyperparameter_set": 0, "num_seeds": 2}
    assert {name: row[name] for name in expected} == expected
    assert (row["loss"], row["seconds"], row["num_tokens"]) == (pytest.approx(4.0), 5.0, 700)


@pytest.mark.parametrize(
    ("measure", "best", "error"),
    # The losses of the stand-in fall where its errors rise.
    [("error", 1, 0.4), ("loss", 0, 0.5)],
)
def test_the_better_hyperparameter_set_counts_and_both_are_paid_for(measure, best, error):
    training = Dictated({(0.1, 3): (0.5, 0.01, 2.0), (0.2, 3): (0.4, 0.02, 3.0)})
    source = source_of(training, sets=[{"learning_rate": 0.1}, {"learning_rate": 0.2}], measure=measure)
    ((_, outcome),) = source([Trial(0)])
    (row,) = source.rows
    # The cap is on the share of hidden tokens guessed wrong, whatever W takes.
    capped = row["error"] if measure == "loss" else None
    assert outcome == Outcome(row[measure], 1.0, row[f"{measure}_standard_error"], capped_error=capped)
    assert (row["hyperparameter_set"], row["error"]) == (best, error)
    assert (row["seconds"], row["num_tokens"]) == (5.0, 600)
    assert source.history == [{"shape": "D1-A2-H8-I8", "share": 1.0, "step": 9, "masked_lm_error": error}]


@pytest.mark.parametrize("measure", ["error", "loss"])
@pytest.mark.parametrize(
    ("unigram_error", "expected"),
    # The error is 0.5 with a noise of 0.03: whatever W takes, 0.56 is the least that it is surely below.
    [(0.55, True), (0.57, False), (None, False)],
)
def test_an_error_that_is_not_below_guessing_beyond_its_noise_is_on_the_plateau(measure, unigram_error, expected):
    training = Dictated({(None, 3): (0.5, 0.03, 1.0)})
    ((_, outcome),) = source_of(training, measure=measure, unigram_error=unigram_error)([Trial(0)])
    assert outcome.is_on_plateau is expected


def test_an_error_less_than_two_standard_errors_below_guessing_standard_errors_below_guessing_is_on_the_plateau():
    assert is_on_plateau(0.875, 0.0625, 0.9375)
    # Exactly two standard errors below counts as learned.
    assert not is_on_plateau(0.875, 0.03125, 0.9375)


def test_an_array_of_errors_is_judged_one_by_one_and_what_is_unknown_is_not_on_the_plateau():
    errors, noise = np.array([0.9, 0.9, np.nan, 0.9]), np.array([0.01, 0.1, 0.1, np.nan])
    assert is_on_plateau(errors, noise, 0.95).tolist() == [False, True, False, False]
    assert is_on_plateau(errors, noise, None).tolist() == [False] * 4


BURST = {"learning_rate": 1e38}


def test_a_set_that_fails_with_one_seed_leaves_the_choice_to_the_others():
    gone = {"failure": "loss is not finite at step 4", "seconds": 1.5}
    training = Dictated(
        {
            (0.1, 3): (0.5, 0.01, 2.0),
            (0.1, 4): (0.6, 0.01, 2.0),
            (0.2, 3): (0.3, 0.01, 2.0),
            (0.2, 4): gone,
        }
    )
    source = source_of(training, sets=[{"learning_rate": 0.1}, {"learning_rate": 0.2}], num_seeds=2)
    ((_, outcome),) = source([Trial(1)])
    (row,) = source.rows
    assert outcome.error == pytest.approx(0.55)
    assert (row["hyperparameter_set"], row["seconds"]) == (0, 7.5)
    assert row["failure"] == "set 1, seed 4: loss is not finite at step 4"


def test_a_candidate_whose_every_set_fails_has_failed_and_the_others_are_measured():
    training = Dictated({(None, 3): (0.5, 0.01, 2.0), (0.2, 3): {"failure": "gone", "seconds": 1.0}})
    source = source_of(training, sets=[{"learning_rate": 0.2}])
    ((_, outcome),) = source([Trial(0, 1 / 3)])
    assert outcome == Outcome(math.inf, 1 / 3)
    assert (outcome.has_failed, outcome.has_learned) == (True, False)
    (row,) = source.rows
    assert row["failure"] == "gone"
    assert math.isnan(row["error"])
    assert math.isnan(row["loss_standard_error"])
    assert source.history == []


def test_a_training_that_diverges_is_kept_as_failed_until_a_setting_changes(training, trained):
    source = source_of(training, sets=[BURST])
    ((_, outcome),) = source([Trial(0)])
    assert outcome.has_failed
    assert source.rows[0]["failure"].endswith("is not finite at step 2")
    trained.clear()
    again = source_of(training, sets=[BURST])
    list(again([Trial(0)]))
    assert untimed(again.rows) == untimed(source.rows)
    assert not trained
    # That no result depends on it is no reason to believe that it would fail again: it may save memory.
    optimization = SETTINGS.optimization.changed(gradient_accumulation_steps=2)
    list(source_of(replace(training, settings=SETTINGS.changed(optimization=optimization)), sets=[BURST])([Trial(0)]))
    assert trained == {"search/D1-A2-H8-I8": 1}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "the memory is too small to build and to score it"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "the memory is too small to build and to score it",
        ),
        (MemoryError(), "the memory is too small to build and to score it"),
        (FailedTrainingError("D1", "the loss has climbed", "Wait."), "the loss has climbed"),
    ],
    ids=["of a device", "of a CPU", "of Python", "of the loop"],
)
def test_every_failure_of_a_training_is_told_alike(training, monkeypatch, fault, reason):
    def fail(*arguments, **keywords):
        raise fault

    monkeypatch.setattr(candidates, "pretrain", fail)
    source = source_of(training)
    list(source([Trial(0)]))
    assert source.rows[0]["failure"] == reason


def test_a_fault_of_the_program_is_no_failure_of_a_candidate(training, monkeypatch):
    def fail(*arguments, **keywords):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(candidates, "pretrain", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(source_of(training)([Trial(0)]))


def test_a_model_whose_score_is_not_a_number_has_failed(training, monkeypatch):
    broken = SimpleNamespace(errors=lambda: {"loss": math.nan})
    monkeypatch.setattr(candidates, "score", lambda *arguments, **keywords: broken)
    source = source_of(training)
    list(source([Trial(0)]))
    assert source.rows[0]["failure"] == "its loss on the validation split is not finite"


@pytest.mark.parametrize(("num_lost", "is_kept"), [(1, True), (2, False)])
def test_a_training_whose_worker_dies_is_kept_as_failed_if_not_all_do(training, monkeypatch, num_lost, is_kept):
    def run(jobs, engine, *, on_lost, **keywords):
        lost, done = jobs[:num_lost], jobs[num_lost:]
        yield from (on_lost(job, "killed") for job in lost)
        yield from (job.function(*job.arguments) for job in done)

    trials = [Trial(1), Trial(0)]
    with monkeypatch.context() as patched:
        patched.setattr(trained_errors, "run_jobs", run)
        source = source_of(training)
        assert [outcome.has_failed for _, outcome in source(trials)] == [True, num_lost == 2]
    assert source.rows[0]["failure"] == "its worker died, as when memory runs out (killed)"
    again = source_of(training)
    assert [outcome.has_failed for _, outcome in again(trials)] == [is_kept, False]


def test_an_error_of_exactly_zero_is_told_with_what_helps_against_it():
    source = source_of(Dictated({(None, 3): (0.0, 0.0, 1.0)}))
    with pytest.raises(TrainingError) as caught:
        list(source([Trial(0)]))
    assert str(caught.value) == (
        "The error of candidate (1, 2, 8, 8) is exactly 0, allowed is above 0, since W divides by it: what it is "
        "scored on is too easy, or too small, to tell such encoders apart. Set params:search.error_measure to loss, "
        "for which the trainings are kept, or raise params:corpus.splits.validation."
    )
    ((_, outcome),) = source_of(Dictated({(None, 3): (0.0, 0.0, 1.0)}), measure="loss")([Trial(0)])
    assert outcome.error == 10.0


def test_the_largest_candidates_are_trained_first_and_told_in_the_order_of_asking():
    training = Dictated({(None, 3): (0.5, 0.01, 1.0)})
    source = source_of(training)
    trials = [Trial(0, 1 / 3), Trial(2, 1 / 3), Trial(1, 1.0)]
    assert [trial for trial, _ in source(trials)] == trials
    assert [(shape, steps) for shape, _, _, steps in training.asked] == [(SHAPES[2], 3), (SHAPES[1], 9), (SHAPES[0], 3)]
    assert [(row["candidate"], row["share"]) for row in source.rows] == [(0, 1 / 3), (2, 1 / 3), (1, 1.0)]


def test_each_trial_is_told_as_soon_as_its_trainings_have_ended():
    training = Dictated({(None, 3): (0.5, 0.01, 1.0), (None, 4): (0.7, 0.01, 1.0)})
    source, told = source_of(training, num_seeds=2), []
    source.on_answer = lambda row, history: told.append((row, history, len(training.asked)))
    answers = source([Trial(0), Trial(1)])
    next(answers)
    # The larger one trains first; nothing of the smaller one was trained when it was told.
    assert [(row["candidate"], row["error"], asked) for row, _, asked in told] == [(1, 0.6, 2), (0, 0.6, 4)]
    assert [history for _, history, _ in told] == [[{"step": 9, "masked_lm_error": 0.5}]] * 2
    list(answers)
    assert source.rows == [told[1][0], told[0][0]]


@pytest.mark.parametrize("is_told", [True, False])
def test_a_candidate_is_told_row_by_row_while_its_first_seed_trains(training, is_told):
    training = replace(training, is_told=is_told)
    training.states.observer = observer = NotingObserver()
    source = source_of(training, num_seeds=2)
    list(source([Trial(1)]))
    told_as = Training("(1, 2, 16, 24)", "candidate", SHAPES[1].to_row())
    assert [name for name, _ in observer.rows] == [told_as] * 9 * is_told
    rows = [{"shape": SHAPES[1].identifier, "share": 1.0, **row} for _, row in observer.rows]
    assert rows == source.history * is_told
    assert {name.parameters["hidden_size"] for name, _ in observer.rows} <= {16}


@pytest.mark.parametrize("start", ["training", "inherited", "distilled"])
def test_a_rung_and_then_the_rest_equal_the_whole_training_bit_for_bit(request, start, tmp_path):
    training = request.getfixturevalue(start)
    in_rungs, at_once = source_of(training), source_of(replace(training, states=TrainingStates(tmp_path / "b", keep=2)))
    for share in (1 / 9, 1 / 3, 1.0):
        ((_, last),) = in_rungs([Trial(2, share)])
    ((_, whole),) = at_once([Trial(2)])
    assert last == whole
    assert untimed(in_rungs.rows)[-1] == untimed(at_once.rows)[-1]
    assert len({row["loss"] for row in in_rungs.rows}) == 3


def test_a_candidate_of_the_size_of_the_maximum_point_begins_as_it(inherited, maximum_point, tokens):
    still = with_changes(SETTINGS, {"learning_rate": 1e-12, "weight_decay": 0.0, "dropout": 0.0})
    record = replace(inherited, settings=still).run(SHAPES[2], {}, seed=8, num_steps=1)
    expected = score(maximum_point.model, tokens, split="validation", num_threads=1)
    assert record["loss"] == pytest.approx(expected.loss, abs=1e-5)
    assert record["error"] == pytest.approx(1 - expected.accuracy, abs=1e-6)
    drawn = replace(inherited, settings=still, inheritance=None).run(SHAPES[2], {}, seed=8, num_steps=1)
    assert abs(drawn["loss"] - expected.loss) > 1e-3


def test_divergence_of_a_candidate_that_is_the_maximum_point_is_exactly_the_maximum_points_own(
    inherited, maximum_point, tokens
):
    compared = comparison("divergence", teaching(maximum_point))
    own = errors_of(maximum_point.model, tokens, SETTINGS, SHAPES[2], compared=compared)
    copy = build_masked_lm(maximum_point.model.config, seed=1)
    copy.load_state_dict(maximum_point.model.state_dict())
    assert errors_of(copy, tokens, SETTINGS, SHAPES[2], compared=compared) == own
    record = replace(inherited, comparison=compared).run(SHAPES[0], {}, seed=3, num_steps=2)
    assert record["divergence"] > own["divergence"] > 0
    assert record["divergence_standard_error"] > 0
    assert own["divergence"] != own["loss"]


@pytest.fixture
def by_distance(inherited, maximum_point):
    """Candidates that learn how an encoder without a masked-LM head relates tokens, and are measured by it."""
    alone = Pretrained(maximum_point.model.base_model, maximum_point.tokenizer)
    teacher = teaching(alone)
    inheritance = replace(inherited.inheritance, maximum_point=alone)
    return replace(inherited, inheritance=inheritance, comparison=comparison("distance", teacher), distillation=teacher)


def test_a_copy_is_no_distance_from_the_maximum_point_and_another_encoder_is(by_distance, maximum_point, tokens):
    def distance(model):
        return errors_of(model, tokens, SETTINGS, SHAPES[2], compared=by_distance.comparison)

    assert distance(maximum_point.model)["error"] == pytest.approx(0.0, abs=1e-7)
    other = distance(build_masked_lm(maximum_point.model.config, seed=6))
    assert set(other) == {"error", "error_standard_error"}
    assert other["error"] > 1e-4
    assert 0 < other["error_standard_error"] < other["error"]


def test_distance_is_the_mean_over_tokens_of_the_divergence_of_relations(by_distance, maximum_point, tokens):
    model = build_masked_lm(maximum_point.model.config, seed=6).eval()
    blocks, sums, counts = tokens.splits["validation"], [], []
    for number in range(len(blocks)):
        ids = torch.from_numpy(np.asarray(blocks[number], dtype=np.int64))[None]
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            mine, taught = (
                list(read(each, batch, attended_in=depth, states_of=None, head=None).values())
                for each, depth in ((model, 1), (maximum_point.model, 1))
            )
            divergence = relations_divergence(mine, taught, batch["attention_mask"], num_heads=2)
        sums.append(float(divergence) * ids.numel())
        counts.append(ids.numel())
    found = errors_of(model, tokens, SETTINGS, SHAPES[2], compared=by_distance.comparison)
    assert found["error"] == pytest.approx(sum(sums) / sum(counts), rel=1e-5)


def test_candidates_of_an_encoder_without_a_head_are_trained_and_measured_by_their_distance(by_distance):
    began, taught = (by_distance.run(SHAPES[0], {"learning_rate": rate}, 3, 9) for rate in (1e-12, 3e-3))
    assert taught["error"] < began["error"]
    assert "loss" not in taught
    source = source_of(by_distance, measure="distance", num_seeds=1, unigram_error=None)
    (_, outcome), *_ = source([Trial(0)])
    assert outcome.error == source.rows[0]["error"] > 0
    assert outcome.capped_error is None


def test_the_error_of_a_maximum_point_is_what_the_training_leaves_of_its_own_shape_in_two_seeds(by_distance):
    taught = replace(by_distance, settings=SETTINGS.changed(dropout=0.1))
    found = error_of(taught.distillation, taught, SETTINGS, SHAPES[2])
    records = [taught.run(SHAPES[2], {}, seed, 9) for seed in (3, 4)]
    assert found["error"] == np.mean([record["error"] for record in records])
    assert found["error_standard_error"] == pytest.approx(abs(records[0]["error"] - records[1]["error"]) / 2)
    assert found["num_tokens"] == sum(record["num_tokens"] for record in records)


def test_the_error_of_a_maximum_point_with_a_head_is_that_of_its_scoring(inherited, maximum_point, tokens):
    found = error_of(teaching(maximum_point), inherited, SETTINGS, SHAPES[2])
    expected = score(maximum_point.model, tokens, split="validation", num_threads=1).errors()
    assert found == expected | {"seconds": 0.0, "num_tokens": 0}


@dataclass(frozen=True)
class WidthError:
    """Stands for the fine-tuning on a task: wide encoders err less, and each seed by so much more."""

    scale: float = 1.0

    @property
    def identity(self):
        return {"task": "toy", "scale": self.scale}

    def __call__(self, model, seed, tokenizer=None):
        error = self.scale * (1 / model.config.hidden_size + 0.01 * seed)
        return {"error": error, "error_standard_error": 0.02, "seconds": 100.0, "num_tokens": 7}


def test_the_error_on_a_task_is_that_of_the_trained_encoder_and_is_kept_apart(training, steps):
    on_task = replace(training, task=WidthError())
    plain = training.run(SHAPES[0], {}, 4, 9)
    steps.clear()
    record = on_task.run(SHAPES[0], {}, 4, 9)
    # The short training is the same, and not repeated.
    assert steps == []
    assert (record["error"], record["error_standard_error"]) == (1 / 8 + 0.04, 0.02)
    assert "loss" not in record
    assert record["num_tokens"] == plain["num_tokens"] + 7
    assert record["seconds"] >= 100
    assert on_task.kept(SHAPES[0], {}, 4, 9) == record
    assert replace(training, task=WidthError(2.0)).kept(SHAPES[0], {}, 4, 9) is None


def test_a_search_for_the_error_on_a_task_takes_seeds_and_noise_into_account(training):
    source = source_of(replace(training, task=WidthError()), measure="task", num_seeds=2)
    (_, outcome), *_ = source([Trial(1)])
    # Seeds 3 and 4.
    assert outcome.error == pytest.approx(1 / 16 + 0.035)
    assert outcome.standard_error == pytest.approx(math.hypot(0.02, 0.01 / 2))
    assert "loss" not in source.rows[0]


def test_a_maximum_point_errs_on_a_task_as_its_own_fine_tunings_say(inherited, maximum_point):
    found = error_of(teaching(maximum_point), replace(inherited, task=WidthError()), SETTINGS, SHAPES[2], seeds=[3, 4])
    assert found["error"] == pytest.approx(1 / 16 + 0.035)
    assert found["error_standard_error"] == pytest.approx(math.hypot(0.02, 0.01 / 2))
    assert (found["seconds"], found["num_tokens"]) == (200.0, 14)


@pytest.mark.parametrize("start", ["training", "inherited"])
def test_a_trained_candidate_is_found_again_as_it_was_scored(request, start, steps, tmp_path, tokens):
    training = request.getfixturevalue(start)
    # The rung that another strategy trained comes after.
    record = training.run(SHAPES[1], {"dropout": 0.0}, 4, 9)
    training.run(SHAPES[1], {"dropout": 0.0}, 4, 3)
    steps.clear()
    model = training.trained(SHAPES[1], {"dropout": 0.0}, 4)
    own = score(model, tokens, split="validation", num_threads=1)
    assert (own.loss, 1 - own.accuracy) == (record["loss"], record["error"])
    assert steps == []
    shutil.rmtree(tmp_path / "states")
    again = training.trained(SHAPES[1], {"dropout": 0.0}, 4)
    assert steps == list(range(9))
    assert all(torch.equal(left, right) for left, right in zip(model.parameters(), again.parameters(), strict=True))


def test_a_divergence_is_measured_where_it_is_asked_for_and_of_each_maximum_point(training, maximum_point, trained):
    assert comparison("loss", teaching(maximum_point)) is None
    plain = training.run(SHAPES[0], {}, 3, 2)
    asked = replace(training, comparison=comparison("divergence", teaching(maximum_point)))
    record = asked.run(SHAPES[0], {}, 3, 2)
    assert set(record) - set(plain) == {"divergence", "divergence_standard_error"}
    # What was trained is scored anew, and not trained again.
    assert (record["loss"], record["seconds"]) == (plain["loss"], plain["seconds"])
    other = Pretrained(build_masked_lm(maximum_point.model.config, seed=6), maximum_point.tokenizer)
    assert replace(training, comparison=comparison("divergence", teaching(other))).run(SHAPES[0], {}, 3, 2) != record
    begun = trained.total()
    assert asked.run(SHAPES[0], {}, 3, 2) == record
    assert trained.total() == begun
    ((_, outcome),) = source_of(asked, measure="divergence")([Trial(0)])
    assert outcome.error == asked.run(SHAPES[0], {}, 3, 9)["divergence"]


def test_trainings_from_drawn_weights_and_from_each_maximum_point_and_narrowing_are_kept_apart(
    training, inherited, maximum_point, trained
):
    other = Pretrained(
        new_encoder(SHAPES[2], training.tokens, max_positions=16, settings=SETTINGS), maximum_point.tokenizer
    )
    ways = [
        None,
        inherited.inheritance,
        Inheritance(maximum_point, EVERY_ID, "truncation"),
        Inheritance(other, EVERY_ID, "svd"),
    ]
    for _ in range(2):
        losses = {replace(training, inheritance=way).run(SHAPES[0], {}, 3, 2)["loss"] for way in ways}
    assert trained.total() == len(losses) == len(ways)


def test_trainings_under_the_maximum_point_are_kept_apart_from_those_without(inherited, distilled, trained):
    for _ in range(2):
        alone, taught = (training.run(SHAPES[0], {}, 3, 2) for training in (inherited, distilled))
    assert trained.total() == 2
    assert "masked_accuracy" in alone["history"][0]
    assert taught["history"][0].keys() == {
        *("step", "loss", "relations_divergence", "hidden_states_error", "learning_rate", "gradient_norm")
    }


def test_a_kept_score_is_found_again_and_nothing_is_trained(training, trained, tmp_path):
    first = source_of(training, num_seeds=2)
    outcomes = dict(first([Trial(0), Trial(1, 1 / 3)]))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("step-*")}
    begun = trained.total()
    assert begun == 4
    again = source_of(training, num_seeds=2)
    assert dict(again([Trial(0), Trial(1, 1 / 3)])) == outcomes
    assert again.rows == first.rows
    assert again.history == first.history
    assert trained.total() == begun
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("step-*")} == files


def test_what_earlier_searches_trained_or_saw_fail_is_known_and_a_search_that_goes_on_is_told_the_same(training):
    source = source_of(training)
    assert source.known_from_before({"budget": 2}) == []
    list(source([Trial(2), Trial(1, 1 / 3)]))
    training.keep_failure(SHAPES[0], {}, 3, 9, {"failure": "its worker died", "seconds": 1.0})
    # The same search goes on from what it knew, which was nothing; another one begins with all that has ended.
    assert source_of(training).known_from_before({"budget": 2}) == []
    other = source_of(training)
    assert other.known_from_before({"budget": 3}) == [Trial(0), Trial(2)]
    assert [outcome.has_failed for _, outcome in other(other.known_from_before({"budget": 3}))] == [True, False]


@pytest.mark.parametrize(
    "changes",
    [{"num_seeds": 2}, {"sets": [{}, {"dropout": 0.0}]}, {"sets": [{"learning_rate": 1e-3}]}],
    ids=["another seed", "another set beside", "another set"],
)
def test_a_candidate_is_known_only_where_nothing_of_it_would_be_trained(training, trained, changes):
    list(source_of(training)([Trial(0)]))
    assert source_of(training, **changes).known_from_before({}) == []
    list(source_of(training, **changes)([Trial(0)]))
    trained.clear()
    source = source_of(training, **changes)
    list(source(source.known_from_before({"budget": 2})))
    assert [row["candidate"] for row in source.rows] == [0]
    assert not trained


def test_a_score_that_was_removed_is_no_longer_known(training, tmp_path):
    list(source_of(training)([Trial(0), Trial(1)]))
    assert source_of(training).known_from_before({}) == [Trial(0), Trial(1)]
    for folder in tmp_path.glob("states/search/scores/D1-A2-H8-I8-*"):
        shutil.rmtree(folder)
    assert source_of(training).known_from_before({}) == [Trial(1)]


def test_one_more_hyperparameter_set_trains_that_set_alone(training, trained):
    list(source_of(training)([Trial(0), Trial(1)]))
    trained.clear()
    list(source_of(training, sets=[{}, {"learning_rate": 2e-2}])([Trial(0), Trial(1)]))
    assert trained == {"search/D1-A2-H8-I8": 1, "search/D1-A2-H16-I24": 1}


def test_one_more_seed_trains_that_seed_alone(training, trained):
    list(source_of(training)([Trial(0)]))
    trained.clear()
    list(source_of(training, num_seeds=2)([Trial(0)]))
    assert trained == {"search/D1-A2-H8-I8": 1}


def test_steps_between_checkpoints_are_no_reason_to_train_anew(training, trained):
    list(source_of(training)([Trial(0)]))
    trained.clear()
    optimization = SETTINGS.optimization.changed(checkpoint_every_steps=2)
    list(source_of(replace(training, settings=SETTINGS.changed(optimization=optimization)))([Trial(0)]))
    assert not trained


def test_a_rung_asked_for_after_the_end_scores_as_one_trained_in_order(training, tmp_path):
    in_order = source_of(replace(training, states=TrainingStates(tmp_path / "b", keep=2)))
    list(in_order([Trial(1, 1 / 3)]))
    backwards = source_of(training)
    list(backwards([Trial(1)]))
    states = {path: path.stat().st_mtime_ns for path in (tmp_path / "states").rglob("search/D1*/step-*")}
    list(backwards([Trial(1, 1 / 3)]))
    assert untimed(backwards.rows)[-1] == untimed(in_order.rows)[-1]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "states").rglob("search/D1*/step-*")} == states


def test_rungs_asked_for_after_the_end_go_on_from_one_another(training, steps):
    source = source_of(training)
    list(source([Trial(1)]))
    assert steps == [*range(9)]
    steps.clear()
    for share in (1 / 9, 1 / 3):
        list(source([Trial(1, share)]))
    assert steps == [0, 1, 2]


def test_a_run_killed_after_a_checkpoint_goes_on_from_there(training, tmp_path):
    at_once = source_of(replace(training, states=TrainingStates(tmp_path / "b", keep=2)))
    list(at_once([Trial(2)]))

    class Killed(Exception):
        """Stands for a kill."""

    class KillsAfterPut(TrainingStates):
        def of(self, name, identity):
            folder = super().of(name, identity)
            put = folder.put

            def put_and_die(state: SavedState):
                put(state)
                raise Killed

            folder.put = put_and_die
            return folder

    states = tmp_path / "states"
    # Dies with the states of steps 4, 8 and 9, and with the score.
    for _ in range(4):
        with pytest.raises(Killed):
            list(source_of(replace(training, states=KillsAfterPut(states, keep=2)))([Trial(2)]))
    source = source_of(training)
    list(source([Trial(2)]))
    assert untimed(source.rows) == untimed(at_once.rows)


@pytest.mark.parametrize("engine", ["loky", "dask"])
def test_two_processes_find_what_one_finds(inherited, tmp_path, request, engine):
    if engine == "dask":
        # A cluster talks over the loopback, which the tests otherwise forbid.
        request.getfixturevalue("socket_enabled")
        pytest.importorskip("distributed")
    trials = [Trial(0), Trial(1, 1 / 3), Trial(2)]
    alone = source_of(inherited, sets=[{}, {"dropout": 0.0}])
    with Engine(EngineSettings(engine=engine, num_workers=2, cluster_address=None)) as workers:
        beside = source_of(
            replace(inherited, states=TrainingStates(tmp_path / "b", keep=2)),
            sets=[{}, {"dropout": 0.0}],
            engine=workers,
        )
        assert dict(beside(trials)) == dict(alone(trials))
    assert untimed(beside.rows) == untimed(alone.rows)
    assert beside.history == alone.history
    assert beside.restarts == []


def test_a_score_depends_on_the_stop_and_on_how_it_is_evaluated(training, tokens, tmp_path):
    list(source_of(training)([Trial(0, 1 / 3), Trial(1, 1 / 9)]))
    model = new_encoder(SHAPES[0], tokens, max_positions=16, settings=SETTINGS)
    identity = pretraining_identity(model.config, tokens, SETTINGS, start="random")
    evaluation = {"evaluation": {"seed": 0, "masked_share": 0.15, "precision": "no"}}
    kept = {
        steps: training.states.of("search/scores/D1-A2-H8-I8", identity | evaluation | {"stop_at": steps}).latest()
        for steps in (1, 3, 9)
    }
    assert {steps: state is not None for steps, state in kept.items()} == {1: False, 3: True, 9: False}
    assert set(kept[3].record) == {
        "error",
        "error_standard_error",
        "loss",
        "loss_standard_error",
        "seconds",
        "num_tokens",
        "history",
    }
