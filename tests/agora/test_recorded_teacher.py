"""A teacher that is a file: what it says, which texts it has for a mistake, and what it must know of dev."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bort_kedro.agora.recorded_teacher import (
    ALIKE_PER_POINT,
    AlikeTexts,
    RecordedTeacher,
    check_recorded_teacher,
    without_test,
)
from bort_kedro.agora.rivals import RIVALS, ScheduledRound, run_rival
from bort_kedro.agora.run import run_agora
from bort_kedro.agora.settings import LEAST_DEV
from bort_kedro.agora.teaching import FileTeaches
from bort_kedro.errors import TeacherError
from bort_kedro.finetuning.finetune import student_task
from bort_kedro.finetuning.theta import HyperparameterSet
from bort_kedro.tasks.labels import output_columns
from bort_kedro.tasks.table import RIGHT, Form
from bort_kedro.tasks.units import Unit
from memory_states import DictStates
from toy_tasks import AGORA, SETTINGS, data_of, encoder_of, examples_of

PLACE = "params:finetune.teacher.recorded.toy"


def unit(text):
    return Unit(((text, None),))


def texts_of(units):
    return [each.rows[0][0] for each in units]


def table_of(examples, form=Form.CLASSIFICATION, labels=("array", "row")):
    """What a file that knows the labels of these examples would say."""
    table = examples[["group", "text", "text_pair", "option"]].copy()
    # As a file has it, whatever split an example is of.
    table["group"] = examples["split"] + examples["group"]
    if form == Form.CLASSIFICATION:
        return table.assign(**{f"probability_{label}": (examples["label"] == label) * 1.0 for label in labels})
    if form == Form.REGRESSION:
        return table.assign(output=examples["label"].astype(float))
    return table.assign(output=(examples["label"] == RIGHT) * 1.0)


def pool_of(form=Form.CLASSIFICATION, num=40):
    """Examples of other seeds than those of the task."""
    return examples_of(form, num_train=num, num_dev=0, num_test=0, seed=9).assign(split="pool")


def teacher_of(data, *tables, form=Form.CLASSIFICATION):
    return RecordedTeacher(pd.concat([table_of(table, form) for table in tables], ignore_index=True), data, AGORA)


@pytest.fixture(scope="module")
def examples():
    return examples_of(num_train=24, num_dev=12, num_test=12)


@pytest.fixture(scope="module")
def data():
    return data_of(num_train=24, num_dev=12, num_test=12)


@pytest.fixture(scope="module")
def student(tiny_tokenizer):
    return encoder_of(tiny_tokenizer)


def split_of(examples, *splits):
    return examples[examples["split"].isin(splits)]


def test_it_says_what_is_recorded_of_texts_whatever_their_blanks(data, examples):
    teacher = teacher_of(data, split_of(examples, "dev"))
    dev = data.units["dev"]
    assert teacher.says(dev[:2]).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    spaced = unit("  " + dev[1].rows[0][0].replace(" ", "  "))
    assert teacher.says([spaced]).tolist() == [[0.0, 1.0]]
    assert teacher.says([]).shape == (0, 2)
    assert [teacher.knows(each) for each in (dev[0], data.units["test"][0])] == [True, False]


def test_points_come_from_texts_of_no_split(data, examples):
    teacher = teacher_of(data, split_of(examples, "train", "dev", "test"), pool_of())
    assert texts_of(teacher.pool) == pool_of()["text"].tolist()


def test_the_texts_most_alike_are_drawn_for_each():
    pool = ["the cat sat", "the cat ran", "a cat slept", "dogs bark loud", "dogs bark much", "rain falls down"]
    alike = AlikeTexts([unit(text) for text in pool])
    # As many as there are to draw from: which of them is chance, with all of the pool as with four times as many.
    found = alike([unit("dogs bark"), unit("it falls")], copies=1, seed=0)
    assert ALIKE_PER_POINT == 4
    assert len(found) == 2
    assert [each.made_of for each in found] == [unit("dogs bark"), unit("it falls")]
    assert {each.made_by for each in found} == {"recorded"}
    everything = alike([unit("dogs bark")], copies=6, seed=0)
    assert sorted(texts_of(everything)) == sorted(pool)


def test_a_draw_is_of_the_four_most_alike_for_each_point_and_of_other_texts_for_another_seed():
    near, far = [f"dogs bark at {name}" for name in "abcd"], [f"rain falls on {name}" for name in "efghijkl"]
    alike = AlikeTexts([unit(text) for text in (*far, *near)])
    draws = [texts_of(alike([unit("dogs bark")], copies=1, seed=seed)) for seed in range(40)]
    assert {text for (text,) in draws} == set(near)
    assert draws[0] == texts_of(alike([unit("dogs bark")], copies=1, seed=0))
    # Of each mistake by itself.
    both = texts_of(alike([unit("rain falls"), unit("dogs bark")], copies=1, seed=3))
    assert both[0] in far
    assert both[1] in near


def test_a_pool_with_fewer_texts_than_points_gives_some_twice():
    found = texts_of(AlikeTexts([unit("one"), unit("two")])([unit("one")], copies=5, seed=0))
    assert len(found) == 5
    assert set(found) <= {"one", "two"}


def test_copies_of_dev_and_test_are_thrown_away_and_points_have_their_recorded_beliefs(data, examples):
    pool = pool_of()
    # A text of test but for a mark, which is another text and a copy all the same.
    copy = split_of(examples, "test").iloc[:1]
    copied = copy.assign(text=copy["text"] + " !", split="pool", group="copy")
    # As many points as there are texts to draw: each comes once.
    settings = AGORA.changed(points_per_mistake=41)
    table = pd.concat([table_of(each) for each in (split_of(examples, "dev"), pool, copied)], ignore_index=True)
    teacher = RecordedTeacher(table, data, settings)
    draw = teacher.points(DictStates()).make(data.units["dev"][:1], seed=0, max_points=999)
    assert copied["text"].iloc[0] not in texts_of(draw.units)
    assert (draw.num_made, draw.num_repeated) == (41, 0)
    assert draw.num_copies >= 1
    assert len(draw.units) == 41 - draw.num_copies > 0
    assert draw.targets.tolist() == teacher.says(draw.units).tolist()


def test_all_recorded_texts_but_those_of_splits_and_their_copies_are_further_rows_of_train(data, examples, student):
    """Each with what is believed of it; a text twice once."""
    test = split_of(examples, "test")["text"].tolist()
    texts = ["one recorded text", test[0] + " !", "another text", test[1]]
    pool = pd.DataFrame({"group": list("abcd"), "text": texts, "text_pair": None, "option": None}).assign(
        probability_array=[0.9, 0.5, 0.2, 0.5], probability_row=[0.1, 0.5, 0.8, 0.5]
    )
    known = [table_of(split_of(examples, split)) for split in ("train", "dev")]
    table = pd.concat([*known, pool], ignore_index=True)
    task = student_task(student, data, (), SETTINGS, DictStates())
    draw = FileTeaches(table, AGORA)(task).recorded()
    assert texts_of(draw.units) == ["one recorded text", "another text"]
    assert draw.targets.tolist() == [[0.9, 0.1], [0.2, 0.8]]
    # What stands in a split is not in the pool.
    assert (draw.num_made, draw.num_copies, draw.num_repeated) == (3, 1, 0)
    hard = AGORA.changed(teacher_labels="hard")
    assert FileTeaches(table, hard)(task).recorded().targets.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("form", [Form.CLASSIFICATION, Form.MULTIPLE_CHOICE])
def test_recorded_labels_of_test_are_left_out(form):
    options = {"num_train": 6, "num_dev": 6, "num_test": 6}
    data, examples = data_of(form, **options), examples_of(form, **options)
    splits = [table_of(split_of(examples, split), form) for split in ("test", "dev", "train")]
    table = pd.concat([splits[0], table_of(pool_of(form, 3), form), *splits[1:]], ignore_index=True)
    kept = without_test(table, data)
    assert kept.equals(table.iloc[len(splits[0]) :].reset_index(drop=True))
    nothing = without_test(splits[0], data)
    assert RecordedTeacher(nothing, data, AGORA).pool == []


def test_what_is_said_of_dev_is_held_against_its_labels(data, examples):
    dev = split_of(examples, "dev")
    wrong = dev.assign(label=np.where(np.arange(12) < 3, np.where(dev["label"] == "row", "array", "row"), dev["label"]))
    teacher = teacher_of(data, wrong, pool_of())
    predictions, report = check_recorded_teacher(teacher, data, place=PLACE, needs_train=False)
    assert (predictions["label"] == predictions["prediction"]).tolist() == [False] * 3 + [True] * 9
    assert predictions["probability_row"].tolist() == teacher.says(data.units["dev"])[:, 1].tolist()
    assert (report.check.score, report.check.bar) == (0.75, 2 / 3)
    assert not report.check.is_over
    assert (report.method, report.num_trials, report.seconds) == ("recorded", 0, 0.0)
    assert report.num_examples == {"train": 0, "dev": 12, "pool": 40}
    assert type(report).from_json(report.to_json()) == report


def test_too_little_of_dev_no_pool_and_a_rival_without_labels_are_told_at_once(data, examples):
    teacher = teacher_of(data, split_of(examples, "dev").iloc[:5], split_of(examples, "train").iloc[:7])
    with pytest.raises(TeacherError) as caught:
        check_recorded_teacher(teacher, data, place=PLACE, needs_train=True)
    assert str(caught.value) == (
        "Task `toy`: 5 of the 12 examples of dev are recorded, and 12 at least are needed to hold the teacher against "
        "its bar; no text is recorded beside those of the task's own splits, so there is none to learn from; 7 of the "
        "24 examples of train are recorded, and the method distilled needs all of them; name another one in "
        "params:finetune.method, or take it out of params:finetune.rivals. An example is found again by its texts, "
        f"blanks aside; `toy.examples` has those of each split. Change the file or the columns of {PLACE}."
    )


def test_a_part_of_a_large_dev_is_enough():
    options = {"num_train": 6, "num_dev": LEAST_DEV + 30, "num_test": 6}
    data, examples = data_of(**options), examples_of(**options)
    dev = split_of(examples, "dev")
    # The same text may be drawn twice, and is recorded once.
    texts = dev["text"].drop_duplicates()
    kept = dev.loc[texts.index[:LEAST_DEV]]
    predictions, report = check_recorded_teacher(
        teacher_of(data, kept, pool_of()), data, place=PLACE, needs_train=False
    )
    assert report.num_units["dev"] == len(predictions) == dev["text"].isin(kept["text"]).sum() >= LEAST_DEV
    assert (report.check.score, report.check.is_over) == (1.0, True)
    with pytest.raises(TeacherError, match=f"of the {LEAST_DEV + 30} examples of dev are recorded, and {LEAST_DEV} at"):
        check_recorded_teacher(teacher_of(data, kept.iloc[:50], pool_of()), data, place=PLACE, needs_train=False)


# Recorded labels are of whole texts.
@pytest.mark.parametrize("form", [form for form in Form if form != Form.TOKENS])
def test_every_form_goes_through_agora_and_its_rivals_without_an_encoder_that_teaches(tiny_tokenizer, form):
    options = {"num_train": 24, "num_dev": 12, "num_test": 12}
    data, examples = data_of(form, **options), examples_of(form, **options)
    tables = [table_of(each, form) for each in (split_of(examples, "train", "dev"), pool_of(form, 60))]
    table = pd.concat(tables, ignore_index=True)
    teacher = RecordedTeacher(table, data, AGORA)
    _, taught = check_recorded_teacher(teacher, data, place=PLACE, needs_train=True)
    assert (taught.check.score, taught.check.is_over) == (1.0, True)
    theta = tuple(HyperparameterSet(rate, 0.01, 0.1, 256, 0) for rate in (1e-3, 3e-3))
    states = DictStates()
    task = student_task(encoder_of(tiny_tokenizer), data, theta, SETTINGS, states)
    result = run_agora(task, teacher)
    pool = set(teacher.pool)
    draws = [each.draw for each in result.rounds if each.draw]
    assert sum(len(draw.units) for draw in draws) > 0
    assert all(set(draw.units) <= pool for draw in draws)
    assert all(draw.targets.shape[1] == len(output_columns(form, data.labels)) for draw in draws)
    schedule = [ScheduledRound.of(each) for each in result.report().rounds]
    teaching = FileTeaches(table, AGORA)(task)
    assert teaching.methods == ("plain", "distilled", "weak_supervision", "agora")
    rivals = [run_rival(method, task, schedule, teaching) for method in RIVALS]
    assert [rival.report().num_steps for rival in rivals] == [result.report().num_steps] * 4
