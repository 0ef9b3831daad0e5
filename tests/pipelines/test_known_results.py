"""What a search begins with and ends by, with trainings that take a minute each by what is recorded of them."""

from collections import Counter

import pandas as pd
import pytest

from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.errors import ConfigurationError
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

    def run(folder="states", earlier=None, **changes):
        states = TrainingStates(tmp_path / folder, keep=2)
        return measure_errors(
            space,
            MAXIMUM_POINT,
            maximum,
            {},
            tokens,
            tiny_tokenizer,
            states,
            search_of(**changes),
            16,
            earlier_candidates=earlier,
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


def as_table(rows, folder):
    """A candidate table on disk and back, as pandas has it."""
    path = folder / "candidate_table.csv"
    measured = ["error", "error_standard_error", "loss", "loss_standard_error", "hyperparameter_set", "trained_as"]
    rows[[*SHAPE_COLUMNS, *measured]].to_csv(path, index=False)
    return pd.read_csv(path)


@pytest.mark.slow
def test_what_a_table_of_a_search_alike_has_is_known_beside_the_budget(search, trained, tmp_path, caplog):
    table = as_table(search("elsewhere", strategy="fptas", budget=3), tmp_path)
    trained.clear()
    caplog.set_level("INFO")
    rows = search("here", table, earlier_candidates="checked", strategy="fptas", budget=3)
    # The representatives 1, 3 and 5 are given; three more are trained.
    assert asked(rows) == [1, 3, 5, 0, 2, 6]
    assert rows["was_given"].tolist() == [True] * 3 + [False] * 3
    assert not rows["was_known"].any()
    assert rows["seconds"].tolist() == [0.0] * 3 + [60.0] * 3
    assert sum(trained.values()) == 3
    assert "Of the 3 rows of earlier_candidates, 3 are candidates." in caplog.text
    # What is given has the errors and noises that it was given with, and the others those of a search alone.
    alone = search("elsewhere", strategy="exhaustive").set_index("candidate")
    columns = ["error", "error_standard_error", "loss", "loss_standard_error", "trained_as"]
    pd.testing.assert_frame_equal(rows.set_index("candidate")[columns], alone.loc[asked(rows), columns])
    # Beside the budget, where they were trained here as well.
    again = search("elsewhere", table, earlier_candidates="checked", strategy="fptas", budget=3)
    assert again["was_given"].sum() == 3
    # The others are known, and count.
    assert again["was_known"].sum() == 5


@pytest.mark.slow
def test_the_surrogate_begins_with_what_is_given(search, trained, tmp_path):
    table = as_table(search("elsewhere", budget=6), tmp_path)
    trained.clear()
    rows = search("here", table, earlier_candidates="checked", budget=1)
    assert len(rows) == 7
    assert sum(trained.values()) == 1
    # As if that search had had one training more.
    assert asked(rows)[-1] == asked(search("elsewhere", budget=7))[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "is_alike"),
    [
        ({}, True),
        ({"strategy": "random", "budget": 3, "cost": "modelled_latency", "num_workers": 2}, True),
        ({"num_seeds": 2}, False),
        ({"hyperparameter_sets": [{"learning_rate": 0.5}]}, False),
        ({"error_measure": "error"}, False),
        ({"training": {"optimization": {"num_steps": 61}}}, False),
        ({"training": {"optimization": {"checkpoint_every_steps": 7}}}, True),
    ],
)
def test_only_what_no_error_depends_on_may_differ_of_a_table_that_is_checked(search, tmp_path, changes, is_alike):
    table = as_table(search("elsewhere", strategy="fptas", budget=1), tmp_path)
    if is_alike:
        search("here", table, earlier_candidates="checked", **{"budget": 1} | changes)
        return
    with pytest.raises(ConfigurationError) as caught:
        search("here", table, earlier_candidates="checked", **changes)
    text = str(caught.value)
    assert text.startswith(
        f"Line 2 of the catalog's `earlier_candidates` was trained as `{table['trained_as'][0]}`, and"
    )
    assert "Name another table there, or set params:search.earlier_candidates to none; to stated only where" in text


def test_a_table_that_a_user_vouches_for_needs_no_mark_and_keeps_that_it_was_not_checked(search, trained):
    table = pd.DataFrame([SHAPES[2].to_row(), BertShape(7, 2, 16, 16).to_row()]).assign(error=0.7, loss=3.5)
    rows = search(earlier=table, earlier_candidates="stated", budget=1, strategy="fptas")
    assert asked(rows) == [2, 3]
    assert rows["trained_as"][0] == "stated"
    assert rows["error_standard_error"].isna().tolist() == [True, False]
    assert rows["error"].tolist()[0] == 0.7
    assert trained == {"D2-A2-H16-I32": 1}
