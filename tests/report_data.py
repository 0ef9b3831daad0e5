"""What small stages left behind, for tests of the report."""

from __future__ import annotations

import math

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.latency.conditions import speed_rows
from bort_kedro.pretraining.report import BaselineScore, EncoderScore, Lead, PretrainingMetrics
from search_results import CHOSEN, candidates, trained_search
from task_records import task

MODEL = EncoderScore(accuracy=0.40, accuracy_standard_error=0.003, loss=2.9, perplexity=math.exp(2.9), seconds=60.0)


def report_inputs():
    """Arguments of `build_report`: two tasks, and the chosen shape timed beside BERT-base."""
    conditions = {
        "batch_size": 1,
        "sequence_length": 128,
        "num_threads": 1,
        "vocabulary_size": 50_265,
        "max_positions": 512,
    }
    speed = speed_rows(
        {"chosen": CHOSEN, "bert_base": BertShape(12, 12, 768, 3072)},
        {"chosen": (2.0, 1.9, 2.2), "bert_base": (150.0, 148.0, 155.0)},
        vocabulary_size=50_265,
        max_positions=512,
        sequence_length=128,
    )
    return {
        "corpus": {
            "versions": {"numpy": "2.3.0"},
            "documents": 9237,
            "words": 1_250_000,
            "documents_by_split": {"train": 8000, "test": 1237},
        },
        "search": trained_search(),
        "candidates": candidates(),
        "pretraining": PretrainingMetrics(
            student=MODEL,
            undistilled=MODEL.model_copy(update={"accuracy": 0.385}),
            teacher=MODEL.model_copy(update={"accuracy": 0.45, "seconds": 100.0}),
            unigram=BaselineScore(accuracy=0.05),
            bigram=BaselineScore(accuracy=0.31),
            student_minus_bigram=Lead(difference=0.09, standard_error=0.004),
            student_minus_undistilled=Lead(difference=0.015, standard_error=0.005),
            num_steps=1500,
            num_predicted=12_345,
        ),
        "tasks": [task("library"), task("order")],
        "speed": [row | conditions for row in speed],
    }
