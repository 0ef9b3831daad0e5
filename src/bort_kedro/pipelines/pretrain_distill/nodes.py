"""Nodes of the pretraining stage."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from bort_kedro.core.shapes import BertShape
from bort_kedro.core.tokens import Tokens
from bort_kedro.params import DistillationParams, MaskedLmParams


def train_teacher(
    maximum_point_encoder: Any, tokens: Tokens, training_states: Any, teacher: MaskedLmParams
) -> tuple[Any, pd.DataFrame]:
    """Train the search's maximum point further."""
    from bort_kedro.models.pretrained import Pretrained, require_same_tokenizer
    from bort_kedro.training.pretraining import PretrainingSettings, pretrain

    require_same_tokenizer(maximum_point_encoder.tokenizer, tokens, model="maximum_point_encoder", stage="search")
    start = maximum_point_encoder.fingerprint
    model = maximum_point_encoder.model
    result = pretrain(
        model,
        tokens,
        PretrainingSettings.from_mapping(teacher.model_dump()),
        states=training_states,
        name="pretrain_distill/teacher",
        start=start,
        description="training the teacher",
    )
    return Pretrained(model, maximum_point_encoder.tokenizer), _history(result)


def _history(result: Any) -> pd.DataFrame:
    return pd.DataFrame(result.history).assign(seconds=round(result.seconds, 1))


def _train_student(
    selected_shape: dict[str, int],
    tokens: Tokens,
    tokenizer: Any,
    training_states: Any,
    student: MaskedLmParams,
    max_positions: int,
    name: str,
    distillation: Any = None,
) -> tuple[Any, pd.DataFrame]:
    from bort_kedro.models.pretrained import Pretrained
    from bort_kedro.training.pretraining import PretrainingSettings, new_encoder, pretrain

    settings = PretrainingSettings.from_mapping(student.model_dump())
    shape = BertShape.from_row(selected_shape)
    model = new_encoder(shape, tokens, max_positions=max_positions, settings=settings)
    result = pretrain(
        model,
        tokens,
        settings,
        states=training_states,
        name=f"pretrain_distill/{name}-{shape.identifier}",
        distillation=distillation,
        description=f"training the {name} student {shape}",
    )
    return Pretrained(model, tokenizer), _history(result)


def distill_student(
    selected_shape: dict[str, int],
    tokens: Tokens,
    teacher_encoder: Any,
    training_states: Any,
    student: MaskedLmParams,
    distillation: DistillationParams,
    max_positions: int,
) -> tuple[Any, pd.DataFrame]:
    """Pretrain the selected shape under the teacher."""
    from bort_kedro.models.pretrained import require_same_tokenizer
    from bort_kedro.training.pretraining import Distillation

    require_same_tokenizer(teacher_encoder.tokenizer, tokens, model="teacher_encoder", stage="pretrain_distill")
    return _train_student(
        selected_shape,
        tokens,
        teacher_encoder.tokenizer,
        training_states,
        student,
        max_positions,
        "distilled",
        Distillation(teacher_encoder, **distillation.model_dump()),
    )


def train_without_teacher(
    selected_shape: dict[str, int],
    tokens: Tokens,
    tokenizer: Any,
    training_states: Any,
    student: MaskedLmParams,
    max_positions: int,
) -> tuple[Any, pd.DataFrame]:
    """Pretrain the same shape for the same steps on the true tokens alone: what distillation must beat."""
    return _train_student(selected_shape, tokens, tokenizer, training_states, student, max_positions, "undistilled")


def score_pretraining(
    student_encoder: Any,
    undistilled_encoder: Any,
    teacher_encoder: Any,
    student_history: pd.DataFrame,
    undistilled_history: pd.DataFrame,
    teacher_history: pd.DataFrame,
    tokens: Tokens,
    student: MaskedLmParams,
) -> dict[str, Any]:
    """Masked accuracy on the test split, beside counting baselines, on the same hidden tokens."""
    from bort_kedro.core.baselines import CountBaselines
    from bort_kedro.core.statistics import clustered_standard_error
    from bort_kedro.training.masked_lm import score_baselines
    from bort_kedro.training.pretraining import EVALUATION_BATCH_TOKENS, evaluation_blocks, score

    encoders = {
        "student": (student_encoder, student_history),
        "undistilled": (undistilled_encoder, undistilled_history),
        "teacher": (teacher_encoder, teacher_history),
    }
    scores = {
        name: score(
            encoder.model, tokens, split="test", num_threads=student.num_threads, description=f"scoring the {name}"
        )
        for name, (encoder, _) in encoders.items()
    }
    baselines = CountBaselines(tokens.splits["train"], tokens.vocabulary.is_ordinary)
    correct = score_baselines(evaluation_blocks(tokens, "test"), baselines, batch_tokens=EVALUATION_BATCH_TOKENS)
    metrics: dict[str, Any] = {
        name: {
            "accuracy": quality.accuracy,
            "accuracy_standard_error": quality.accuracy_standard_error,
            "loss": quality.loss,
            "perplexity": math.exp(quality.loss),
            "seconds": float(encoders[name][1]["seconds"].iloc[-1]),
        }
        for name, quality in scores.items()
    }
    own = scores["student"]

    def lead(other: Any) -> dict[str, float]:
        """Paired difference of the student from another, position by position."""
        difference = own.is_correct.astype(float) - other.astype(float)
        return {
            "difference": float(difference.mean()),
            "standard_error": clustered_standard_error(difference, own.block_of),
        }

    metrics |= {name: {"accuracy": float(values.mean())} for name, values in correct.items()}
    return metrics | {
        "student_minus_bigram": lead(correct["bigram"]),
        "student_minus_undistilled": lead(scores["undistilled"].is_correct),
        "num_steps": student.optimization.num_steps,
        "num_predicted": own.num_predicted,
    }


def plot_training(
    student_history: pd.DataFrame, undistilled_history: pd.DataFrame, teacher_history: pd.DataFrame
) -> Any:
    """Masked accuracy of the three trainings, step by step."""
    from bort_kedro.pipelines.plots import training_curves_figure

    named = {"student": student_history, "without a teacher": undistilled_history, "teacher": teacher_history}
    return training_curves_figure(
        pd.concat([table.assign(model=name) for name, table in named.items()], ignore_index=True)
    )
