"""New points: what is thrown away and counted, how they are labelled, and what is found again."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bort_kedro.agora.near_duplicates import NearDuplicates
from bort_kedro.agora.points import PointMaker
from bort_kedro.agora.settings import PointSettings, TransformationSettings
from bort_kedro.agora.transformation import Transformation
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.tasks.table import Form
from bort_kedro.tasks.units import Unit
from toy_tasks import data_of, encoder_of, task_of

SETTINGS = PointSettings(
    points_per_mistake=2, max_points_share=1.0, max_overlap=0.7, ngram_words=2, teacher_labels="hard"
)
# Five different pairs of words each.
DEV, TEST = "one two three four five six", "red green blue pink grey gold"
REFERENCES = ("the words of dev", "and those of test")
SOURCES = ["alpha beta gamma delta", "kappa lambda mu nu"]


def unit(*texts):
    """A row of one text, or a question with these options."""
    return Unit(((texts[0], None),)) if len(texts) == 1 else Unit(tuple(("passage", text) for text in texts))


class Asked:
    """Stands for tau and the teacher, and counts how often each is asked."""

    def __init__(self, made, outputs):
        self.made, self.outputs = [unit(*np.atleast_1d(texts)) for texts in made], np.array(outputs, dtype=np.float64)
        self.calls = []

    def transform(self, sources, *, copies, seed):
        self.calls.append(("tau", seed))
        assert len(self.made) == copies * len(sources)
        return self.made

    def says(self, units):
        self.calls.append(("teacher", len(units)))
        return self.outputs[: sum(len(each.rows) for each in units)]


@pytest.fixture
def states(tmp_path):
    return TrainingStates(tmp_path / "states", keep=2)


def maker(asked, states, *, settings=SETTINGS, form=Form.CLASSIFICATION, teacher="one"):
    data = SimpleNamespace(task=replace(task_of(), form=form), units={"dev": [unit(DEV)], "test": [unit(TEST)]})
    return PointMaker(data, asked.transform, asked.says, {"teacher": teacher}, settings, states)


def draw_of(asked, states, *, seed=3, max_points=100, sources=SOURCES, **options):
    return maker(asked, states, **options).make([unit(text) for text in sources], seed=seed, max_points=max_points)


def texts_of(draw):
    return [each.rows[0][0] for each in draw.units]


MADE = ["alpha beta gamma omega", "alpha beta omega delta", "kappa lambda mu pi", "kappa lambda pi nu"]
BELIEFS = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]


def test_copies_of_dev_and_of_test_are_thrown_away_and_counted(states):
    # Of dev's five pairs of words the first point has four: 4 / 6 is below 0.7; the second has all, in other letters.
    near, copy = f"{DEV.removesuffix('six')}seven", f"{DEV.upper()}!"
    draw = draw_of(Asked([near, copy, TEST, MADE[3]], BELIEFS), states)
    assert texts_of(draw) == [near, MADE[3]]
    assert draw.report().to_json() == {
        "num_sources": 2,
        "num_made": 4,
        "num_copies": 2,
        "num_repeated": 0,
        "num_beyond": 0,
        "num_kept": 2,
    }
    assert draw.targets.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_share_of_word_runs_at_the_bound_is_a_copy(states):
    near = f"{DEV.removesuffix('six')}seven"
    draw = draw_of(Asked([near, *MADE[1:]], BELIEFS), states, settings=SETTINGS.changed(max_overlap=4 / 6))
    assert (near in texts_of(draw), draw.num_copies) == (False, 1)


def test_unchanged_and_repeated_texts_are_no_points(states):
    # The second source came out as it was; the first one's points are equal to each other.
    draw = draw_of(Asked([MADE[0], MADE[0], SOURCES[1], MADE[3]], BELIEFS), states)
    assert texts_of(draw) == [MADE[0], MADE[3]]
    assert (draw.num_made, draw.num_repeated, draw.num_copies) == (4, 2, 0)


def test_a_point_that_equals_another_source_is_no_point(states):
    draw = draw_of(Asked([SOURCES[1], *MADE[1:]], BELIEFS), states)
    assert (len(draw.units), draw.num_repeated) == (3, 1)


def test_a_full_round_has_points_of_every_source(states):
    draw = draw_of(Asked(MADE, BELIEFS), states, max_points=3)
    # The first copy of each source, then the second ones.
    assert texts_of(draw) == [MADE[0], MADE[2], MADE[1]]
    assert draw.num_beyond == 1


def test_the_teacher_is_asked_of_points_that_are_kept_and_of_no_others(states):
    asked = Asked([DEV, *MADE[1:]], BELIEFS)
    draw_of(asked, states, max_points=2)
    assert asked.calls == [("tau", 3), ("teacher", 2)]


def test_hard_labels_are_the_likeliest_and_soft_ones_all_beliefs(states):
    asked = Asked(MADE, BELIEFS)
    assert draw_of(asked, states).targets.tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    soft = SETTINGS.changed(teacher_labels="soft")
    assert draw_of(asked, states, settings=soft).targets.tolist() == BELIEFS


def test_of_equal_beliefs_the_first_label_is_taken(states):
    assert draw_of(Asked(MADE[:2], [[0.5, 0.5], [0.5, 0.5]]), states, sources=SOURCES[:1]).targets.tolist() == [
        [1.0, 0.0],
        [1.0, 0.0],
    ]


def test_of_the_options_of_a_question_one_is_the_right_one(states):
    made = [("a b", "c d", "e f"), ("g h", "i j")]
    shares = [[0.2], [0.7], [0.1], [0.6], [0.4]]
    for labels, expected in (("hard", [[0.0], [1.0], [0.0], [1.0], [0.0]]), ("soft", shares)):
        settings = SETTINGS.changed(teacher_labels=labels)
        draw = draw_of(Asked(made, shares), states, form=Form.MULTIPLE_CHOICE, settings=settings, sources=SOURCES[:1])
        assert draw.targets.tolist() == expected
        assert [len(each.rows) for each in draw.units] == [3, 2]


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_a_number_stays_as_the_teacher_says_it(states, labels):
    values = [[0.25], [3.5], [-1.0], [2.0]]
    settings = SETTINGS.changed(teacher_labels=labels)
    assert draw_of(Asked(MADE, values), states, form=Form.REGRESSION, settings=settings).targets.tolist() == values


def test_points_that_were_drawn_are_found_again_and_nobody_is_asked(states):
    asked = Asked([DEV, *MADE[1:]], BELIEFS)
    first = draw_of(asked, states, max_points=2)
    asked.calls.clear()
    again = draw_of(asked, states, max_points=2)
    assert asked.calls == []
    assert (again.units, again.report()) == (first.units, first.report())
    assert np.array_equal(again.targets, first.targets)


def test_points_that_are_found_again_know_what_they_were_made_of(states):
    sources = [unit(text) for text in SOURCES]
    asked = Asked(MADE, BELIEFS)
    asked.made = [
        replace(each, made_of=sources[place // 2], made_by=f"way {place}") for place, each in enumerate(asked.made)
    ]
    for _ in range(2):
        kept = draw_of(asked, states).units
        # The first of each source, then the second.
        assert [each.made_by for each in kept] == ["way 0", "way 2", "way 1", "way 3"]
        assert [each.made_of for each in kept] == [sources[0], sources[1]] * 2
    assert asked.calls == [("tau", 3), ("teacher", 4)]


def test_what_a_point_was_made_of_tells_no_two_apart():
    made = replace(unit(MADE[0]), made_of=unit(SOURCES[0]), made_by="swap_words")
    assert made == unit(MADE[0])
    assert hash(made) == hash(unit(MADE[0]))
    # Fingerprints of recorded labels are made of it.
    assert repr(made) == repr(unit(MADE[0]))


def test_points_of_pairs_and_questions_are_found_again_as_they_were(states):
    made = [("a b", "c d", "e f"), ("g h", "i j")]
    asked = Asked(made, [[0.2], [0.7], [0.1], [0.6], [0.4]])
    options = {"form": Form.MULTIPLE_CHOICE, "sources": SOURCES[:1]}
    assert draw_of(asked, states, **options).units == draw_of(asked, states, **options).units == asked.made
    assert len(asked.calls) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"max_points": 99},
        {"sources": [SOURCES[1], SOURCES[0]]},
        {"teacher": "another"},
        {"settings": SETTINGS.changed(teacher_labels="soft")},
        {"settings": SETTINGS.changed(max_overlap=0.9)},
        {"settings": SETTINGS.changed(ngram_words=3)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_seed_bound_source_teacher_or_setting_draws_anew(states, change):
    asked = Asked(MADE, BELIEFS)
    draw_of(asked, states)
    draw_of(asked, states, **change)
    assert [name for name, _ in asked.calls] == ["tau", "teacher"] * 2


def test_without_mistakes_there_are_no_points(states):
    asked = Asked([], np.zeros((0, 2)))
    for _ in range(2):
        draw = draw_of(asked, states, sources=[])
        assert draw.units == []
        assert set(draw.report().to_json().values()) == {0}
        assert draw.targets.shape == (0, 2)
    assert asked.calls == [("teacher", 0)]


def test_real_points_differ_from_their_sources_and_copy_no_reference(states, tiny_tokenizer):
    data = data_of(num_dev=12, num_test=12)
    sources = data.units["dev"][:6]
    weights = {"masked_lm": 1.0, "swap_words": 1.0, "delete_words": 1.0}
    tau = Transformation(
        encoder_of(tiny_tokenizer),
        TransformationSettings(
            weights=weights, changed_share=0.4, temperature=1.0, top_k=50, batch_tokens=512, max_tokens=48
        ),
    )
    settings = SETTINGS.changed(points_per_mistake=4, max_overlap=0.5)
    points = PointMaker(data, tau, lambda units: np.ones((len(units), 2)), {}, settings, states)
    before = torch.random.get_rng_state()
    draw = points.make(sources, seed=1, max_points=10)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert 0 < len(draw.units) <= 10
    assert draw.num_copies > 0
    assert draw.num_made == 24 == len(draw.units) + draw.num_copies + draw.num_repeated + draw.num_beyond
    assert not set(draw.units) & set(sources)
    near = NearDuplicates([*data.units["dev"], *data.units["test"]], max_overlap=0.5, ngram_words=2)
    assert max(near.overlap(point) for point in draw.units) < 0.5
    assert points.make(sources, seed=2, max_points=10).units != draw.units
