"""Losses of masked-LM training over the predicted positions, and of a teacher's layers over all tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax


def masked_lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats. ``logits``: (N, V) at the N predicted positions; ``labels``: (N,) true ids."""
    return cross_entropy(logits.float(), labels)


def distillation_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Mean divergence KL(teacher || student) over the predicted positions, in nats, times temperature squared.

    Both sides are softened by the temperature; its square keeps the gradients at the size of the hard
    loss. Zero when, and only when, the student's distributions equal the teacher's.

    Args:
        student_logits: (N, V) float, unnormalised; gradients flow here.
        teacher_logits: (N, V) float, unnormalised; taken as constant.
        temperature: Above 0.

    Raises:
        ValueError: If the shapes differ, nothing is predicted (N = 0), or the temperature is not above 0.

    References:
        Hinton et al. 2015, arXiv 1503.02531, section 2. Departs from the code released with Bort:
        docs/decisions/0001-distillation-loss.md.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student logits {tuple(student_logits.shape)} and teacher logits {tuple(teacher_logits.shape)} "
            "must have the same shape (N, V): do both use one tokenizer?"
        )
    if student_logits.shape[0] == 0:
        raise ValueError("no predicted position: the mean over none is not defined")
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, allowed are values above 0")
    student = log_softmax(student_logits.float() / temperature, dim=-1)
    teacher = log_softmax(teacher_logits.detach().float() / temperature, dim=-1)
    return kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def divergence_slopes(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """``(values, slopes)``: what `distillation_loss` is the mean of, (N,), and each one's gradient, (N, V)."""
    student = log_softmax(student_logits.float() / temperature, dim=-1)
    teacher = log_softmax(teacher_logits.float() / temperature, dim=-1)
    likely = teacher.exp()
    values = (likely * teacher.sub_(student)).sum(dim=-1) * temperature**2
    return values, student.exp_().sub_(likely).mul_(temperature)


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """(N,) cross-entropy of a student's distributions with a teacher's, both (N, V), in nats: -sum p log q.

    Of a teacher with itself its entropy, which no student goes below.
    """
    return cross_entropy(student_logits.float(), teacher_logits.float().softmax(dim=-1), reduction="none")


def relations_divergence(
    student: Sequence[Tensor], teacher: Sequence[Tensor], documents: Tensor, *, num_heads: int
) -> Tensor:
    """Mean divergence KL(teacher || student) between how two layers relate their tokens, in nats.

    Queries are related with queries, keys with keys, values with values: in each of ``num_heads`` relation heads,
    which are cut anew from the whole width, a token's relations are the softmax of its scaled dot products with all
    tokens of its document. So neither widths nor heads of the two need to agree. Zero when, and only when, all
    relations are equal; turning both sides' heads within themselves changes nothing.

    Args:
        student: Queries, keys and values, (B, L, H_student) float each; gradients flow here.
        teacher: Likewise, (B, L, H_teacher); taken as constant.
        documents: (B, L), 0 for padding and else the number of the document in its row; an attention mask serves where
            each row is one document. The mean is over tokens, relation heads and the three kinds.
        num_heads: Must divide both widths.

    Raises:
        ValueError: If ``num_heads`` does not divide both widths; names the numbers that do.

    References:
        Wang et al. 2020, MiniLMv2, arXiv 2012.15828, section 3.
    """
    require_common_heads(num_heads, student[0].shape[-1], teacher[0].shape[-1])
    # Padding relates to padding, so that no row is empty; its rows are not counted.
    is_related = documents[:, None, :, None] == documents[:, None, None, :]
    is_token = (documents > 0)[:, None, :]

    def relations(rows: Tensor) -> Tensor:
        heads = rows.unflatten(-1, (num_heads, -1)).transpose(1, 2)
        scores = (heads @ heads.mT).float() / heads.shape[-1] ** 0.5
        # Not infinite: the difference of two infinities is no number, even times zero.
        return log_softmax(scores.masked_fill(~is_related, torch.finfo(scores.dtype).min), dim=-1)

    total = torch.zeros((), device=documents.device)
    for own, theirs in zip(student, teacher, strict=True):
        divergence = kl_div(relations(own), relations(theirs.detach()), reduction="none", log_target=True)
        total = total + (divergence.sum(dim=-1) * is_token).sum()
    return total / (is_token.sum() * num_heads * len(student))


def require_common_heads(num_heads: int, *widths: int) -> None:
    """Refuse a number of relation heads that does not divide all widths.

    Raises:
        ValueError: Names the numbers that do.
    """
    common = math.gcd(*widths)
    if common % num_heads:
        allowed = [number for number in range(1, common + 1) if common % number == 0]
        raise ValueError(
            f"relations.num_heads is {num_heads}, which does not divide each of the widths {list(widths)}; allowed are "
            f"{', '.join(map(str, allowed))}"
        )


def hidden_states_error(student: Tensor, teacher: Tensor, documents: Tensor) -> Tensor:
    """Share of the variance of a teacher's hidden states over the tokens that a student leaves unexplained.

    The mean squared error in units of that variance: 0 for equal states, 1 for a student that always says their mean.

    Args:
        student: (B, L, H) float, in the teacher's space; gradients flow here.
        teacher: (B, L, H) float; taken as constant.
        documents: (B, L), 0 for padding, as for `relations_divergence`.
    """
    is_token = (documents > 0)[..., None].float()
    target = teacher.detach().float()
    mean = (target * is_token).sum(dim=(0, 1)) / is_token.sum()
    error, variance = student.float() - target, target - mean
    return (error.square() * is_token).sum() / (variance.square() * is_token).sum()


def masked_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the predicted positions whose true token has the largest logit, (N, V) and (N,) to a scalar."""
    return (logits.argmax(dim=-1) == labels).to(torch.float32).mean()
