"""What pretraining reached: student, undistilled twin, teacher and counting baselines on the same hidden tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import PartialState

from bort_kedro.encoders.families import has_masked_lm_head
from bort_kedro.pretraining.baselines import CountBaselines
from bort_kedro.pretraining.distillation import Distillation
from bort_kedro.pretraining.masked_lm import batch_logits, evaluation_batches, score_baselines, student_logits
from bort_kedro.pretraining.pretrain import EVALUATION_BATCH_TOKENS, evaluation_blocks, score
from bort_kedro.pretraining.report import (
    BaselineScore,
    CacheError,
    EncoderScore,
    Lead,
    PretrainingMetrics,
    TrimmingCost,
    TwinLacks,
)
from bort_kedro.pretraining.teacher_distance import teacher_distance
from bort_kedro.pretraining.teacher_targets import divergence_error
from bort_kedro.statistics import clustered_standard_error
from bort_kedro.text.trimming import vocabulary_map
from bort_kedro.training.threads import autocast, cpu_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.pretraining.masked_blocks import Batch
    from bort_kedro.pretraining.settings import DistillationSettings
    from bort_kedro.text.tokens import Tokens
    from bort_kedro.text.vocabulary_map import VocabularyMap

# Batches of the validation split that the error of a cache is measured on.
CACHE_ERROR_BATCHES = 8


def score_encoders(
    encoders: Mapping[str, Pretrained],
    tokens: Tokens,
    distillation: DistillationSettings,
    *,
    seconds: Mapping[str, float],
    top_k: int | None,
    num_steps: int,
    twin_lacks: TwinLacks,
    num_threads: int,
    precision: str,
) -> PretrainingMetrics:
    """Scores on the test split.

    Args:
        encoders: ``student``, ``teacher`` and, unless it was left out, ``undistilled``.
        tokens: In the student's vocabulary; the teacher is asked through the map between the two.
        distillation: What the teacher taught.
        seconds: What each took to train.
        top_k: Tokens kept by the teacher cache; None where the teacher ran live.
        num_steps: Of the student's training.
        twin_lacks: See `report.PretrainingMetrics`.
        num_threads: CPU threads.
        precision: Of the student's training, for all.
    """
    student, teacher = encoders["student"], encoders["teacher"]
    device = PartialState().device
    for encoder in encoders.values():
        encoder.model.to(device)
    mapping = vocabulary_map(student.tokenizer, teacher.tokenizer).to(device)
    reference = Distillation(teacher, mapping, distillation)
    scores = {
        name: score(
            encoder.model,
            tokens,
            split="test",
            num_threads=num_threads,
            precision=precision,
            description=f"scoring the {name}",
            logits_of=reference.teacher_logits if encoder is teacher else None,
        )
        for name, encoder in encoders.items()
        if has_masked_lm_head(encoder.model)
    }
    baselines = CountBaselines(tokens.splits["train"], tokens.vocabulary.is_ordinary)
    correct = score_baselines(evaluation_blocks(tokens, "test"), baselines, batch_tokens=EVALUATION_BATCH_TOKENS)
    own = scores["student"]

    def encoder_score(name: str) -> EncoderScore:
        if name not in scores:
            return EncoderScore(seconds=seconds[name])
        quality = scores[name]
        return EncoderScore(
            accuracy=quality.accuracy,
            accuracy_standard_error=quality.accuracy_standard_error,
            loss=quality.loss,
            perplexity=math.exp(quality.loss),
            seconds=seconds[name],
        )

    def lead(other: np.ndarray) -> Lead:
        """Paired difference of the student from another, position by position."""
        difference = own.is_correct.astype(float) - other.astype(float)
        return Lead(
            difference=float(difference.mean()), standard_error=clustered_standard_error(difference, own.block_of)
        )

    cache = None
    if top_k is not None:
        with cpu_threads(num_threads):
            cache = cache_error(student, reference, tokens, top_k=top_k)
    return PretrainingMetrics(
        student=encoder_score("student"),
        undistilled=encoder_score("undistilled") if "undistilled" in encoders else None,
        teacher=encoder_score("teacher"),
        unigram=BaselineScore(accuracy=float(correct["unigram"].mean())),
        bigram=BaselineScore(accuracy=float(correct["bigram"].mean())),
        student_minus_bigram=lead(correct["bigram"]),
        student_minus_undistilled=lead(scores["undistilled"].is_correct) if "undistilled" in scores else None,
        num_predicted=own.num_predicted,
        num_steps=num_steps,
        twin_lacks=twin_lacks,
        teacher_cache=cache,
        trimming=None
        if mapping.is_identity or "teacher" not in scores
        else trimming_cost(student, teacher, mapping, tokens),
    )


def score_distances(
    encoders: Mapping[str, Pretrained],
    tokens: Tokens,
    distillation: DistillationSettings,
    *,
    seconds: Mapping[str, float],
    num_steps: int,
    twin_lacks: TwinLacks,
    num_threads: int,
    precision: str,
) -> PretrainingMetrics:
    """How far student and twin are from their teacher on the test split, where no token was predicted.

    Args:
        encoders: ``student``, ``teacher`` and, unless it was left out, ``undistilled``.
        tokens: In the student's vocabulary.
        distillation: How the teacher's layers are read.
        seconds: What each took to train.
        num_steps: Of the student's training.
        twin_lacks: See `report.PretrainingMetrics`.
        num_threads: CPU threads.
        precision: Of the student's training, for all.
    """
    student, teacher = encoders["student"], encoders["teacher"]
    reference = Distillation(teacher, vocabulary_map(student.tokenizer, teacher.tokenizer), distillation)
    blocks, found = evaluation_blocks(tokens, "test"), {}
    for name in encoders.keys() - {"teacher"}:
        model = encoders[name].model.to(PartialState().device)
        with cpu_threads(num_threads), autocast(model.device, precision):
            found[name] = teacher_distance(
                model, reference, blocks, batch_tokens=EVALUATION_BATCH_TOKENS, description=f"scoring the {name}"
            )
    own, lead = found["student"], None
    if "undistilled" in found:
        nearer = found["undistilled"].of_tokens - own.of_tokens
        noise = clustered_standard_error(nearer, own.block_of)
        lead = Lead(difference=float(nearer.mean()), standard_error=noise)

    def encoder_score(name: str) -> EncoderScore:
        errors = found[name].errors()
        return EncoderScore(
            seconds=seconds[name], distance=errors["error"], distance_standard_error=errors["error_standard_error"]
        )

    return PretrainingMetrics(
        student=encoder_score("student"),
        undistilled=encoder_score("undistilled") if "undistilled" in found else None,
        teacher=EncoderScore(seconds=seconds["teacher"], distance=0.0),
        student_minus_undistilled=lead,
        num_predicted=len(own.of_tokens),
        num_steps=num_steps,
        twin_lacks=twin_lacks,
    )


@torch.inference_mode()
def cache_error(student: Pretrained, reference: Distillation, tokens: Tokens, *, top_k: int) -> CacheError:
    """The divergence that a student is trained on with a cache, beside that over the whole vocabulary, in nats.

    Both times the square of the temperature, as in the loss, over some batches of the validation split.
    """
    temperature = reference.settings.logits.temperature
    sums, count = np.zeros(2), 0
    for number, (_, batch) in enumerate(_validation_batches(tokens, student)):
        if number == CACHE_ERROR_BATCHES:
            break
        said = reference.teacher_logits(batch)
        pair = divergence_error(student_logits(student.model, batch), said, temperature=temperature, top_k=top_k)
        sums += len(batch["predicted"]) * np.array(pair)
        count += len(batch["predicted"])
    whole, kept = (sums / count).tolist()
    return CacheError(
        top_k=top_k,
        divergence=whole,
        divergence_with_cache=kept,
        relative_error=(whole - kept) / whole if whole else 0.0,
    )


@torch.inference_mode()
def trimming_cost(student: Pretrained, teacher: Pretrained, mapping: VocabularyMap, tokens: Tokens) -> TrimmingCost:
    """What a trimmed vocabulary saves in weights, and how much of the teacher's belief falls on the dropped ids."""
    mapping = mapping.to(next(teacher.model.parameters()).device)
    rest = []
    for number, (_, batch) in enumerate(_validation_batches(tokens, teacher)):
        if number == CACHE_ERROR_BATCHES:
            break
        logits = batch_logits(teacher.model, {**batch, "input_ids": mapping.to_teacher_ids(batch["input_ids"])})
        rest.append(mapping.rest_mass(logits.float()).cpu())
    dropped = mapping.num_teacher_ids - len(mapping.kept)
    return TrimmingCost(
        ids_kept=len(mapping.kept),
        ids_dropped=dropped,
        # A row of word embeddings, tied to the head, and the head's bias.
        parameters_saved=dropped * (student.model.config.hidden_size + 1),
        teacher_mass_on_dropped=float(torch.cat(rest).mean()),
    )


def _validation_batches(tokens: Tokens, encoder: Pretrained) -> Iterator[tuple[np.ndarray, Batch]]:
    device = next(encoder.model.parameters()).device
    for indices, batch in evaluation_batches(
        evaluation_blocks(tokens, "validation"), batch_tokens=EVALUATION_BATCH_TOKENS
    ):
        yield indices, {name: value.to(device) for name, value in batch.items()}
