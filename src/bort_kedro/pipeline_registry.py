"""The six stages, the pipelines that a user adds, and all of them in order as the default."""

from kedro.pipeline import Pipeline

from bort_kedro.configuration import base_parameters
from bort_kedro.params import FinetuneParams, Parameters
from bort_kedro.pipelines import corpus, evaluate, finetune, pretrain_distill, search, tasks
from bort_kedro.pipelines.added import added_pipelines
from bort_kedro.pipelines.namespaces import teacher_of
from bort_kedro.tasks.builtin import BUILTIN_TASKS


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines of ``conf/base``; a session puts those of its own parameters in their place."""
    return build_pipelines(base_parameters())


def build_pipelines(parameters: Parameters) -> dict[str, Pipeline]:
    """The project's pipelines by name.

    ``search`` brings its corpus along, so that it runs on a fresh clone, and ``finetune`` the examples of its tasks, as
    a search for the error of a task does. A search over a recorded table needs no corpus, and has none along. With a
    student that is opened the default is what comes after it.
    """
    finetuning, pretraining = parameters.finetune, parameters.pretrain_distill
    added = added_pipelines()
    is_agora, error_source = finetuning.method != "plain", parameters.search.error_source
    trains_teacher = parameters.trains_teacher
    stages = {
        "corpus": corpus.create_pipeline(),
        "tasks": tasks.create_pipeline(finetuning.tasks),
        "search": search.create_pipeline(
            error_source,
            opens_maximum_point=parameters.search.encoder is not None,
            takes_latency=parameters.search.cost == "recorded_latency",
            task=parameters.search.searched_task,
            takes_errors=parameters.search.earlier_candidates != "none",
        ),
        "pretrain_distill": pretrain_distill.create_pipeline(
            trains_teacher=trains_teacher,
            trains_twin=pretraining.twin,
            training_data=pretraining.training_data,
            start=pretraining.student_start.source,
        ),
        "finetune": finetune.create_pipeline(
            finetuning.tasks,
            method=finetuning.method,
            has_rivals=bool(finetuning.rivals),
            teacher=task_teacher(parameters),
            student=task_student(parameters),
            recorded=finetuning.teacher.recorded,
        ),
        "evaluate": evaluate.create_pipeline(
            finetuning.tasks,
            has_teacher=is_agora,
            has_rivals=is_agora and bool(finetuning.rivals),
            trains_teacher=trains_teacher,
            trains_twin=pretraining.twin,
            opens_student=finetuning.student is not None,
        ),
    }
    made = stages if finetuning.student is None else {name: stages[name] for name in _stages_after_opening(finetuning)}
    brought = [] if error_source == "table" else [stages["corpus"]]
    brought += [] if parameters.search.searched_task is None else [stages["tasks"]]
    return {
        "__default__": sum((made | added).values(), start=Pipeline([])),
        **stages,
        **added,
        "search": sum(brought, start=stages["search"]),
        "finetune": stages["tasks"] + stages["finetune"],
    }


def task_teacher(parameters: Parameters) -> str:
    """The dataset of the encoder that is fine-tuned to teach each task."""
    teachers = {
        "teacher": teacher_of(trains_teacher=parameters.trains_teacher),
        "student": task_student(parameters),
    }
    return teachers.get(parameters.finetune.teacher.encoder, finetune.OWN_TEACHER)


def task_student(parameters: Parameters) -> str:
    """The dataset of the encoder that is fine-tuned on each task."""
    return "student_encoder" if parameters.finetune.student is None else finetune.OWN_STUDENT


def _stages_after_opening(finetuning: FinetuneParams) -> tuple[str, ...]:
    """What is left to do with a student that is opened; built-in tasks are made of the corpus."""
    is_built = any(name in BUILTIN_TASKS for name in finetuning.tasks)
    return (*(("corpus",) if is_built else ()), "tasks", "finetune", "evaluate")
