"""What a search begins with and ends by, with trainings that take a minute each by what is recorded of them."""

from collections import Counter

import pandas as pd
import pytest

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.pipelines.search.training_nodes import measure_errors
from bort_kedro.search.settings import SearchSettings
from bort_kedro.search.short_training import ShortTraining
from bort_kedro.text.tokens import Tokens
from project_parameters import raw_parameters

SHAPES = [BertShape(depth, 2, 16, width) for depth in (1, 2, 3, 4) for width in (16, 32)]
MAXIMUM = BertShape(8, 4, 32, 64)
MAXIMUM_POINT = MAXIMUM.to_row() | {"parameters": 9000, "cost": 900.0, "error": 0.4, "loss": 3.0}


def search_of(**changes):
    wish = {"maximum_point": MAXIMUM.to_row(), "start": "random", "budget": 6, "trials_per_round": 1}
    return SearchSettings(**raw_parameters("smoke", search=wish | changes)["search"])


@pytest.fixture(scope="module")
def tokens(tiny_blocks, tiny_vocabulary):
    return Tokens(tiny_vocabulary, {"train": tiny_blocks, "validation": tiny_blocks}, "tiny")


@pytest.fixture
def trained(monkeypatch):
    """Candidates that were trained, by how often."""
    names = Counter()

    def train(self, shape, settings, num_steps):
        names[shape.identifier] += 1
        error = 0.9 - 0.03 * shape.num_hidden_layers - 0.001 * shape.intermediate_size
        noise = {"error_standard_error": 0.001, "loss_standard_error": 0.01}
        return {"error": error, "loss": 5 * error, **noise, "seconds": 60.0, "num_tokens": 100, "history": []}

    monkeypatch.setattr(ShortTraining, "_train_and_score", train)
    return names


@pytest.fixture
def search(tokens, tiny_tokenizer, tiny_vocabulary, tmp_path, trained):
    """One search over eight shapes, whose states are kept from one to the next; its rows without those of a clock."""
    config = bert_config(MAXIMUM, vocabulary_size=tiny_vocabulary.size, max_positions=16)
    maximum = Pretrained(build_masked_lm(config, seed=0, initialization="published"), tiny_tokenizer)
    costs = {"parameters": range(1000, 1800, 100), "cost": [10.0 * place for place in range(1, 9)]}
    space = pd.DataFrame([shape.to_row() for shape in SHAPES]).assign(**costs)

    def run(folder="states", **changes):
        states = TrainingStates(tmp_path / folder, keep=2)
        return measure_errors(
            space, MAXIMUM_POINT, maximum, {}, tokens, tiny_tokenizer, states, search_of(**changes), 16
        )[0]

    return run


def asked(rows):
    return rows["candidate"].tolist()


@pytest.mark.slow
def test_minutes_end_a_search_and_more_of_them_go_on_as_if_it_had_never_ended(search, trained):
    # Three representatives in the first round, then a pick a round.
    ended = search(max_minutes=3.5)
    assert len(ended) == 4
    assert ended["ended_by"].dropna().tolist() == [
        "its trainings had taken 4 minutes, over params:search.max_minutes 3.5"
    ]
    again = search(max_minutes=3.5)
    pd.testing.assert_frame_equal(again, ended)
    whole = search(max_minutes=None)
    assert whole["ended_by"].isna().all()
    assert sum(trained.values()) == 6
    pd.testing.assert_frame_equal(whole, search("anew"))
    assert asked(ended) == asked(whole)[:4]
    assert not whole["was_known"].any()


def test_two_workers_take_half_of_the_minutes(search):
    assert len(search(max_minutes=1.9, num_workers=2)) == 4


@pytest.mark.slow
def test_a_gain_that_is_too_small_ends_a_search_and_none_goes_on(search, trained):
    ended = search(min_expected_gain=0.9)
    assert len(ended) == 3
    pd.testing.assert_frame_equal(search(), search("anew"))
    assert max(trained.values()) == 2


def test_shapes_that_are_trained_in_any_case_come_first_and_count_in_the_budget(search, trained):
    rows = search(always_train=[[4, 2, 16, 32], [1, 2, 16, 16]], strategy="fptas", budget=4)
    # The middle of eight, and that of the longer rest.
    assert asked(rows) == [7, 0, 3, 5]
    # What was trained is known to the next search, which asks for what it lacks.
    more = search(always_train=[[4, 2, 16, 32], [1, 2, 16, 16], [1, 2, 16, 32]], strategy="fptas", budget=5)
    assert sorted(asked(more)) == [0, 1, 3, 5, 7]
    assert more["was_known"].tolist() == [True] * 4 + [False]
    assert max(trained.values()) == 1
