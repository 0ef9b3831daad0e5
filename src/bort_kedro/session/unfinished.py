"""What is left of a run that did not end, and the command that goes on from there."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl

from bort_kedro.datasets.training_states import TrainingStatesDataset
from bort_kedro.encoders.shapes import shape_text
from bort_kedro.pipelines.namespaces import STAGES, stage_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedro.io import CatalogProtocol
    from kedro.pipeline import Node, Pipeline

    from bort_kedro.datasets.training_states import KeptTraining
    from bort_kedro.frozen import JsonObject

TRAINING_STATES = "training_states"
# What trainings are called, by how the names of their states begin.
TRAININGS = {
    "search/maximum-point": "the maximum point",
    "search/": "the candidate",
    "pretrain_distill/teacher": "the teacher",
    "pretrain_distill/undistilled": "the student's twin",
    "pretrain_distill/": "the student",
    "finetune/": "a fine-tuning of",
}
# Beside trainings, what was measured of them and what a search has begun with.
MEASURED = ("search/scores/", "search/failures/", "search/begun")
# Of trainings under way; there may be one for each candidate.
MOST_NAMED = 3


class UnfinishedHook:
    """Notes how far a run has come."""

    def __init__(self) -> None:
        self._begun: list[Node] = []

    @hook_impl
    def after_context_created(self) -> None:
        self._begun = []

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._pipeline, self._catalog, self._began = pipeline, catalog, time.time()

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        # Kedro tells that a node has run before it saves what the node made, so the next one's beginning is waited for.
        if self._begun[-1:] != [node]:
            self._begun.append(node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        # Told when all is loaded, and of a node that reads nothing.
        self.before_dataset_loaded(node)

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._begun = []

    def said(self, command: str, *, is_fault: bool) -> str:
        """What is kept and how to go on, a fault once it is mended; "" where no node had begun, or all have ended."""
        if not self._begun:
            return ""
        *done, stopped = self._begun
        nodes = self._pipeline.nodes
        kept = [f"  {words}" for words in (*_results(done, nodes), *self._trainings())]
        return "\n".join(
            [
                f"The run stopped in {stopped.name}, after {len(done)} of {len(nodes)} nodes. "
                f"{'Kept are:' if kept else 'Nothing was kept of it.'}",
                *kept,
                f"{'Once that is mended, go' if is_fault else 'Go'} on with: {command}",
            ]
        )

    def _trainings(self) -> list[str]:
        trainings = trainings_since(self._began, self._catalog)
        under_way = [each for each in trainings if not each.has_ended]
        lines = [f"{_title(each)} at step {each.step:,} of {_steps(each):,}" for each in under_way[:MOST_NAMED]]
        if num_more := len(under_way) - len(lines):
            lines.append(f"{num_more} more trainings under way")
        if num_ended := len(trainings) - len(under_way):
            lines.append(f"{num_ended} finished training{'s' * (num_ended > 1)}")
        return lines


def trainings_since(began: float, catalog: CatalogProtocol) -> list[KeptTraining]:
    """Those whose newest state was written since then, in seconds of `time.time`."""
    entry = catalog.get(TRAINING_STATES)
    kept = entry.load().kept(since=began) if isinstance(entry, TrainingStatesDataset) else ()
    return [each for each in kept if _steps(each) and not each.name.startswith(MEASURED)]


def _results(done: Sequence[Node], nodes: Sequence[Node]) -> list[str]:
    """Of how many nodes of each stage results are saved."""
    saved, all_nodes = (Counter(stage_of(node) for node in some) for some in (done, nodes))
    words = [f"{stage or 'others'} {saved[stage]} of {all_nodes[stage]}" for stage in (*STAGES, None) if saved[stage]]
    return [f"results of nodes, by stage: {', '.join(words)}"] if words else []


def _steps(training: KeptTraining) -> int:
    """That it has in all; 0 of what is no training, such as measured latencies."""
    settings: JsonObject = training.identity.get("settings", training.identity)
    return int(settings.get("optimization", {}).get("num_steps", 0))


def _title(training: KeptTraining) -> str:
    start, title = next((start, title) for start, title in TRAININGS.items() if training.name.startswith(start))
    shape = training.identity.get("shape")
    return f"{title} {shape_text(shape) if shape else training.name.removeprefix(start)}"
