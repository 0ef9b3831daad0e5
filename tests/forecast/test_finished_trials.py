"""Which trials of fine-tuning a forecast takes for those of the run."""

from dataclasses import replace

import pytest

from bort_kedro.finetuning.theta import build_theta
from bort_kedro.forecast.facts import Examples, Facts
from bort_kedro.forecast.finished import Circumstances, Ended
from bort_kedro.forecast.finished_trials import with_finished_trials
from bort_kedro.forecast.stages import Forecaster
from bort_kedro.forecast.work import COMPARED, COMPARED_TEACHERS, TEACHERS_OF_PARTS, TRIALS
from bort_kedro.pipeline_registry import build_pipelines
from project_parameters import parameters

PARAMETERS = parameters("smoke", finetune={"tasks": ["library"]})
FINETUNE = PARAMETERS.finetune
VERSIONS = {"bort_kedro": "1", "torch": "2"}
HERE = Circumstances(VERSIONS, tokens=None, auto="no")
NODES = frozenset(node.name for node in build_pipelines(PARAMETERS)["finetune"].nodes)
# 640 tokens are two steps of 512.
WORKS = Forecaster(PARAMETERS, Facts(examples={"library": Examples(64, 32, words=4)})).works(NODES)
TEACHER, STUDENT, RIVALS = (f"finetune.library.fine_tune_{who}_node" for who in ("teacher", "student", "rivals"))


def trial(chosen, settings=FINETUNE.training, *, encoder="student", at=1.0, name="finetune/library", **other):
    """As `finetuning.trials` has it."""
    optimization = {
        "num_steps": 2,
        "seed": chosen.seed,
        "learning_rate": chosen.learning_rate,
        "weight_decay": chosen.weight_decay,
        "warmup_share": chosen.warmup_share,
        "mixed_precision": "no",
        **settings.model_dump(include={"adam_beta2", "adam_epsilon", "max_gradient_norm"}),
    }
    identity = {
        "encoder": encoder,
        "optimization": optimization | {key: other.pop(key) for key in tuple(other) if key in optimization},
        "batch_tokens": chosen.batch_tokens,
        "patience_after_warmup": settings.patience,
        **settings.model_dump(include={"looks_per_epoch", "class_weights", "dropout", "num_threads"}),
        "versions": VERSIONS,
    }
    return Ended(name, identity | other, at)


STUDENTS = [trial(chosen) for chosen in build_theta(FINETUNE.training, draw_seed=0)]
TAUGHT = trial(build_theta(FINETUNE.teacher.training, draw_seed=0)[0], FINETUNE.teacher.training, encoder="teacher")


def found(*trials, last=None):
    """By node, trainings and those that are finished."""
    works = with_finished_trials(WORKS, trials, FINETUNE, HERE, last or {})
    return {work.node: (work.num_trainings, work.num_finished) for work in works}


def test_trials_are_given_to_the_teacher_to_agora_and_to_its_rival_in_turn():
    assert found() == {TEACHER: (1, 0), STUDENT: (5, 0), RIVALS: (3, 0)}
    assert found(TAUGHT, *STUDENTS) == {TEACHER: (1, 1), STUDENT: (5, 2), RIVALS: (3, 0)}
    later = [replace(each, identity=each.identity | {"train": number}) for number in range(2) for each in STUDENTS]
    seeded = [trial(chosen, seed=1000) for chosen in build_theta(FINETUNE.training, draw_seed=0)]
    assert found(*later, *seeded) == {TEACHER: (1, 0), STUDENT: (5, 5), RIVALS: (3, 1)}


def test_as_many_as_the_last_run_took_are_all():
    last = {(TEACHER, TRIALS): 1, (STUDENT, TRIALS): 2, (RIVALS, TRIALS): 0}
    assert found(TAUGHT, *STUDENTS, last=last) == {TEACHER: (1, 1), STUDENT: (2, 2)}
    # One of them is gone.
    assert found(TAUGHT, STUDENTS[0], last=last) == {TEACHER: (1, 1), STUDENT: (5, 1), RIVALS: (3, 0)}


def test_trials_of_a_choice_are_given_to_the_parts_of_train_before_the_method_that_was_chosen():
    asked = parameters("smoke", finetune={"tasks": ["library"], "method": "auto", "num_folds": 2})
    works = Forecaster(asked, Facts(examples={"library": Examples(64, 32, words=4)})).works(NODES)
    later = [replace(each, identity=each.identity | {"train": number}) for number in range(11) for each in STUDENTS]
    again = replace(TAUGHT, identity=TAUGHT.identity | {"train": "a part"})

    def taken(last):
        works_left = with_finished_trials(works, (TAUGHT, again, *later), asked.finetune, HERE, last)
        return [(work.is_teacher, work.num_trainings, work.num_finished) for work in works_left]

    last = {(TEACHER, TRIALS): 1, (STUDENT, TRIALS): 3}
    # Of 22 that are kept; nothing says how many the choice took.
    assert taken(last) == [(True, 1, 1), (True, 6, 1), (False, 18, 18), (True, 2, 0), (False, 5, 4), (False, 3, 0)]
    # What the choice took, and that plain fine-tuning was chosen, for which no teacher answers parts of train.
    chosen = {(STUDENT, COMPARED_TEACHERS): 1, (STUDENT, COMPARED): 19, (STUDENT, TEACHERS_OF_PARTS): 0}
    assert taken(last | chosen) == [(True, 1, 1), (True, 1, 1), (False, 19, 19), (False, 3, 3), (False, 3, 0)]
    assert taken(last | chosen | {(RIVALS, TRIALS): 0})[-1] == (False, 3, 3)
    # Under a weak teacher nothing was chosen.
    weak = dict.fromkeys(chosen, 0)
    assert taken(last | weak) == [(True, 1, 1), (False, 3, 3), (False, 3, 3)]
    # A choice that has not been finished since goes before all that follows it.
    assert taken(last | chosen | {(STUDENT, COMPARED_TEACHERS): 2})[1:] == [
        *((True, 6, 1), (False, 18, 18), (True, 2, 0), (False, 5, 4), (False, 3, 0)),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"name": "finetune/order"},
        {"versions": VERSIONS | {"torch": "3"}},
        {"dropout": 0.7},
        {"learning_rate": 0.7},
        {"num_steps": 1},
        {"patience_after_warmup": 3},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_trial_that_differs_is_not_found(other):
    chosen = build_theta(FINETUNE.training, draw_seed=0)[0]
    assert found(trial(chosen))[STUDENT] == (5, 1)
    assert found(trial(chosen, **other))[STUDENT] == (5, 0)


def test_of_several_students_the_last_counts():
    older = [replace(each, identity=each.identity | {"encoder": "older"}, ended_at=0.0) for each in STUDENTS]
    assert found(*older, STUDENTS[0])[STUDENT] == (5, 1)
    assert found(*older)[STUDENT] == (5, 2)
