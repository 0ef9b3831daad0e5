"""T: opened as somebody has it, where no shape is stated, and how much it errs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from accelerate import PartialState

from bort_kedro.encoders.families import has_masked_lm_head
from bort_kedro.encoders.last_layer import BERT_LIKE
from bort_kedro.encoders.teachers import TeacherPlace, open_teacher
from bort_kedro.errors import FailedTrainingError, TeacherError
from bort_kedro.frozen import JsonObject
from bort_kedro.search.measures import guesses_tokens
from bort_kedro.search.short_training import errors_of
from bort_kedro.search.trained_errors import combine_seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bort_kedro.encoders.pretrained import Pretrained
    from bort_kedro.encoders.shapes import BertShape
    from bort_kedro.pretraining.distillation import Distillation
    from bort_kedro.pretraining.settings import PretrainingSettings
    from bort_kedro.search.settings import SearchSettings
    from bort_kedro.search.short_training import ShortTraining
    from bort_kedro.training.observer import Row

LOGGER = logging.getLogger(__name__)
ERROR_AND_NOISE = ("error", "error_standard_error")
PLACE = TeacherPlace("params:search.maximum_point", "params:corpus.max_positions")


def open_encoder(search: SearchSettings, *, max_positions: int) -> Pretrained:
    """T as its files have it, frozen; candidates take its position embeddings.

    Raises:
        TeacherError: See `encoders.teachers.open_teacher`; or if it has no masked-LM head where one is asked for.
    """
    encoder = open_teacher(
        str(search.encoder), sequence_length=max_positions, place=PLACE, families=BERT_LIKE, needs_head=False
    )
    if guesses_tokens(search.error_measure) and not has_masked_lm_head(encoder.model):
        raise TeacherError(
            f"The encoder `{search.encoder}` has no masked-LM head, so it has no {search.error_measure} to measure "
            "candidates against. Set params:search.error_measure to distance, and in params:distillation the weight of "
            "relations above 0 and masked_lm_weight to 0, as `--env encoder` does; or name an encoder with its head as "
            f"`{PLACE.teacher}`."
        )
    return encoder


class Attempt(NamedTuple):
    """One training of T.

    Attributes:
        errors: Each with its ``_standard_error``; ``seconds`` and ``num_tokens`` of training.
    """

    encoder: Pretrained
    errors: JsonObject
    history: list[Row]


def under_theta(
    train: Callable[[int, int], Attempt], *, num_sets: int, seeds: Sequence[int], decided_by: str
) -> Attempt:
    """T trained as a candidate is, by the number of a hyperparameter set and the seed, with every one of them.

    A set that fails with any seed does not count, and the best of the others has the lowest mean of the error that
    decides.

    Returns:
        Encoder and history of the best set with the first seed, and the errors of that set, whose number is
        ``hyperparameter_set``; ``seconds`` and ``num_tokens`` are those of all that did not fail.

    Raises:
        FailedTrainingError: If every set fails, as the first of them did.
    """
    best, failed, spent = None, list[FailedTrainingError](), dict.fromkeys(("seconds", "num_tokens"), 0.0)
    for number in range(num_sets):
        try:
            attempts = [train(number, seed) for seed in seeds]
        except FailedTrainingError as fault:
            LOGGER.warning("The maximum point failed with hyperparameter set %d: %s.", number, fault.reason)
            failed.append(fault)
            continue
        errors = {"hyperparameter_set": number} | _over_seeds([attempt.errors for attempt in attempts])
        spent = {name: value + sum(attempt.errors[name] for attempt in attempts) for name, value in spent.items()}
        if best is None or errors[decided_by] < best.errors[decided_by]:
            best = attempts[0]._replace(errors=errors)
    if best is None:
        raise failed[0]
    spent = {"seconds": round(spent["seconds"], 1), "num_tokens": int(spent["num_tokens"])}
    return best._replace(errors=best.errors | spent)


def _over_seeds(errors: Sequence[JsonObject]) -> JsonObject:
    """Means and their noise, as of a candidate."""
    found: JsonObject = {}
    for name in errors[0]:
        if (noise := f"{name}_standard_error") in errors[0]:
            found[name], found[noise] = combine_seeds([row[name] for row in errors], [row[noise] for row in errors])
    return found


def error_of(
    maximum_point: Distillation,
    training: ShortTraining,
    settings: PretrainingSettings,
    shape: BertShape,
    *,
    seeds: Sequence[int] = (),
) -> JsonObject:
    """What T reaches on the validation split, in the candidates' vocabulary; its noise is that of the scoring.

    Where the error is a task's, T is fine-tuned as a candidate is, with each of the seeds. T is no distance from
    itself, so that of its own shape is taken, as the short training of a candidate leaves it with two seeds: their
    mean, and half their difference as the standard error (docs/decisions/0020-maximum-point.md).

    Returns:
        Its errors, and the ``seconds`` and ``num_tokens`` that measuring them took in training.

    Raises:
        FailedTrainingError: If a training of its own shape, or a fine-tuning, fails.
    """
    compared, first = training.comparison, training.settings.optimization.seed
    if training.task is not None:
        teacher = maximum_point.teacher
        found = [training.task(teacher.model, seed, teacher.tokenizer) for seed in seeds or (first,)]
        return _mean(found, *combine_seeds(*([row[name] for row in found] for name in ERROR_AND_NOISE)))
    if compared is None or compared.measure != "distance":
        errors = errors_of(
            maximum_point.teacher.model.to(PartialState().device),
            training.tokens,
            settings,
            shape,
            "scoring the maximum point",
            compared=compared,
            logits_of=maximum_point.teacher_logits,
        )
        return errors | {"seconds": 0.0, "num_tokens": 0}
    num_steps = training.settings.optimization.num_steps
    records = [training.run(shape, {}, seed, num_steps) for seed in (first, first + 1)]
    for record in records:
        if "failure" in record:
            raise FailedTrainingError(shape.identifier, str(record["failure"]), "")
    distances = [record["error"] for record in records]
    return _mean(records, float(np.mean(distances)), float(np.ptp(distances) / 2))


def _mean(records: Sequence[JsonObject], error: float, standard_error: float) -> JsonObject:
    spent = {name: sum(record[name] for record in records) for name in ("seconds", "num_tokens")}
    return dict(zip(ERROR_AND_NOISE, (error, standard_error), strict=True)) | spent
