"""The last product of a masked-LM head with its loss, a chunk of the positions at a time.

Where 15 % of 131 thousand tokens are predicted of 50 265, their logits are 4 GB in float32, and autograd keeps several
such tables. Here a chunk's gradient is computed right after its logits, while they are there, and only sums are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

# Largest table of logits, in float32, that is made at once: 2 670 positions of 50 265 tokens.
LOGITS_BYTES = 2**29
# Rows of the matrix that a GPU multiplies with come in whole tiles; with 50 265 none of its rows of logits is aligned.
TILE_ROWS = 64


def rows_at_once(vocabulary_size: int) -> int:
    """Positions of a chunk, at least one."""
    return max(1, LOGITS_BYTES // (4 * vocabulary_size))


def is_chunked(device: torch.device, num_predicted: int, vocabulary_size: int) -> bool:
    """Whether `chunked_masked_lm_loss` is to be taken: for larger tables, and on CUDA always, for its whole tiles."""
    return device.type == "cuda" or num_predicted > rows_at_once(vocabulary_size)


def chunked_masked_lm_loss(states: Tensor, decoder: nn.Linear, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`losses.masked_lm_loss` and `losses.masked_accuracy` of the logits that a decoder makes.

    Args:
        states: (N, H) that the decoder reads.
        decoder: From H to the V tokens, with a bias; its weights may be tied.
        targets: (N,) true ids.

    Returns:
        ``(loss, accuracy)``, scalars. The gradients of the loss equal those of the whole table but for rounding.
    """
    kind = states.device.type
    is_mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if is_mixed else states.dtype
    size = len(decoder.weight)
    num_padded = -size % TILE_ROWS if kind == "cuda" else 0
    loss, accuracy, *_ = _loss_and_gradients(
        states, decoder.weight, decoder.bias, targets, dtype, rows_at_once(size), num_padded
    )
    return loss, accuracy


# An operator of its own, since torch.compile would unroll the loop over chunks anew for each number of positions.
@torch.library.custom_op("bort_kedro::masked_lm_loss_and_gradients", mutates_args=())
def _loss_and_gradients(
    states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype, rows: int, num_padded: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mean loss, accuracy, and the gradients of the loss times N by states, weight and bias, all in float32."""
    with torch.autocast(states.device.type, enabled=False):
        # No padded token is ever likely, so that nothing of the loss and of its gradients falls on one.
        matrix = pad(weight.to(dtype), (0, 0, 0, num_padded))
        offsets = pad(bias.to(dtype), (0, num_padded), value=-torch.inf)
        loss, num_right = (torch.zeros((), device=states.device) for _ in range(2))
        of_matrix, of_offsets = (torch.zeros_like(table, dtype=torch.float32) for table in (matrix, offsets))
        of_states = torch.empty_like(states, dtype=torch.float32)
        for start in range(0, len(states), rows):
            chunk, true_ids = states[start : start + rows].to(dtype), targets[start : start + rows, None]
            logits = torch.addmm(offsets, chunk, matrix.T)
            num_right += (logits.argmax(dim=-1, keepdim=True) == true_ids).sum()
            table = logits.log_softmax(dim=-1, dtype=torch.float32)
            loss -= table.gather(1, true_ids).sum()
            table.exp_().scatter_add_(1, true_ids, table.new_full((), -1.0).expand_as(true_ids))
            of_offsets += table.sum(dim=0)
            gradient = table.to(dtype)
            of_states[start : start + rows] = gradient @ matrix
            of_matrix += gradient.T @ chunk
        size = len(weight)
        # Copies, so that no output is a view of another.
        of_weight, of_bias = of_matrix[:size].contiguous(), of_offsets[:size].clone()
        return loss / len(states), num_right / len(states), of_states, of_weight, of_bias


@_loss_and_gradients.register_fake
def _(
    states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype, rows: int, num_padded: int
) -> tuple[Tensor, ...]:
    scalars = (states.new_empty((), dtype=torch.float32) for _ in range(2))
    return (*scalars, *(torch.empty_like(table, dtype=torch.float32) for table in (states, weight, bias)))


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[2:])
    ctx.dtypes, ctx.num_predicted = [table.dtype for table in inputs[:3]], len(inputs[0])  # type: ignore[attr-defined]


def _backward(ctx: torch.autograd.function.FunctionCtx, outer: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    scale = outer / ctx.num_predicted  # type: ignore[attr-defined]
    kept = zip(ctx.saved_tensors, ctx.dtypes, strict=True)  # type: ignore[attr-defined]
    return (*((gradient * scale).to(dtype) for gradient, dtype in kept), None, None, None, None)


_loss_and_gradients.register_autograd(_backward, setup_context=_keep)
