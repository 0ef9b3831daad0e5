"""What a tracked run is called."""

import pandas as pd
import pytest
from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.namespaces import STAGES
from bort_kedro.session.run_names import LONGEST, PRETRAINING, SCORES, SEARCH, SHAPE, name_of_results, name_of_stages
from model_card_data import DISTANCES
from report_data import report_inputs
from search_results import trained_search
from task_records import task

CHOSEN = {"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 96, "intermediate_size": 256}


def nodes_of(*stages):
    return Pipeline([Node(lambda x: x, f"{stage}_in", f"{stage}_out", namespace=stage) for stage in stages])


@pytest.mark.parametrize(
    ("stages", "name"),
    [
        (["search"], "search"),
        (["evaluate", "corpus"], "corpus, evaluate"),
        (STAGES, "all stages"),
        (["mine"], "first, second"),
        ([], "first, second"),
    ],
)
def test_a_run_is_called_by_its_stages_or_else_by_its_pipelines(stages, name):
    assert name_of_stages(nodes_of(*stages), ["first", "second"]) == name


def test_a_run_that_has_ended_is_called_by_its_shape_and_scores():
    made = {
        SHAPE: CHOSEN,
        SEARCH: trained_search(),
        PRETRAINING: report_inputs()["pretraining"].to_json(),
        SCORES: pd.DataFrame([task("library", score=0.75).to_row(), task("order", score=0.5).to_row()]),
    }
    chosen = trained_search().selected
    assert name_of_results("all stages", made) == (
        f"all stages: (1, 2, 64, 128), W {chosen.w:.3f}; masked accuracy 0.400; library 0.750, order 0.500"
    )


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ({}, "corpus"),
        ({SHAPE: CHOSEN}, "corpus: (3, 4, 96, 256)"),
        ({PRETRAINING: DISTANCES.to_json()}, f"corpus: distance {DISTANCES.student.distance:.3f}"),
    ],
)
def test_what_was_not_made_is_no_part_of_the_name(made, name):
    assert name_of_results("corpus", made) == name


def test_a_name_is_no_longer_than_databases_keep():
    scores = pd.DataFrame([task(f"task_{number}").to_row() for number in range(40)])
    name = name_of_results("evaluate", {SCORES: scores})
    assert LONGEST - 20 < len(name) <= LONGEST
    assert name.endswith(" ...")
