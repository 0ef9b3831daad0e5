"""Losses over the predicted positions of masked-LM training."""

from __future__ import annotations

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


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """(N,) cross-entropy of a student's distributions with a teacher's, both (N, V), in nats: -sum p log q.

    Of a teacher with itself its entropy, which no student goes below.
    """
    return cross_entropy(student_logits.float(), teacher_logits.float().softmax(dim=-1), reduction="none")


def masked_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the predicted positions whose true token has the largest logit, (N, V) and (N,) to a scalar."""
    return (logits.argmax(dim=-1) == labels).to(torch.float32).mean()
