"""The last product of a masked-LM head with its losses, a chunk of the positions at a time.

Where 15 % of 131 thousand tokens are predicted of 50 265, their logits are 4 GB in float32, and autograd keeps several
such tables; under a teacher there are those of two. Here a chunk's gradient is computed right after its logits, while
they are there, and only sums are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from bort_kedro.pretraining.losses import divergence_slopes
from bort_kedro.pretraining.teacher_targets import TeacherTargets, bucketed_slopes
from bort_kedro.text.vocabulary_map import VocabularyMap, pushed_forward

# Largest table of logits, in float32, that is made at once: 2 670 positions of 50 265 tokens.
LOGITS_BYTES = 2**29
# Rows of the matrix that a GPU multiplies with come in whole tiles; with 50 265 none of its rows of logits is aligned.
TILE_ROWS = 64
# A student's logits at some positions, and which, to `losses.divergence_slopes` or the like.
Slopes = Callable[[Tensor, slice], tuple[Tensor, Tensor]]


class HeadLoss(NamedTuple):
    """Scalars.

    Attributes:
        loss: The weighted sum of both parts; gradients flow from here alone.
        masked_lm_loss: See `losses.masked_lm_loss`.
        divergence: See `losses.distillation_loss` and `teacher_targets.bucketed_divergence`; 0 without a teacher.
        accuracy: See `losses.masked_accuracy`.
    """

    loss: Tensor
    masked_lm_loss: Tensor
    divergence: Tensor
    accuracy: Tensor


@dataclass(frozen=True)
class Taught:
    """What a teacher says at N predicted positions, before it is a table.

    Args:
        parts: Of a live one (N, H) that its decoder reads, the decoder's weight and bias, and ``kept`` and ``dropped``
            of the map to the student's ids, ``kept`` empty where that is the identity; of what a cache holds the three
            of `teacher_targets.TeacherTargets`.
        temperature: That softens both sides.
        weight: Of the divergence in the loss.
        rest_id: Of the map.
    """

    parts: Sequence[Tensor]
    temperature: float
    weight: float
    rest_id: int | None = None

    @classmethod
    def live(
        cls, states: Tensor, decoder: nn.Linear, ids: VocabularyMap, *, temperature: float, weight: float
    ) -> Taught:
        """Of a teacher's head that was not finished."""
        kept = ids.kept[:0] if ids.is_identity else ids.kept
        parts = (states, decoder.weight.detach(), decoder.bias.detach(), kept, ids.dropped)
        return cls(parts, temperature, weight, ids.rest_id)

    def slopes(self, dtype: torch.dtype, size: int) -> Slopes:
        """By a student's logits of ``size`` ids; products are made in a precision."""
        temperature = self.temperature
        if len(self.parts) == len(TeacherTargets.__dataclass_fields__):
            return lambda logits, rows: bucketed_slopes(
                logits, TeacherTargets(*(part[rows] for part in self.parts)), temperature=temperature
            )
        states, weight, bias, kept, dropped = self.parts
        matrix, offsets = weight.to(dtype), bias.to(dtype)

        def of_chunk(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
            said = torch.addmm(offsets, states[rows].to(dtype), matrix.T)
            mapped = pushed_forward(said, kept, dropped, self.rest_id) if len(kept) else said[:, :size]
            return divergence_slopes(logits, mapped, temperature=temperature)

        return of_chunk


def rows_at_once(vocabulary_size: int) -> int:
    """Positions of a chunk, at least one."""
    return max(1, LOGITS_BYTES // (4 * vocabulary_size))


def is_chunked(device: torch.device, num_predicted: int, vocabulary_size: int) -> bool:
    """Whether `chunked_head_loss` is to be taken: for larger tables, and on CUDA always, for its whole tiles."""
    return device.type == "cuda" or num_predicted > rows_at_once(vocabulary_size)


def chunked_head_loss(
    states: Tensor, decoder: nn.Linear, targets: Tensor, *, masked_lm_weight: float = 1.0, taught: Taught | None = None
) -> HeadLoss:
    """The losses of the logits that a decoder makes.

    Args:
        states: (N, H) that the decoder reads.
        decoder: From H to the V tokens, with a bias; its weights may be tied.
        targets: (N,) true ids.
        masked_lm_weight: Of that loss in the sum.
        taught: What a teacher says at these positions.

    Returns:
        The gradients of the loss equal those of the whole table but for rounding.
    """
    kind = states.device.type
    is_mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if is_mixed else states.dtype
    size = len(decoder.weight)
    num_padded = -size % TILE_ROWS if kind == "cuda" else 0
    of_teacher = taught or Taught((), 1.0, 0.0)
    loss, masked_lm, divergence, accuracy, *_ = _loss_and_gradients(
        states,
        decoder.weight,
        decoder.bias,
        targets,
        dtype,
        rows_at_once(size),
        num_padded,
        masked_lm_weight,
        list(of_teacher.parts),
        of_teacher.temperature,
        of_teacher.weight,
        of_teacher.rest_id,
    )
    return HeadLoss(loss, masked_lm, divergence, accuracy)


# An operator of its own, since torch.compile would unroll the loop over chunks anew for each number of positions.
@torch.library.custom_op("bort_kedro::head_loss_and_gradients", mutates_args=())
def _loss_and_gradients(
    states: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    rows: int,
    num_padded: int,
    masked_lm_weight: float,
    taught: Sequence[Tensor],
    temperature: float,
    divergence_weight: float,
    rest_id: int | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The scalars of `HeadLoss`, and the gradients of the loss times N by states, weight and bias, all in float32."""
    with torch.autocast(states.device.type, enabled=False):
        size = len(weight)
        # No padded token is ever likely, so that nothing of the loss and of its gradients falls on one.
        matrix = pad(weight.to(dtype), (0, 0, 0, num_padded))
        offsets = pad(bias.to(dtype), (0, num_padded), value=-torch.inf)
        slopes = Taught(taught, temperature, divergence_weight, rest_id).slopes(dtype, size) if taught else None
        masked_lm, divergence, num_right = (torch.zeros((), device=states.device) for _ in range(3))
        of_matrix, of_offsets = (torch.zeros_like(table, dtype=torch.float32) for table in (matrix, offsets))
        of_states = torch.empty_like(states, dtype=torch.float32)
        for start in range(0, len(states), rows):
            at = slice(start, start + rows)
            chunk, true_ids = states[at].to(dtype), targets[at, None]
            logits = torch.addmm(offsets, chunk, matrix.T)
            num_right += (logits.argmax(dim=-1, keepdim=True) == true_ids).sum()
            table = logits.log_softmax(dim=-1, dtype=torch.float32)
            masked_lm -= table.gather(1, true_ids).sum()
            table.exp_().scatter_add_(1, true_ids, table.new_full((), -1.0).expand_as(true_ids)).mul_(masked_lm_weight)
            if slopes is not None:
                values, slope = slopes(logits[:, :size], at)
                divergence += values.sum()
                table[:, :size].add_(slope, alpha=divergence_weight)
            of_offsets += table.sum(dim=0)
            gradient = table.to(dtype)
            of_states[at] = gradient @ matrix
            of_matrix += gradient.T @ chunk
        masked_lm, divergence = masked_lm / len(states), divergence / len(states)
        # Copies, so that no output is a view of another.
        of_weight, of_bias = of_matrix[:size].contiguous(), of_offsets[:size].clone()
        loss = masked_lm_weight * masked_lm + divergence_weight * divergence
        return loss, masked_lm, divergence, num_right / len(states), of_states, of_weight, of_bias


@_loss_and_gradients.register_fake
def _(states: Tensor, weight: Tensor, bias: Tensor, *_: object) -> tuple[Tensor, ...]:
    scalars = (states.new_empty((), dtype=torch.float32) for _ in range(4))
    return (*scalars, *(torch.empty_like(table, dtype=torch.float32) for table in (states, weight, bias)))


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[4:])
    ctx.dtypes, ctx.num_predicted = [table.dtype for table in inputs[:3]], len(inputs[0])  # type: ignore[attr-defined]
    # A list has a list of gradients.
    ctx.others = [[None] * len(of) if isinstance(of, list) else None for of in inputs[3:]]  # type: ignore[attr-defined]


def _backward(ctx: torch.autograd.function.FunctionCtx, outer: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    scale = outer / ctx.num_predicted  # type: ignore[attr-defined]
    kept = zip(ctx.saved_tensors, ctx.dtypes, strict=True)  # type: ignore[attr-defined]
    gradients = ((gradient * scale).to(dtype) for gradient, dtype in kept)
    return (*gradients, *ctx.others)  # type: ignore[attr-defined]


_loss_and_gradients.register_autograd(_backward, setup_context=_keep)
