"""From a teacher's ids to a student's that keeps some of them: what is dropped falls on the unknown token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

TOKENS_SHOWN = 5


@dataclass(frozen=True, eq=False)
class VocabularyMap:
    """The function that sends each teacher id to a student id: a kept one to its own, all others to the unknown token.

    Applied to a distribution over the teacher's ids it gives the pushforward, a distribution over the student's
    (our decision, docs/decisions/0010-vocabulary-trimming.md).

    Args:
        kept: (V_student,) int64, the teacher id of each student id; no id twice.
        num_teacher_ids: V_teacher, ids of the teacher's tokenizer. Logits may have more columns, those of padded
            embeddings; they are cut off.
        rest_id: Student id that takes the mass of the dropped ids; None only where none is dropped.
        is_identity: True where both sides have the same ids for the same tokens.
        dropped: (V_teacher - V_student,) int64, rising: teacher ids that the student lacks.

    Raises:
        ValueError: If ``kept`` is not such a vector, or ids are dropped and ``rest_id`` is not one of the student's.
    """

    kept: Tensor
    num_teacher_ids: int
    rest_id: int | None
    is_identity: bool = field(init=False)
    dropped: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if self.kept.dtype != torch.int64 or self.kept.dim() != 1:
            raise ValueError(
                f"kept is {self.kept.dtype} of shape {tuple(self.kept.shape)}, allowed is int64 of shape (V_student,)"
            )
        ids = self.kept.tolist()
        if ids and not 0 <= min(ids) <= max(ids) < self.num_teacher_ids:
            raise ValueError(f"kept has ids from {min(ids)} to {max(ids)}, allowed are 0 to {self.num_teacher_ids - 1}")
        if len(set(ids)) < len(ids):
            raise ValueError(f"kept names {len(ids) - len(set(ids))} teacher id(s) more than once")
        num_dropped = self.num_teacher_ids - len(ids)
        if num_dropped and (self.rest_id is None or not 0 <= self.rest_id < len(ids)):
            raise ValueError(
                f"{num_dropped} of the teacher's {self.num_teacher_ids} ids are dropped and rest_id is "
                f"{self.rest_id}: it must be one of the student's ids, that of its unknown token"
            )

        # Now rather than when they are asked for: that may be within a step, which must not wait for a device.
        is_dropped = torch.ones(self.num_teacher_ids, dtype=torch.bool, device=self.kept.device)
        is_dropped[self.kept] = False
        object.__setattr__(self, "is_identity", ids == list(range(self.num_teacher_ids)))
        object.__setattr__(self, "dropped", is_dropped.nonzero().flatten())

    def to(self, device: torch.device | str) -> VocabularyMap:
        """The same map beside logits on a device, so that no step copies its ids there."""
        return replace(self, kept=self.kept.to(device))

    def to_teacher_ids(self, input_ids: Tensor) -> Tensor:
        """Student ids of any shape as the teacher's ids of the same tokens."""
        return input_ids if self.is_identity else self.kept[input_ids]

    def to_student_logits(self, teacher_logits: Tensor) -> Tensor:
        """(N, V_student) float32 whose softmax is the pushforward of the teacher's, to be softened afterwards.

        Kept ids keep their logits; the unknown token's becomes the log of the summed exponentials of its own and the
        dropped ids'. The input itself comes back where it is float32 and nothing changes.

        Args:
            teacher_logits: (N, V_teacher or more) float, unnormalised.

        Raises:
            ValueError: If there are fewer columns than the teacher has ids.
        """
        self._require_columns(teacher_logits)
        if self.is_identity:
            return self._without_padding(teacher_logits).float()
        return pushed_forward(teacher_logits, self.kept, self.dropped, self.rest_id)

    def rest_mass(self, teacher_logits: Tensor) -> Tensor:
        """(N,) float32, the probability that the teacher gives to dropped ids, at temperature 1.

        Raises:
            ValueError: If there are fewer columns than the teacher has ids.
        """
        self._require_columns(teacher_logits)
        total = self._without_padding(teacher_logits).float().logsumexp(dim=-1)
        if not len(self.dropped):
            return torch.zeros_like(total)
        return (teacher_logits.index_select(-1, self.dropped).float().logsumexp(dim=-1) - total).exp()

    def _require_columns(self, teacher_logits: Tensor) -> None:
        if teacher_logits.shape[-1] < self.num_teacher_ids:
            raise ValueError(
                f"teacher logits have shape {tuple(teacher_logits.shape)}, at least {self.num_teacher_ids} columns are "
                "needed, one for each id of the teacher's tokenizer"
            )

    def _without_padding(self, teacher_logits: Tensor) -> Tensor:
        if teacher_logits.shape[-1] == self.num_teacher_ids:
            return teacher_logits
        return teacher_logits[..., : self.num_teacher_ids]


def pushed_forward(teacher_logits: Tensor, kept: Tensor, dropped: Tensor, rest_id: int | None) -> Tensor:
    """`VocabularyMap.to_student_logits` of a map that is no identity, by its parts."""
    student_logits = teacher_logits.index_select(-1, kept).float()
    if len(dropped):
        rest = teacher_logits.index_select(-1, dropped).float().logsumexp(dim=-1)
        student_logits[..., rest_id] = torch.logaddexp(student_logits[..., rest_id], rest)
    return student_logits


def between(student_tokens: Sequence[str], teacher_tokens: Sequence[str], unknown: str | None) -> VocabularyMap:
    """The map between two vocabularies, by the tokens' text.

    Args:
        student_tokens: (V_student,) token of each student id.
        teacher_tokens: (V_teacher,) token of each teacher id.
        unknown: The student's unknown token; it may be missing where no id is dropped.

    Raises:
        ValueError: If the teacher lacks a token of the student, or ids are dropped and the student has no unknown
            token.
    """
    if list(student_tokens) == list(teacher_tokens):
        kept = list(range(len(teacher_tokens)))
    else:
        ids = {token: number for number, token in enumerate(teacher_tokens)}
        lacking = [token for token in student_tokens if token not in ids]
        if lacking:
            shown = ", ".join(repr(token) for token in lacking[:TOKENS_SHOWN])
            raise ValueError(
                f"the teacher lacks {len(lacking)} of the student's {len(student_tokens)} tokens, such as {shown}"
            )
        kept = [ids[token] for token in student_tokens]
    rest_id = student_tokens.index(unknown) if unknown in student_tokens else None
    return VocabularyMap(torch.tensor(kept, dtype=torch.int64), len(teacher_tokens), rest_id)
