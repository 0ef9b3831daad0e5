"""The five stages, and all of them in order as the default."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from bort_kedro.configuration import active_error_source, active_finetuning, active_pretraining, active_tasks
from bort_kedro.pipelines import corpus, evaluate, finetune, pretrain_distill, search

STAGES = ("corpus", "search", "pretrain_distill", "finetune", "evaluate")


def register_pipelines() -> dict[str, Pipeline]:
    """The project's pipelines by name; ``search`` brings its corpus along, so that it runs on a fresh clone.

    A search over a recorded table needs no corpus, and has none along.
    """
    tasks, finetuning, error_source = active_tasks(), active_finetuning(), active_error_source()
    pretraining = active_pretraining()
    is_agora = finetuning["method"] == "agora"
    stages = {
        "corpus": corpus.create_pipeline(),
        "search": search.create_pipeline(error_source),
        "pretrain_distill": pretrain_distill.create_pipeline(**pretraining),
        "finetune": finetune.create_pipeline(tasks, **finetuning),
        "evaluate": evaluate.create_pipeline(
            tasks,
            has_teacher=is_agora,
            has_rivals=is_agora and finetuning["has_rivals"],
            has_pretrained_teacher=pretraining["has_pretrained_teacher"],
        ),
    }
    return {
        "__default__": sum(stages.values(), start=Pipeline([])),
        **stages,
        "search": stages["search"] if error_source == "table" else stages["corpus"] + stages["search"],
    }
