"""Runners other than one node at a time are refused before the first node."""

import logging

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner

from bort_kedro.errors import ConfigurationError
from bort_kedro.pipelines.namespaces import stage_of
from bort_kedro.session.runners import RunnerHook


class Louder(SequentialRunner):
    """A user's own, one node at a time."""


class Wider(ThreadRunner):
    """A user's own, several at a time."""


class Unknown(SequentialRunner):
    """A user's own with a text of its own."""

    def __str__(self):
        return "mine"


def pipeline_of(namespace):
    return Pipeline([Node(lambda data: data, "numbers", "result", name="use_node", namespace=namespace)])


def begin(runner, namespace="search"):
    """As a session does, which tells a runner's text alone."""
    RunnerHook().before_pipeline_run({"runner": getattr(runner, "__name__", str(runner))}, pipeline_of(namespace))


@pytest.mark.parametrize("kind", [ThreadRunner, ParallelRunner, Wider])
def test_runners_of_several_nodes_at_a_time_are_refused_with_the_reason_and_what_to_use(kind):
    with pytest.raises(ConfigurationError) as caught:
        begin(kind())
    assert str(caught.value) == (
        f"The runner is {kind.__name__}, which runs nodes side by side. Trainings have the seeds, threads and "
        "devices of their process to themselves, or else they end with other weights, and models pass from node to "
        "node within one process. Run the stages with the SequentialRunner, which Kedro takes where `--runner` and "
        "`--async` are left out; params:search.engine and params:search.num_workers train candidates side by side."
    )


@pytest.mark.parametrize("kind", [SequentialRunner, Louder, Unknown])
def test_runners_of_one_node_at_a_time_are_taken_and_do_not_advise_threads(kind):
    begin(kind())
    logger = logging.getLogger(kind.__module__ if kind is Louder else SequentialRunner.__module__)
    said = [logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None) for text in ("Use --async", "Done")]
    assert [bool(logger.filter(record)) for record in said] == [False, True]


def test_a_node_that_has_ended_is_told_in_one_line(caplog):
    begin(SequentialRunner())
    pipeline = Pipeline([Node(lambda: 1, None, "one", name="first_node"), Node(abs, "one", "two", name="second_node")])
    with caplog.at_level(logging.INFO):
        SequentialRunner().run(pipeline, DataCatalog())
    assert [text for text in caplog.messages if "Completed" in text] == [
        "Completed 1 of 2 nodes: first_node",
        "Completed 2 of 2 nodes: second_node",
    ]


def test_a_pipeline_of_a_user_runs_as_the_user_likes():
    begin(ThreadRunner(), namespace=None)
    (node,) = pipeline_of(None).nodes
    RunnerHook().before_node_run(node, is_async=True)
    # What tells it from the stages.
    assert (stage_of(node), stage_of(pipeline_of("search").nodes[0])) == (None, "search")


def test_loading_and_saving_in_threads_is_refused_at_the_first_node():
    (node,) = pipeline_of("search").nodes
    RunnerHook().before_node_run(node, is_async=False)
    with pytest.raises(
        ConfigurationError, match=r"`--async`, or `is_async`.* Run the stages with the SequentialRunner"
    ):
        RunnerHook().before_node_run(node, is_async=True)
