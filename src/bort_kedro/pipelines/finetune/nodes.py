"""Nodes of the finetune stage; each is made for one task, whose name its errors and progress carry."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd

from bort_kedro.agora.teacher_bar import TeacherReport
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.finetuning.report import FinetuningReport
from bort_kedro.finetuning.settings import FinetuningSettings
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.training.saved_state import States

if TYPE_CHECKING:
    from bort_kedro.encoders.teachers import TeacherPlace

LOGGER = logging.getLogger(__name__)
Finetuned = tuple[Pretrained, pd.DataFrame, pd.DataFrame, JsonObject]
# With the points that it learned from.
Learned = tuple[Pretrained, pd.DataFrame, pd.DataFrame, JsonObject, pd.DataFrame]
# What there is of rivals where Agora did not run.
NO_HISTORY = pd.DataFrame({"method": [], "round": [], "setting": [], "step": []})
NO_PREDICTIONS = pd.DataFrame({"method": [], "split": [], "label": [], "prediction": []}, dtype=object)


def open_finetuning_teacher(finetune: FinetuneParams) -> Pretrained:
    """Open the encoder that is fine-tuned to label new points."""
    from bort_kedro.encoders.teachers import TeacherPlace, open_teacher

    teacher = finetune.teacher
    place = TeacherPlace(
        "params:finetune.teacher.encoder",
        "params:finetune.teacher.training.max_tokens",
        headless="set `params:finetune.agora.transformation.weights.masked_lm` to 0, so that it replaces no words",
    )
    return open_teacher(
        teacher.encoder,
        sequence_length=teacher.training.max_tokens,
        place=place,
        needs_head=finetune.agora.transformation.replaces_words,
    )


def open_finetuning_student(finetune: FinetuneParams) -> Pretrained:
    """Open the encoder that is fine-tuned in the place of one that was pretrained here."""
    from bort_kedro.encoders.teachers import open_teacher

    return open_teacher(
        str(finetune.student), sequence_length=finetune.training.max_tokens, place=_student_place(), needs_head=False
    )


def describe_student(finetuning_student: Pretrained, finetune: FinetuneParams) -> JsonObject:
    """What report and cards tell of a student that was opened."""
    from bort_kedro.encoders.teachers import describe_opened

    return describe_opened(str(finetune.student), finetuning_student.model, _student_place()).to_json()


def teacher_tuner_of(name: str) -> Callable[[pd.DataFrame, Pretrained, Any, FinetuneParams], Finetuned]:
    """The node function that fine-tunes the teacher on one task."""

    def fine_tune_teacher(
        examples: pd.DataFrame, encoder: Pretrained, training_states: States, finetune: FinetuneParams
    ) -> Finetuned:
        """Fine-tune the teacher plainly and hold it against its bar."""
        from bort_kedro.agora import teacher as agora
        from bort_kedro.training.threads import cpu_threads

        agora.require_words_can_be_replaced(encoder, finetune.agora.transformation)
        params = finetune.teacher.training
        with cpu_threads(params.num_threads):
            task = _student_task(name, examples, encoder, training_states, finetune, params)
            finetuned, report = agora.fine_tune_teacher(task)
        _tell_of_a_weak_teacher(name, report, finetune, agora.BETTER_ENCODER)
        history = pd.DataFrame(finetuned.history)
        return finetuned.model, history, finetuned.predictions, report.to_json()

    return fine_tune_teacher


def recorded_reader_of(name: str) -> Callable[..., tuple[pd.DataFrame, pd.DataFrame, JsonObject]]:
    """The node function that reads the labels that were recorded for one task."""

    def read_recorded_labels(
        examples: pd.DataFrame, finetune: FinetuneParams
    ) -> tuple[pd.DataFrame, pd.DataFrame, JsonObject]:
        """Read the teacher that is a file, and hold it against its bar."""
        from bort_kedro.agora.recorded_teacher import RecordedTeacher, check_recorded_teacher, without_test
        from bort_kedro.finetuning.data import check_examples
        from bort_kedro.tasks.reading import recorded

        task, place = task_of(name, finetune), f"params:finetune.teacher.recorded.{name}"
        data = check_examples(examples, task)
        reading = recorded.read_recorded_labels(
            task, data.labels, finetune.teacher.recorded[name], skip_bad_rows=finetune.skip_bad_rows
        )
        if reading.num_skipped:
            LOGGER.warning(
                "Task `%s`: %d rows of the file of %s were left out, such as %s.",
                name,
                reading.num_skipped,
                place,
                "; ".join(reading.first_faults),
            )
        table = without_test(reading.table, data)
        teacher = RecordedTeacher(table, data, finetune.agora)
        predictions, report = check_recorded_teacher(
            teacher, data, place=place, needs_train="distilled" in (finetune.method, *finetune.rivals)
        )
        _tell_of_a_weak_teacher(name, report, finetune, f"Give better labels ({place})")
        return table, predictions, report.to_json()

    return read_recorded_labels


def _tell_of_a_weak_teacher(name: str, report: TeacherReport, finetune: FinetuneParams, better: str) -> None:
    """End the run, or say that the task is fine-tuned without Agora, where the teacher is not over its bar."""
    from bort_kedro.agora import teacher as agora

    if finetune.weak_teacher == "stop":
        agora.require_strong_teacher(report.check, name, better)
    elif not report.check.is_over:
        LOGGER.warning(
            "Task `%s`: %s It is fine-tuned plainly, without Agora (params:finetune.weak_teacher).",
            name,
            agora.weakness(report.check),
        )


def student_tuner_of(name: str) -> Callable[..., Learned]:
    """The node function that fine-tunes the student on one task, given a teacher or plainly."""

    def fine_tune_student(
        examples: pd.DataFrame,
        student_encoder: Pretrained,
        training_states: States,
        finetune: FinetuneParams,
        encoder: Pretrained | None = None,
        teacher_classifier: Pretrained | None = None,
        teacher_report: JsonObject | None = None,
        recorded_labels: pd.DataFrame | None = None,
    ) -> Learned:
        """Fine-tune by Agora, or what gains most, where there is a teacher over its bar; else plainly."""
        from bort_kedro.agora import choice
        from bort_kedro.finetuning import finetune as finetuning
        from bort_kedro.finetuning.temperature import calibrate
        from bort_kedro.training.threads import cpu_threads

        params = finetune.training
        with cpu_threads(params.num_threads):
            task = _student_task(name, examples, student_encoder, training_states, finetune, params)
            method, teaching = "plain", None
            compared = choice.Comparison({}, {"teacher": 0, "student": 0} if finetune.method == "auto" else {})
            if teacher_report is not None and TeacherReport.from_json(teacher_report).check.is_over:
                teaches = _teaches(finetune, encoder, recorded_labels)
                method, teaching = finetune.method, teaches(task, teacher_classifier)
                if method == "auto":
                    compared = choice.compare_methods(
                        task,
                        teaches,
                        teaching.methods,
                        ends_with_dev=finetune.ends_with_dev,
                        num_folds=finetune.num_folds,
                        seed=finetune.split_seed,
                    )
                    method = choice.best_method(compared.scores)
                    LOGGER.info("Task `%s`: %s", name, choice.told(compared.scores, method))
            result = choice.fine_tune_by(method, task, teaching, ends_with_dev=finetune.ends_with_dev)
            finetuned = finetuning.conclude(task, calibrate(task, result))
            points = finetuning.points_table(task, result.rounds)
        chosen_by = {"compared": compared.scores, "compared_trials": compared.num_trials}
        report = finetuned.report.model_copy(update=chosen_by).to_json()
        return finetuned.model, pd.DataFrame(finetuned.history), finetuned.predictions, report, points

    return fine_tune_student


def rival_tuner_of(name: str) -> Callable[..., tuple[pd.DataFrame, pd.DataFrame, JsonObject]]:
    """The node function that fine-tunes the student by the other methods, as long as Agora did."""

    def fine_tune_rivals(
        examples: pd.DataFrame,
        student_encoder: Pretrained,
        training_states: States,
        finetune: FinetuneParams,
        finetuning_report: JsonObject,
        encoder: Pretrained | None = None,
        teacher_classifier: Pretrained | None = None,
        recorded_labels: pd.DataFrame | None = None,
    ) -> tuple[pd.DataFrame, pd.DataFrame, JsonObject]:
        """What the same steps are worth when they are spent otherwise; nothing where Agora did not run."""
        from bort_kedro.agora.rivals import ScheduledRound, run_rival
        from bort_kedro.finetuning import finetune as finetuning
        from bort_kedro.finetuning.temperature import calibrate
        from bort_kedro.training.threads import cpu_threads

        agora_report = FinetuningReport.from_json(finetuning_report)
        if agora_report.method != "agora":
            return NO_HISTORY, NO_PREDICTIONS, {}
        histories, tables, report = [], [], {}
        with cpu_threads(finetune.training.num_threads):
            task = _student_task(name, examples, student_encoder, training_states, finetune, finetune.training)
            teaching = _teaches(finetune, encoder, recorded_labels)(task, teacher_classifier)
            schedule = [ScheduledRound.of(each) for each in agora_report.rounds]
            for rival in finetune.rivals:
                found = run_rival(rival, task, schedule, teaching)
                result = finetuning.learn_dev_too(task, found) if finetune.ends_with_dev else found
                finetuned = finetuning.conclude(task, calibrate(task, result))
                histories.append(pd.DataFrame(finetuned.history))
                tables.append(finetuned.predictions.assign(method=result.method))
                report[result.method] = finetuned.report.to_json()
        return pd.concat(histories, ignore_index=True), pd.concat(tables, ignore_index=True), report

    return fine_tune_rivals


def diagnostic_predictor_of(name: str) -> Callable[..., tuple[pd.DataFrame, JsonObject]]:
    """The node function that answers a diagnostic with the model of another task."""

    def predict_diagnostic(
        examples: pd.DataFrame, model: Pretrained, finetune: FinetuneParams
    ) -> tuple[pd.DataFrame, JsonObject]:
        """Score or answer what nothing may be trained on."""
        from bort_kedro.finetuning import finetune as finetuning
        from bort_kedro.training.threads import cpu_threads

        with cpu_threads(finetune.training.num_threads):
            predictions, report = finetuning.answer_diagnostic(
                model,
                task_of(name, finetune),
                examples,
                max_tokens=finetune.training.max_tokens,
                precision=finetune.training.mixed_precision,
            )
        return predictions, report.to_json()

    return predict_diagnostic


def _student_place() -> TeacherPlace:
    from bort_kedro.encoders.teachers import TeacherPlace

    return TeacherPlace(
        "params:finetune.student",
        "params:finetune.training.max_tokens",
        role="student",
        written_in="in conf/released/parameters_finetune.yml, or as `--params finetune.student=FOLDER`",
    )


def _teaches(finetune: FinetuneParams, encoder: Pretrained | None, recorded_labels: pd.DataFrame | None) -> Any:
    """What makes teachers for splits of the task: an encoder, or what was recorded."""
    from bort_kedro.agora.teaching import EncoderTeaches, FileTeaches

    if encoder is None:
        return FileTeaches(recorded_labels, finetune.agora)
    return EncoderTeaches(encoder, finetune.teacher.training, finetune.agora, finetune.num_folds, finetune.split_seed)


def _student_task(
    name: str,
    examples: pd.DataFrame,
    encoder: Pretrained,
    states: States,
    finetune: FinetuneParams,
    params: FinetuningSettings,
) -> Any:
    """What any method of fine-tuning needs."""
    from bort_kedro.finetuning import finetune as finetuning
    from bort_kedro.finetuning.data import check_examples
    from bort_kedro.finetuning.theta import build_theta

    return finetuning.student_task(
        encoder,
        check_examples(examples, task_of(name, finetune)),
        build_theta(params, draw_seed=finetune.split_seed),
        params,
        states,
    )
