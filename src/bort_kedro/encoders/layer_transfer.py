"""Fit the maps of a wide encoder into a narrow one: by cutting, or by singular values.

Both ways choose one basis of the hidden space for the whole encoder, so that everything that writes to the residual
stream and everything that reads it still understand each other. docs/decisions/0011-student-start.md says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import BertConfig, PreTrainedConfig
    from transformers.models.bert.modeling_bert import BertAttention, BertLayer
    from transformers.models.roberta.modeling_roberta import RobertaAttention, RobertaLayer

# Embeddings that are turned into double precision at once.
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class HiddenBasis:
    """Where the student's hidden dimensions lie in the teacher's hidden space.

    Args:
        columns: (H_teacher, H_student) orthonormal, B.
    """

    columns: Tensor

    def project(self, rows: Tensor) -> Tensor:
        """(N, H_teacher) rows in the teacher's space to (N, H_student): rows @ B."""
        return rows @ self.columns.to(rows)

    def layer_norm(self, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """Gain and bias of the student's layer norm.

        The bias is projected. A gain g multiplies the teacher's dimensions; in the basis it is B^T diag(g) B, of which
        a layer norm can keep the diagonal, sum over i of B_ij^2 g_i, the nearest diagonal in the Frobenius norm.
        """
        return norm.weight @ self.columns.to(norm.weight).square(), self.project(norm.bias)


def first_dimensions(words: Tensor, positions: Tensor, hidden_size: int) -> HiddenBasis:
    """The first dimensions of the teacher, as they are."""
    return HiddenBasis(torch.eye(words.shape[1], device=words.device)[:, :hidden_size])


def main_directions(words: Tensor, positions: Tensor, hidden_size: int) -> HiddenBasis:
    """The directions in which the embeddings reach furthest, turned to lie near the teacher's own dimensions.

    They are the top right singular vectors of all words and positions, both sets of rows counted as much: words alone
    would drop the plane that positions have to themselves. Layer norms and the head's activation work on single
    dimensions, so the basis is turned within its span to the dimensions that it holds most of; for a width that is
    kept these are the teacher's own, and nothing is lost.

    Args:
        words: (V, H_teacher) embeddings of the student's words.
        positions: (P, H_teacher) embeddings of the student's positions.
        hidden_size: H_student.

    References:
        Schönemann 1966, A generalized solution of the orthogonal Procrustes problem (the turn).
    """
    width = words.shape[1]
    gram = torch.zeros(width, width, dtype=torch.float64, device=words.device)
    for rows in (words, positions):
        for part in rows.split(ROWS_AT_ONCE):
            gram += part.double().T @ part.double() / len(rows)
    directions = torch.linalg.eigh(gram).eigenvectors[:, -hidden_size:]
    nearest = largest_ones(directions.norm(dim=1), hidden_size)
    left, _, right = torch.linalg.svd(directions[nearest])
    return HiddenBasis(directions @ (right.T @ left.T))


def first_rows(left: Tensor, right: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The first ``size`` terms of the sum left^T right."""
    return left[:size], right[:size]


def nearest_product(left: Tensor, right: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Factors of at most ``size`` rows whose product left^T right is the nearest of that rank to the given one.

    Args:
        left: (d, N) rows.
        right: (d, M) rows.
        size: Rows allowed; with d or more the factors come back as they are.

    References:
        Eckart and Young 1936, The approximation of one matrix by another of lower rank.
    """
    if size >= len(left):
        return left, right
    left_basis, left_rows = torch.linalg.qr(left.double().T)
    right_basis, right_rows = torch.linalg.qr(right.double().T)
    left_turn, values, right_turn = torch.linalg.svd(left_rows @ right_rows.T)
    roots = values[:size].sqrt()
    new_left = (left_basis @ left_turn[:, : len(roots)] * roots).T
    new_right = (right_basis @ right_turn.T[:, : len(roots)] * roots).T
    return new_left.to(left), new_right.to(right)


def first_ones(norms: Tensor, count: int) -> Tensor:
    """Indices of the first ``count``."""
    return torch.arange(count, device=norms.device)


def largest_ones(norms: Tensor, count: int) -> Tensor:
    """Indices of the ``count`` largest norms, in the teacher's order."""
    return norms.topk(count).indices.sort().values


@dataclass(frozen=True)
class Narrowing:
    """One way from the teacher's widths to the student's.

    Args:
        basis: Of the hidden space, from words (V, H_teacher), positions (P, H_teacher) and the student's hidden size.
        factors: Fits the two maps of a head to the student's head size.
        kept: Which heads or units stay, from their norms and their new number.
        keeps_product: Whether ``factors`` stands for the whole product and not for a part of its sum.
    """

    basis: Callable[[Tensor, Tensor, int], HiddenBasis]
    factors: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
    kept: Callable[[Tensor, int], Tensor]
    keeps_product: bool

    def score_scale(self, teacher_size: int, student_size: int) -> float:
        """What queries are multiplied by, since the student divides scores by the root of its own head size."""
        terms = teacher_size if self.keeps_product else min(teacher_size, student_size)
        return float((student_size / terms) ** 0.5)


NARROWINGS = {
    "truncation": Narrowing(first_dimensions, first_rows, first_ones, keeps_product=False),
    "svd": Narrowing(main_directions, nearest_product, largest_ones, keeps_product=True),
}


def transfer_layer(
    student: BertLayer,
    teacher: BertLayer | RobertaLayer,
    configs: tuple[BertConfig, PreTrainedConfig],
    basis: HiddenBasis,
    narrowing: Narrowing,
) -> None:
    """Write one encoder layer of the teacher into one of the student (in place).

    Args:
        student: ``BertLayer``.
        teacher: ``BertLayer`` or ``RobertaLayer``.
        configs: The student's and the teacher's.
        basis: Of the whole encoder.
        narrowing: How heads and units become fewer and smaller.
    """
    _transfer_heads(student.attention, teacher.attention, configs, basis, narrowing)
    copy_linear_bias(student.attention.output.dense, teacher.attention.output.dense, basis)
    copy_layer_norm(student.attention.output.LayerNorm, teacher.attention.output.LayerNorm, basis)
    incoming = _with_bias(teacher.intermediate.dense, basis)
    outgoing = basis.project(teacher.output.dense.weight.T)
    kept = narrowing.kept(incoming.norm(dim=1) * outgoing.norm(dim=1), configs[0].intermediate_size)
    student.intermediate.dense.weight.copy_(incoming[kept, :-1])
    student.intermediate.dense.bias.copy_(incoming[kept, -1])
    student.output.dense.weight.copy_(outgoing[kept].T)
    copy_linear_bias(student.output.dense, teacher.output.dense, basis)
    copy_layer_norm(student.output.LayerNorm, teacher.output.LayerNorm, basis)


def _transfer_heads(
    student: BertAttention,
    teacher: BertAttention | RobertaAttention,
    configs: tuple[BertConfig, PreTrainedConfig],
    basis: HiddenBasis,
    narrowing: Narrowing,
) -> None:
    """Each head by its two products, query with key and value with output, biases as one more input that is 1.

    A student's head may be wider than the teacher's. Its spare units keep their drawn queries and values, while their
    keys and outputs start at zero: they change nothing at first, and can still learn.
    """
    num_heads, teacher_heads = (config.num_attention_heads for config in configs)
    size, teacher_size = (config.hidden_size // config.num_attention_heads for config in configs)
    query, key, value = (
        _with_bias(linear, basis).unflatten(0, (teacher_heads, teacher_size))
        for linear in (teacher.self.query, teacher.self.key, teacher.self.value)
    )
    output = basis.project(teacher.output.dense.weight.T).unflatten(0, (teacher_heads, teacher_size))
    norms = ((value @ value.mT) * (output @ output.mT)).sum(dim=(1, 2))  # squared Frobenius norm of value^T output
    for parameter in (student.self.key.weight, student.self.key.bias, student.output.dense.weight):
        parameter.zero_()
    for index, head in enumerate(narrowing.kept(norms, num_heads).tolist()):
        queries, keys = narrowing.factors(query[head], key[head], size)
        values, outputs = narrowing.factors(value[head], output[head], size)
        queries = queries * narrowing.score_scale(teacher_size, size)
        for linear, rows in ((student.self.query, queries), (student.self.key, keys), (student.self.value, values)):
            place = slice(index * size, index * size + len(rows))
            linear.weight[place].copy_(rows[:, :-1])
            linear.bias[place].copy_(rows[:, -1])
        student.output.dense.weight[:, index * size : index * size + len(outputs)].copy_(outputs.T)


def _with_bias(linear: nn.Linear, basis: HiddenBasis) -> Tensor:
    """(N, H_student + 1): a map that reads the hidden space, and its bias as the last column."""
    return torch.cat([basis.project(linear.weight), linear.bias[:, None]], dim=1)


def copy_linear_bias(student: nn.Linear, teacher: nn.Linear, basis: HiddenBasis) -> None:
    """Write the bias of a map into the hidden space."""
    student.bias.copy_(basis.project(teacher.bias))


def copy_layer_norm(student: nn.LayerNorm, teacher: nn.LayerNorm, basis: HiddenBasis) -> None:
    """Write gain and bias of a layer norm over the hidden space."""
    gain, bias = basis.layer_norm(teacher)
    student.weight.copy_(gain)
    student.bias.copy_(bias)
