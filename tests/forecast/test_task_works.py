"""What each method of fine-tuning trains, counted by hand."""

import pytest

from bort_kedro.forecast.facts import KNOWN_ENCODERS, Examples, Facts
from bort_kedro.forecast.task_works import task_works
from bort_kedro.forecast.work import TRIALS
from project_parameters import parameters

STUDENT, TEACHER = KNOWN_ENCODERS["bort"], KNOWN_ENCODERS["roberta-base"]
# Of 20 words are 30 tokens, so that 1024 of a batch are a step for 34.1 examples.
EXAMPLES = Examples(1200, 240, words=20, num_others=300)
STEPS_OF_EXAMPLE = 30 / 1024
# A file, of whose rows a hundred have to be of dev.
RECORDED = {"recorded": {"library": {"file": "labels.jsonl"}}}


def rows(*, num_recorded=700, **finetune):
    """Of two sets for the student and one for the teacher, ten epochs each, and Agora with a replay and as many points
    as examples each round."""
    training = {"batch_tokens": [1024], "num_epochs": 10, "patience": None, "learning_rates": [1e-3, 2e-3]}
    teacher = {"encoder": "student", "training": training | {"learning_rates": [1e-3]}, **finetune.pop("teacher", {})}
    changes = {"tasks": ["library"], "num_folds": 3, "training": training, "teacher": teacher} | finetune
    asked = parameters(finetune=changes).finetune
    facts = Facts(examples={"library": EXAMPLES}, recorded={"library": num_recorded})
    works = list(task_works(asked, facts, student=STUDENT, teacher=TEACHER))
    assert all(work.step.encoder == (TEACHER if work.is_teacher else STUDENT) for work in works)
    return works


def counted(works):
    """Node, trainings, those in any case, and examples that all learn together, in thousands, as the steps have it."""
    return [
        (
            work.node.rpartition("fine_tune_")[2].removesuffix("_node"),
            work.num_trainings,
            work.least_trainings,
            pytest.approx(work.num_steps * work.num_trainings / 10 / STEPS_OF_EXAMPLE / 1000, rel=5e-3),
        )
        for work in works
    ]


def test_plain_trains_every_set_and_once_more_with_dev():
    (trials,) = works = rows(method="plain")
    assert counted(works) == [("student", 3, 3, 1.2 + 1.2 + 1.44)]
    assert not trials.is_limit
    assert trials.what == "`library`: the student's trials, then one more that learns dev too"
    (trials,) = works = rows(method="plain", ends_with_dev=False)
    assert counted(works) == [("student", 2, 2, 2.4)]
    assert trials.what == "`library`: the student's trials"


def test_agora_and_its_rivals_each_end_with_dev():
    works = rows(method="agora", rivals=["plain", "random_augmentation"])
    assert counted(works) == [
        ("teacher", 1, 1, 1.2),
        # Two sets, then one with 1200 points, that again with others, and at most that with dev.
        ("student", 4 + 1, 2 + 1, 2 * 1.2 + 2 * 2.4 + 2.4 + 0.24),
        # Twice the same, but for the first round of plain; its last sees dev as often as train, in as many steps.
        ("rivals", 2 * 4 - 2 + 2, 0, 4 * 2.4 + 2 * 1.2 + 2 * 1.44 + 2.64),
    ]
    assert [work.is_limit for work in works] == [False, True, True]
    assert works[2].what == "`library`: as many trials by plain, random_augmentation, then 2 more that learn dev too"


def test_a_rival_that_is_distilled_asks_a_teacher_for_each_part_of_train():
    works = rows(method="agora", rivals=["distilled"])
    assert counted(works)[2:] == [("rivals", 3, 0, 3 * 0.8), ("rivals", 4 + 1, 0, 2 * 1.2 + 2 * 2.4 + 2 * 1.44)]
    assert works[2].what == "`library`: teachers for distilled, each on 2 of 3 parts of train"
    # One a part, which is looked at ten times and at its end, answers 400 examples.
    assert (works[2].num_looks, works[2].passes[0].tokens) == (11, (11 * 240 + 400) * 30)
    recorded = rows(method="agora", rivals=["distilled"], teacher=RECORDED)
    assert [work.node for work in recorded] == [works[1].node, works[3].node]


