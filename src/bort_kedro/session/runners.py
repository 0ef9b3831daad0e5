"""Which of Kedro's runners a run may have: one that runs a node at a time, in the process that was started."""

import logging

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner, SequentialRunner

from bort_kedro.errors import ConfigurationError
from bort_kedro.frozen import JsonObject
from bort_kedro.pipelines.namespaces import stage_of

INSTEAD = (
    "Run the stages with the SequentialRunner, which Kedro takes where `--runner` and `--async` are left out; "
    "params:search.engine and params:search.num_workers train candidates side by side."
)

# What Kedro says at the beginning of every run, and at the end of one that failed.
ADVICE = ("--async", "--from-nodes", "No nodes ran.")
# What it says of each node that has ended, as two lines.
NODE_ENDED, NUM_ENDED = "Completed node: %s", "Completed %d out of %d tasks"


class RunnerHook:
    """Refuses what would run stages of this project otherwise; pipelines that a user has added run as they like."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: JsonObject, pipeline: Pipeline) -> None:
        runner = _kind_of(run_params["runner"])
        if not any(map(stage_of, pipeline.nodes)):
            return
        if issubclass(runner, SequentialRunner):
            logging.getLogger(runner.__module__).addFilter(_NODE_LINES)
            return
        raise ConfigurationError(
            f"The runner is {runner.__name__}, which runs nodes side by side. Trainings have the seeds, threads and "
            "devices of their process to themselves, or else they end with other weights, and models pass from node to "
            f"node within one process. {INSTEAD}"
        )

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Node, is_async: bool) -> None:
        # Told of nothing earlier than the first node.
        if is_async and stage_of(node) is not None:
            raise ConfigurationError(
                "The runner loads and saves in threads (`--async`, or `is_async`), in which models cannot be opened "
                f"side by side, and MLflow would begin runs of their own. {INSTEAD}"
            )


class _NodeLines(logging.Filter):
    """Lets a runner say one line of each node, and nothing that is refused or known better (`session.unfinished`)."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg == NODE_ENDED and isinstance(record.args, tuple):
            (self._node,) = record.args
            return False
        if record.msg == NUM_ENDED and isinstance(record.args, tuple):
            record.msg, record.args = "Completed %d of %d nodes: %s", (*record.args, self._node)
        message = record.getMessage()
        return not any(advice in message for advice in ADVICE)


# One, since a logger takes the same filter once.
_NODE_LINES = _NodeLines()


def _kind_of(runner: str) -> type[AbstractRunner]:
    """The class of a runner from its text, which is all that Kedro tells of it; SequentialRunner where it says none."""
    kinds = AbstractRunner.__subclasses__()
    for kind in kinds:
        kinds += kind.__subclasses__()
    named = (kind for kind in kinds if runner.startswith(f"<{kind.__module__}.{kind.__qualname__} object at "))
    return next(named, SequentialRunner)
