"""A made run of which model cards tell."""

from dataclasses import replace

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.evaluation.calibration import Calibration
from bort_kedro.evaluation.scores import Estimate, TaskScore
from bort_kedro.evaluation.task_metrics import TaskMetrics
from bort_kedro.pretraining.report import BaselineScore, EncoderScore, Lead, PretrainingMetrics
from bort_kedro.reporting.model_card import ModelSize, Origin, TaskResults
from bort_kedro.reporting.settings import CardSettings
from bort_kedro.tasks.splits import ExamplesReport
from bort_kedro.tasks.table import find_task, own_task
from search_results import candidate, trained_search
from task_records import FINETUNING, TEACHER, export_format, export_report, rival, score, split

NOTHING_STATED = CardSettings(language=(), license=None, encoder_repository=None)
STATED = CardSettings(language=("en", "de"), license="apache-2.0", encoder_repository="someone/small-encoder")
SIZE = ModelSize(num_parameters=246_600, vocabulary_size=1024, max_tokens=96)
ORIGIN = Origin(
    corpus={
        "documents": 10_502,
        "documents_by_split": {"train": 6826, "validation": 525},
        "words": 800_510,
        "versions": {"numpy": "2.4.6", "pandas": "3.1.1"},
        "sha256": "565d",
    },
    search=trained_search(
        selected=candidate(BertShape(2, 4, 96, 128), 0.5), num_candidates=24, seconds=1800.0, sizes=None
    ),
    pretraining=PretrainingMetrics(
        student=EncoderScore(accuracy=0.267, accuracy_standard_error=0.004, loss=3.852, perplexity=47.1, seconds=360.0),
        undistilled=EncoderScore(
            accuracy=0.23, accuracy_standard_error=0.004, loss=4.227, perplexity=68.5, seconds=100.0
        ),
        teacher=EncoderScore(accuracy=0.332, accuracy_standard_error=0.004, loss=3.535, perplexity=34.3, seconds=720.0),
        unigram=BaselineScore(accuracy=0.0386),
        bigram=BaselineScore(accuracy=0.161),
        student_minus_bigram=Lead(difference=0.106, standard_error=0.004),
        student_minus_undistilled=Lead(difference=0.037, standard_error=0.004),
        num_predicted=12_779,
        num_steps=1000,
    ),
    device={"processor": "AMD EPYC", "cpu_count": 2, "cuda_devices": []},
)
# Of a student that predicts no tokens.
DISTANCES = PretrainingMetrics(
    student=EncoderScore(distance=0.0123, distance_standard_error=0.0004, seconds=360.0),
    undistilled=EncoderScore(distance=0.0456, distance_standard_error=0.0012, seconds=100.0),
    teacher=EncoderScore(distance=0.0, seconds=0.0),
    student_minus_undistilled=Lead(difference=0.0333, standard_error=0.0011),
    num_predicted=12_779,
    num_steps=1000,
)
SCORES = score(0.84, constant=0.68, tfidf=0.83, num_examples=1725, f1=0.84, accuracy=0.79)
RESULTS = TaskResults(
    task=find_task("mrpc"),
    has_pairs=True,
    metrics=TaskMetrics(
        "f1",
        "agora",
        {"test": SCORES, "dev": score(0.86, constant=0.68, tfidf=0.85, num_examples=204, f1=0.84, accuracy=0.79)},
        calibration={"test": Calibration(temperature=1.62, error_before=0.114, error=0.031, num_questions=1725)},
    ),
    finetuning=FINETUNING.model_copy(update={"labels": ("0", "1"), "num_trials": 3, "seconds": 90.0}),
    examples=ExamplesReport(
        train=split("official train", 3668),
        dev=split("half of the official dev", 204),
        test=split("official test", 1725),
    ),
    teacher=TEACHER.model_copy(update={"seconds": 180.0}),
)
TAGGED = replace(
    RESULTS,
    task=own_task("entities", files={"train": "a.conll", "dev": "b.conll"}, form="token_classification"),
    has_pairs=False,
    metrics=TaskMetrics(
        "span_f1",
        "plain",
        {
            "test": TaskScore(
                {"span_f1": 0.8, "span_precision": 0.75, "span_recall": 0.86},
                Estimate(0.8, 0.01),
                500,
                floors={"constant": rival(0.75, 0.01, 0.05), "memorised": rival(0.2, 0.01, 0.6)},
            )
        },
    ),
    finetuning=RESULTS.finetuning.model_copy(update={"labels": ("O", "B-PER", "I-PER"), "method": "plain"}),
    teacher=None,
)
EXPORTS = export_report(
    pytorch=export_format("PyTorch", bytes=986_176, score_before=0.84, score_after=0.84, median_ms=2.5),
    onnx_int8=export_format(
        "ONNX Runtime int8",
        bytes=400_000,
        score_before=0.84,
        score_after=0.7,
        median_ms=0.5,
        speedup=5.0,
        is_refused=True,
    ),
).model_copy(update={"metric": "f1", "num_examples": 1725})
