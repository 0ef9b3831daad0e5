"""Which trainings of earlier runs a forecast takes for those of the run."""

from dataclasses import replace

import pytest

from bort_kedro.forecast.facts import Facts
from bort_kedro.forecast.finished import Circumstances, Ended, is_searched, with_finished
from bort_kedro.forecast.stages import Forecaster
from bort_kedro.pipeline_registry import build_pipelines
from project_parameters import parameters

PARAMETERS = parameters("smoke")
VERSIONS = {"bort_kedro": "1", "torch": "2"}
HERE = Circumstances(VERSIONS, tokens="corpus", auto="bf16")
NODES = frozenset(node.name for node in build_pipelines(PARAMETERS)["search"].nodes)
WORKS = Forecaster(PARAMETERS, Facts()).works(NODES)
SHAPES = WORKS[1].shapes


def ended(shape, name="search/scores/x", settings=PARAMETERS.search.training, **other):
    kept = {"settings": settings.identity(), "shape": shape, "tokens": "corpus", "versions": VERSIONS}
    return Ended(name, kept | other)


NARROW = SHAPES[0] | {"hidden_size": 48}
OTHER_MASKS = PARAMETERS.search.training.changed(masked_share=0.2)


def found(*trainings, circumstances=HERE):
    """Finished trainings of the maximum point and of the candidates."""
    return [work.num_finished for work in with_finished(WORKS, trainings, PARAMETERS, circumstances)]


def test_trainings_with_the_same_settings_shape_corpus_and_versions_are_found():
    maximum = ended(
        {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 128},
        "search/maximum-point-x",
        PARAMETERS.search.maximum_point_training(),
    )
    assert found() == [0, 0]
    assert found(maximum, ended(SHAPES[0]), ended(SHAPES[2])) == [1, 2]
    everyone = [ended(shape) for shape in SHAPES]
    assert not is_searched(with_finished(WORKS, everyone, PARAMETERS, HERE))
    assert is_searched(with_finished(WORKS, [maximum, *everyone], PARAMETERS, HERE))


@pytest.mark.parametrize(
    "training",
    [
        ended(SHAPES[0], tokens="another"),
        ended(SHAPES[0], versions=VERSIONS | {"torch": "3"}),
        ended(SHAPES[0], settings=OTHER_MASKS),
        ended(NARROW),
    ],
    ids=["corpus", "versions", "settings", "shape"],
)
def test_a_training_that_differs_is_not(training):
    assert found(training) == [0, 0]


def test_a_seed_is_no_difference_among_candidates_and_a_state_under_another_name_is_none_of_them():
    settings = PARAMETERS.search.training
    seeded = settings.changed(optimization=settings.optimization.changed(seed=7))
    assert found(ended(SHAPES[0], settings=seeded)) == [0, 1]
    assert found(ended(SHAPES[0], name="search/D1-A2")) == [0, 0]


def test_without_tokens_nothing_counts_as_finished():
    assert found(ended(SHAPES[0]), circumstances=replace(HERE, tokens=None)) == [0, 0]
