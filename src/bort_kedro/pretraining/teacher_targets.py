"""What is kept of a teacher at a predicted position: its likeliest ids, and the mass of all others as one bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from bort_kedro.frozen import JsonObject
from bort_kedro.pretraining.losses import distillation_loss

# Least positive normal float32. A bucket of less mass (beside the likeliest id's, for a student) counts as this much.
LEAST_MASS = float(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class TeacherTargets:
    """A teacher's softened distribution at N positions, as k + 1 buckets.

    Args:
        ids: (N, k) int64, distinct in a row, likeliest first.
        log_probabilities: (N, k) float32, of those ids, in nats.
        log_tail: (N,) float32, log of the mass of all other ids; minus infinity where there is none.
    """

    ids: Tensor
    log_probabilities: Tensor
    log_tail: Tensor


@dataclass(frozen=True)
class TargetChunk:
    """The targets of consecutive blocks under the masks of one epoch, as they are stored.

    Args:
        ids: (P, k) uint16 or uint32, likeliest first.
        log_ratios: (P, k) float16, log-probabilities less that of the likeliest id: near 0 where the mass is, which
            is where float16 is fine.
        log_tail: (P,) float32.
        offsets: (num_blocks + 1,) int64, where each block's positions start; the last is P.
    """

    ids: NDArray[np.unsignedinteger]
    log_ratios: NDArray[np.float16]
    log_tail: NDArray[np.float32]
    offsets: NDArray[np.int64]


class TargetStores(Protocol):
    """Where the targets of all teachers are kept, each under all that they depend on."""

    def of(self, identity: JsonObject) -> TargetStore:
        """The store of one teacher over one corpus; a changed value leads to another."""


class TargetStore(Protocol):
    """Where one teacher's targets are kept; folder, names and checks are the store's.

    A chunk is named by its epoch and the index of its first block.
    """

    def missing(self, epoch: int, first_block: int) -> bool:
        """Whether the chunk must be computed; a damaged one must."""

    def read(self, epoch: int, first_block: int) -> TargetChunk | None:
        """The chunk, or None if it is missing."""

    def write(self, epoch: int, first_block: int, chunk: TargetChunk) -> None:
        """Keep a chunk; when this returns it survives a power cut."""

    def require_room(self, num_bytes: int) -> None:
        """Raise StorageError if so many more bytes do not fit."""


def top_targets(teacher_logits: Tensor, *, temperature: float, top_k: int) -> TeacherTargets:
    """The k likeliest ids of softmax(logits / temperature), and the mass of the rest.

    The rest is summed itself rather than taken as what is left of 1, so a tail of any size is exact to float32.

    Args:
        teacher_logits: (N, V) float, unnormalised; taken as constant.
        temperature: Above 0.
        top_k: k, from 1 to V; with V the tail is minus infinity exactly.

    Raises:
        ValueError: If the temperature or k is out of its range.
    """
    _require_temperature(temperature)
    vocabulary_size = teacher_logits.shape[-1]
    if not 1 <= top_k <= vocabulary_size:
        raise ValueError(f"top_k is {top_k}, allowed are 1 to {vocabulary_size}, the size of the vocabulary")
    scaled = teacher_logits.detach().to(torch.float32, copy=True).div_(temperature)
    top, ids = scaled.topk(top_k, dim=-1)
    log_tail = scaled.scatter_(-1, ids, -torch.inf).logsumexp(dim=-1)
    log_total = torch.logaddexp(top.logsumexp(dim=-1), log_tail)
    return TeacherTargets(ids, top - log_total.unsqueeze(-1), log_tail - log_total)


def bucketed_divergence(student_logits: Tensor, targets: TeacherTargets, *, temperature: float) -> Tensor:
    """Mean divergence KL(teacher || student) over k + 1 buckets, in nats, times temperature squared.

    The buckets are the teacher's k ids and all others as one. Merging ids never raises a divergence (data
    processing), so this is at most `losses.distillation_loss`, and equal to it where k = V. Never NaN for finite
    logits: where a side's tail underflows it counts as LEAST_MASS.

    Args:
        student_logits: (N, V) float, unnormalised; gradients flow here.
        targets: Of N positions, at this temperature.
        temperature: Above 0.

    Raises:
        ValueError: If the numbers of positions differ, nothing is predicted (N = 0), or the temperature is not above 0.

    References:
        Cover and Thomas 2006, Elements of Information Theory, section 2.8, for the inequality. One tail bucket is our
        decision: docs/decisions/0012-teacher-cache.md.
    """
    if len(student_logits) != len(targets.ids):
        raise ValueError(
            f"student logits are of {len(student_logits)} positions and teacher targets of {len(targets.ids)}: "
            "were both made from one batch?"
        )
    if len(student_logits) == 0:
        raise ValueError("no predicted position: the mean over none is not defined")
    _require_temperature(temperature)
    mean: Tensor = _MeanBucketedDivergence.apply(
        student_logits, targets.ids, targets.log_probabilities, targets.log_tail, temperature
    )
    return mean * temperature**2


def bucket_slopes(
    logits: Tensor, targets: TeacherTargets, *, temperature: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The divergence over k + 1 buckets at each position, and what its gradient is made of.

    Args:
        logits: (N, V) float of the student.
        targets: Of the same positions.
        temperature: Above 0.

    Returns:
        ``(divergence, rest, of_top, of_rest)`` in float32, without the factor of the temperature's square: (N,), and of
        the slope by ``logits / temperature``, which is ``rest`` (N, V) times ``of_rest`` (N,), but ``of_top`` (N, k) at
        the teacher's ids.
    """
    scaled = logits.to(torch.float32, copy=True).div_(temperature)
    scaled.sub_(scaled.amax(dim=-1, keepdim=True))
    top = scaled.gather(-1, targets.ids)
    rest = scaled.exp_().scatter_(-1, targets.ids, 0.0)
    rest_sum = rest.sum(dim=-1).clamp_(min=LEAST_MASS)
    total = top.exp().sum(dim=-1) + rest_sum
    p_top, p_tail = targets.log_probabilities.exp(), targets.log_tail.exp()
    floor = float(np.log(LEAST_MASS))
    # Where the teacher's mass is 0 its logarithm is floored, so that the product is 0 and not NaN.
    log_q_top = top - total.log().unsqueeze(-1)
    divergence = (p_top * (targets.log_probabilities.clamp(min=floor) - log_q_top)).sum(dim=-1)
    divergence += p_tail * (targets.log_tail.clamp(min=floor) - rest_sum.log() + total.log())
    # d/dz is q_i * mass - p_i for the top, and q_j * mass - p_tail * q_j / q_tail for the others; both factors of
    # the latter are kept within [-1, 1], so that no loss scale of fp16 can make them overflow.
    mass = p_top.sum(dim=-1) + p_tail
    of_top = log_q_top.exp() * mass.unsqueeze(-1) - p_top
    of_rest = mass * rest_sum / total - p_tail
    return divergence, rest.div_(rest_sum.unsqueeze(-1)), of_top, of_rest