def test_distilled_has_teachers_and_the_trials_of_plain():
    works = rows(method="distilled", rivals=["plain"])
    assert counted(works) == [("teacher", 1, 1, 1.2), ("student", 3, 0, 3 * 0.8), ("student", 3, 3, 2.4 + 1.44)]


def test_auto_does_for_each_part_of_train_what_it_may_choose():
    works = rows(method="auto", rivals=["plain"])
    assert counted(works) == [
        ("teacher", 1, 1, 1.2),
        # For each of three parts one teacher of 800 examples, and three of two thirds of these.
        ("student", 3 * (1 + 3), 0, 3 * (0.8 + 3 * 0.8 * 2 / 3)),
        # For each: two sets plainly, two distilled, two of Agora with points (its first two are plain's), and the three
        # once more with dev. Under a teacher that is too weak there is nothing to choose.
        (
            *("student", 3 * (2 + 2 + 2 + 3), 0),
            3 * (4 * 0.8 + 2 * 1.6 + 2 * (0.8 + 0.24) + 1.6 + 0.24),
        ),
        ("student", 3, 0, 3 * 0.8),
        ("student", 5, 3, 2 * 1.2 + 2 * 2.4 + 2.64),
        ("rivals", 4 - 2 + 1, 0, 2 * 2.4 + 2 * 1.44),
    ]
    assert [work.what.removeprefix("`library`: ") for work in works] == [
        "its teacher",
        "to choose a method, teachers on 2 of 3 parts of train",
        "to choose a method, trials of plain, distilled and agora on 2 of 3 parts of train, then 9 more that learn dev "
        "too",
        "teachers for distilled, each on 2 of 3 parts of train",
        "trials of the method that was chosen, then one more that learns dev too",
        "as many trials by plain, then one more that learns dev too",
    ]
    # Each of the three methods answers every part of train, and so all of it.
    assert works[2].passes[0].tokens == (works[2].num_looks * 240 + 3 * 1200 // 27) * 30
    # Points of the three are made of 800 examples, and labelled; those of the chosen one of 1200.
    asked = [sum(each.tokens for each in work.passes[1:]) * work.num_trainings for work in (works[2], works[4])]
    assert asked == pytest.approx([3 * 2 * 2 * 800 * 30, 2 * 2 * 1200 * 30], rel=1e-3)
    assert [work.kind == TRIALS for work in works] == [True, False, False, False, True, True]


def test_labels_that_were_recorded_need_no_teacher_to_choose_by():
    compared, *works = rows(method="auto", teacher=RECORDED)
    assert not any(work.is_teacher for work in (compared, *works))
    # Two sets more a part, on 800 examples and the 600 that are recorded, and once more with dev.
    assert counted([compared]) == [
        ("student", 3 * (9 + 3), 0, 3 * (4 * 0.8 + 2 * 1.6 + 2 * (0.8 + 0.24) + 1.6 + 0.24 + 2 * 1.4 + 1.4 + 0.24))
    ]
    assert "trials of plain, distilled, weak_supervision and agora on 2 of 3 parts of train" in compared.what
    assert [work.num_trainings for work in works] == [5, 3]


def test_recorded_labels_are_learned_with_train():
    (trials,) = works = rows(method="weak_supervision", teacher=RECORDED)
    assert counted(works) == [("student", 3, 3, 2 * 1.8 + 1.8 + 0.24)]
    assert trials.what == "`library`: the student's trials by weak_supervision, then one more that learns dev too"
    # As long as Agora, whose last round had 2400 examples; dev is seen as often as the 1800.
    rivals = rows(method="agora", rivals=["weak_supervision"], teacher=RECORDED)[1]
    assert counted([rivals]) == [("rivals", 4 + 1, 0, 2 * 1.2 + 2 * 2.4 + 2.4 * (1 + 240 / 1800))]


def test_a_training_on_many_recorded_labels_may_be_the_longest_that_auto_chooses():
    chosen = rows(method="auto", teacher=RECORDED, num_recorded=12_100)[1]
    assert counted([chosen]) == [("student", 3, 3, 2 * 13.2 + 13.2 + 0.24)]
