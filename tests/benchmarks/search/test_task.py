"""``make bench-search-task``: figures from errors made up, and the whole on a space that trains in seconds."""

import pandas as pd
import pytest

from benchmarks.configured import raw_parameters
from benchmarks.search import task, task_trainings
from benchmarks.search.task_page import TaskRanks, best_sentence
from bort_kedro.configuration import check_parameters
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.search.short_training import ShortTraining
from tiny_benchmarks import tiny_text, written

SHAPES = [BertShape(1, 2, 16, 32), BertShape(2, 2, 16, 32), BertShape(3, 2, 16, 32)]
# By seed and measure, what the three shapes have; the long seeds are 2 and 3.
SHORT = {
    0: {"loss": [3.0, 2.0, 1.0], "divergence": [1.0, 2.0, 3.0], "order": [0.5, 0.4, 0.3], "library": [0.3, 0.2, 0.1]},
    1: {"loss": [1.0, 3.0, 2.0], "divergence": [1.0, 2.0, 3.0], "order": [0.5, 0.4, 0.3], "library": [0.1, 0.2, 0.3]},
}
LONG = {
    2: {"order": [0.4, 0.3, 0.2], "library": [0.5, 0.5, 0.5]},
    3: {"order": [0.3, 0.35, 0.1], "library": [0.5, 0.5, 0.5]},
}


@pytest.fixture
def ranks():
    rows = [
        {"is_long": is_long, **shape.to_row(), "seed": seed, "seconds": 1.0, "loss": 0.0, "divergence": 0.0}
        | {"order_seconds": 2.0, "library_seconds": 3.0}
        | {name: values[place] for name, values in measures.items()}
        for is_long, by_seed in ((False, SHORT), (True, LONG))
        for seed, measures in by_seed.items()
        for place, shape in enumerate(SHAPES)
    ]
    return TaskRanks(pd.DataFrame(rows).sample(frac=1.0, random_state=0))


def test_each_seed_is_held_against_the_mean_of_the_long_ones(ranks):
    assert ranks.truth("order") == pytest.approx([0.35, 0.325, 0.15])
    assert ranks.agreement("Spearman", "loss", "order").values == pytest.approx([1.0, -0.5])
    assert ranks.agreement("Kendall", "divergence", "order").values == pytest.approx([-1.0, -1.0])
    # Where all shapes are equally good, nothing ranks them.
    assert ranks.agreement("Spearman", "library", "library").values == pytest.approx([0.0, 0.0])


def test_a_long_training_is_held_against_the_others_alone(ranks):
    assert ranks.truth("order", without=2) == pytest.approx([0.3, 0.35, 0.1])
    assert ranks.of_long("Spearman", "order").values == pytest.approx([0.5, 0.5])


def test_the_lowest_measure_costs_what_its_shape_falls_short(ranks):
    # The loss chooses the third, which is the best, and the first.
    assert ranks.lost("loss", "order").values == pytest.approx([0.0, 20.0])
    assert (ranks.seconds("loss"), ranks.seconds("library")) == (1.0, 3.0)


def test_the_best_is_named_with_those_that_the_seeds_cannot_tell_from_it(ranks):
    assert best_sentence(ranks, "order") == (
        "Shapes are ranked most as by `order` by the error on dev of `order`, short fine-tuning (1.00); not told from "
        "it by twice the standard error, seed by seed: masked-LM loss; error on dev of `library`, short fine-tuning."
    )


def few_parameters():
    """The smoke configuration with three shapes, two seeds and a few steps."""
    optimization = {"num_steps": 4, "checkpoint_every_steps": 4}
    search = {
        "space": [[1, 2, 16, 32], [2, 2, 16, 32], [2, 2, 32, 32]],
        "training": {"optimization": optimization, "batch_tokens": 256},
        "maximum_point_steps": 4,
        "num_seeds": 2,
    }
    return check_parameters(raw_parameters("smoke", search=search))


def few_texts():
    """Of two packages, which `library` tells apart."""
    return tiny_text(("accelerate", "joblib"))


@pytest.mark.session
def test_a_small_space_is_measured_in_every_way_and_goes_on_where_it_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(task, "task_parameters", few_parameters)
    monkeypatch.setattr(task, "embedded_text", few_texts)
    task.main(["--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "search-task")
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# What ranks shapes as a task does",
        "## Which measure ranks as the task does",
        "## What the lowest measure costs",
    ]
    assert "3 shapes, all candidates" in page
    assert -1 <= figures["masked-LM loss: Spearman's rank correlation with order"]["value"] <= 1
    errors = pd.read_csv(tmp_path / "docs" / "search-task.csv")
    # Short and long, two seeds each.
    assert len(errors) == 2 * 2 * 3
    assert errors[["order", "library"]].gt(0).all(axis=None)
    assert set(errors.loc[errors["is_long"], "seed"]) == {2, 3}
    # Nothing is trained again.
    monkeypatch.delattr(ShortTraining, "_train_and_score")
    again = task_trainings.train_and_fine_tune(few_texts(), few_parameters(), tmp_path / "states" / "search-task")
    assert again["order"].tolist() == pytest.approx(errors["order"].tolist(), abs=1e-6)