def bucketed_slopes(logits: Tensor, targets: TeacherTargets, *, temperature: float) -> tuple[Tensor, Tensor]:
    """As `losses.divergence_slopes`, of `bucketed_divergence`."""
    values, rest, of_top, of_rest = bucket_slopes(logits, targets, temperature=temperature)
    slopes = rest.mul_(of_rest.unsqueeze(-1)).scatter_(-1, targets.ids, of_top)
    return values * temperature**2, slopes.mul_(temperature)


class _MeanBucketedDivergence(torch.autograd.Function):
    """The mean divergence without the factor, its gradient written out.

    One (N, V) buffer of exponentials serves both sums and the gradient. Left to autograd, a tail as 1 minus the top
    loses its gradient where the student has put all mass on the top, and a masked sum takes three buffers more.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, ids: Tensor, log_probabilities: Tensor, log_tail: Tensor, temperature: float
    ) -> Tensor:
        targets = TeacherTargets(ids, log_probabilities, log_tail)
        divergence, *slopes = bucket_slopes(logits.detach(), targets, temperature=temperature)
        ctx.save_for_backward(ids, *slopes)
        ctx.dtype, ctx.scale = logits.dtype, 1.0 / (temperature * len(logits))
        return divergence.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None, None]:
        ids, rest, of_top, of_rest = ctx.saved_tensors
        scale = outer * ctx.scale
        gradient = (rest * (of_rest * scale).unsqueeze(-1)).scatter_(-1, ids, of_top * scale)
        return gradient.to(ctx.dtype), None, None, None, None


def pack_targets(targets: TeacherTargets, *, vocabulary_size: int) -> tuple[NDArray, NDArray, NDArray]:
    """Targets as they are stored: ``ids``, ``log_ratios`` and ``log_tail`` of `TargetChunk`, N positions each."""
    ids = targets.ids.cpu().numpy().astype(_id_type(vocabulary_size))
    ratios = targets.log_probabilities - targets.log_probabilities[:, :1]
    return ids, ratios.half().cpu().numpy(), targets.log_tail.float().cpu().numpy()


def unpack_targets(ids: NDArray, log_ratios: NDArray, log_tail: NDArray) -> TeacherTargets:
    """The targets of stored arrays, on the CPU, scaled so that the buckets of a position sum to 1."""
    ratios, tail = torch.from_numpy(log_ratios.astype(np.float32)), torch.from_numpy(log_tail.astype(np.float32))
    # log(1 - tail), the mass that the k ids share.
    log_top = torch.log(-torch.expm1(tail))
    log_probabilities = ratios + (log_top - ratios.logsumexp(dim=-1)).unsqueeze(-1)
    return TeacherTargets(torch.from_numpy(ids.astype(np.int64)), log_probabilities, tail)


def divergence_error(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, top_k: int
) -> tuple[float, float]:
    """``(full, bucketed)``: the distillation loss over the whole vocabulary, and over what a cache keeps of it.

    Both are means over the N positions, times temperature squared; the second is of targets that were packed for
    storage and unpacked again. Arguments as in `top_targets`, with (N, V) logits on both sides.
    """
    targets = top_targets(teacher_logits, temperature=temperature, top_k=top_k)
    kept = unpack_targets(*pack_targets(targets, vocabulary_size=teacher_logits.shape[-1]))
    student = student_logits.detach()
    moved = TeacherTargets(*(part.to(student.device) for part in vars(kept).values()))
    full = distillation_loss(student, teacher_logits, temperature=temperature)
    return float(full), float(bucketed_divergence(student, moved, temperature=temperature))


def bytes_per_position(top_k: int, vocabulary_size: int) -> int:
    """Stored bytes of one predicted position: k ids, k log-ratios in float16, and the tail in float32."""
    return top_k * (_id_type(vocabulary_size).itemsize + 2) + 4


def _id_type(vocabulary_size: int) -> np.dtype:
    return np.dtype(np.uint16 if vocabulary_size <= 2**16 else np.uint32)


def _require_temperature(temperature: float) -> None:
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, allowed are values above 0")
