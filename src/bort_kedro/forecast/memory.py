"""Memory that a step takes on each device that shares it, and what may be taken."""

from __future__ import annotations

from bort_kedro.forecast.work import FULL_BYTES, Step, Work

# Bytes of what a layer keeps for the backward pass, for each token and unit of H or I, at two bytes a number
# (Korthikanti et al. 2022, arXiv 2205.05198, section 4.1, where I = 4 H: 34 H = 18 H + 4 I). Attention keeps no scores:
# the fused scaled dot product computes them again.
HIDDEN_BYTES, INTERMEDIATE_BYTES = 18, 4
# Numbers of a predicted position in the head, for each token: logits, their log-softmax and its gradient; of a teacher
# logits, their log-softmax and its exponential. It takes so many positions at a time as its table may have.
HEAD_COPIES = 3


def step_bytes(step: Step, *, num_devices: int = 1, is_sharded: bool = False) -> int:
    """Of one device at the most: weights, gradients, moments, the teacher's weights, and what a part's rows need."""
    if not step.learns:
        return step.encoder.weight_bytes
    divided = num_devices if is_sharded else 1
    states = (2 + step.moments) * step.encoder.weight_bytes / divided
    teacher = step.teacher.weight_bytes if step.teacher else 0
    tokens = max(step.length, step.tokens / step.parts / num_devices)
    return round(states + teacher + _activation_bytes(step, tokens) + _head_bytes(step, tokens))


def _activation_bytes(step: Step, tokens: float) -> float:
    shape = step.encoder.shape
    numbers = 2 if step.precision == "no" else 1
    a_layer = numbers * (HIDDEN_BYTES * shape.hidden_size + INTERMEDIATE_BYTES * shape.intermediate_size)
    if step.recomputes:
        # The input of each layer, and one layer whole.
        return tokens * (shape.num_hidden_layers * FULL_BYTES * shape.hidden_size + a_layer)
    return tokens * shape.num_hidden_layers * a_layer


def _head_bytes(step: Step, tokens: float) -> float:
    # Imports torch, which commands that forecast nothing do without.
    from bort_kedro.pretraining.chunked_head import rows_at_once

    size = step.encoder.vocabulary_size
    predicted = min(step.masked_share * tokens, rows_at_once(size))
    taught = step.teacher.vocabulary_size if step.teacher else 0
    return HEAD_COPIES * FULL_BYTES * predicted * (size + taught)


def work_bytes(work: Work, *, shares_memory: bool) -> int:
    """What a kind of training takes of the memory of a device at the most.

    Args:
        work: The trainings.
        shares_memory: Whether all that run at a time, and all processes of one, take it of the same memory, as on a
            CPU.
    """
    each = step_bytes(work.step, num_devices=work.num_devices, is_sharded=work.is_sharded)
    return each * work.side_by_side * work.num_devices if shares_memory else each
