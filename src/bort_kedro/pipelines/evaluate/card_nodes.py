"""Nodes that write the model cards: one for each fine-tuned task, one for the encoder."""

from collections.abc import Callable
from typing import Any

from bort_kedro.agora.teacher_bar import TeacherReport
from bort_kedro.device import describe_device
from bort_kedro.encoders.opened import OpenedEncoder
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.exports.report import ExportReport
from bort_kedro.finetuning.report import FinetuningReport
from bort_kedro.frozen import JsonObject
from bort_kedro.params import FinetuneParams
from bort_kedro.params.finetune import task_of
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.model_card import ModelSize, OpenedOrigin, Origin, TaskResults, encoder_card, task_card
from bort_kedro.reporting.settings import CardSettings
from bort_kedro.search.report import SearchReport
from bort_kedro.tasks.splits import ExamplesReport


def task_card_writer_of(name: str) -> Callable[..., str]:
    """The node function that writes the card of one fine-tuned task."""

    def write_task_card(
        finetuned_model: Pretrained,
        metrics: JsonObject,
        finetuning_report: JsonObject,
        examples_report: JsonObject,
        export_report: JsonObject,
        finetune: FinetuneParams,
        card: CardSettings,
        teacher_report: JsonObject | None = None,
        **origin: Any,
    ) -> str:
        """What a person who is handed the model must know; ``origin`` is what there is of the encoder."""
        exports = ExportReport.from_json(export_report)
        results = TaskResults(
            task_of(name, finetune),
            exports.has_pairs,
            TaskMetrics.from_json(metrics),
            FinetuningReport.from_json(finetuning_report),
            ExamplesReport.from_json(examples_report),
            TeacherReport.from_json(teacher_report) if teacher_report else None,
            exports,
        )
        size = _size_of(finetuned_model, finetune.training.max_tokens)
        return task_card(results, size, _origin_of(**origin), card)

    return write_task_card


def write_encoder_card(
    student_encoder: Pretrained,
    corpus_manifest: JsonObject,
    search_report: SearchReport,
    pretraining_metrics: JsonObject,
    card: CardSettings,
) -> str:
    """The same of the pretrained encoder."""
    from bort_kedro.encoders.families import longest_sequence

    # A recorded search knows no length; the student then knows no more than its positions.
    sizes = search_report.sizes
    longest = sizes.sequence_length if sizes else longest_sequence(student_encoder.model.config)
    assert longest is not None  # noqa: S101 - a student's positions are learned
    size = _size_of(student_encoder, longest)
    origin = _searched_origin(corpus_manifest, search_report, pretraining_metrics)
    return encoder_card(size, student_encoder.tokenizer.mask_token, origin, card)


def _size_of(pretrained: Pretrained, max_tokens: int) -> ModelSize:
    return ModelSize(
        sum(weights.numel() for weights in pretrained.model.parameters()),
        pretrained.model.config.vocab_size,
        max_tokens,
    )


def _origin_of(opened_student: JsonObject | None = None, **made_here: Any) -> Origin | OpenedOrigin:
    if opened_student is None:
        return _searched_origin(**made_here)
    return OpenedOrigin(OpenedEncoder.from_json(opened_student), describe_device())


def _searched_origin(
    corpus_manifest: JsonObject, search_report: SearchReport, pretraining_metrics: JsonObject
) -> Origin:
    pretraining = PretrainingMetrics.from_json(pretraining_metrics)
    return Origin(corpus_manifest, search_report, pretraining, describe_device())
