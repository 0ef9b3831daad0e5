"""The ways to train a student that the distillation experiment compares, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# What a student learns: changes to the block `distillation` of conf/base, which runs no teacher.
TOKENS, LOGITS = "the true tokens", "the published loss"
BRIEFLY = "the published loss, the teacher's part for a fifth of the steps"
RELATIONS, STATES = "the true tokens and relations", "the true tokens and hidden states"
PUBLISHED = {"weight": 0.5, "temperature": 2.0}
LEARNT: dict[str, dict[str, Any]] = {
    TOKENS: {},
    LOGITS: {"masked_lm_weight": 0.1, "logits": PUBLISHED},
    BRIEFLY: {"masked_lm_weight": 0.1, "logits": {**PUBLISHED, "until": 0.2}},
    RELATIONS: {"relations": {"weight": 1.0}},
    STATES: {"hidden_states": {"weight": 1.0}},
}

# Encoders that the search and the pretraining train before the student, by name.
MAXIMUM_POINT, TEACHER, LONGER, CANDIDATE = "T", "teacher", "teacher of twice the steps", "candidate"
# Where a student begins, and all that is trained before it can.
STARTS: dict[str, tuple[str, ...]] = {
    "random": (),
    TEACHER: (MAXIMUM_POINT, TEACHER),
    LONGER: (MAXIMUM_POINT, TEACHER, LONGER),
    CANDIDATE: (MAXIMUM_POINT, CANDIDATE),
}


@dataclass(frozen=True)
class Arm:
    """One way to train the student.

    Args:
        name: For readers.
        start: Key of `STARTS`.
        learns: Key of `LEARNT`.
        has_time_of: Encoders that it does without, and for whose trainings' time the student is trained longer.
    """

    name: str
    start: str = TEACHER
    learns: str = TOKENS
    has_time_of: tuple[str, ...] = ()

    @property
    def before(self) -> tuple[str, ...]:
        """What is trained before the student."""
        return STARTS[self.start] if self.learns == TOKENS else STARTS[TEACHER]


RANDOM = Arm("random start, no teacher", start="random")
PUBLISHED_ARM = Arm("random start, published loss", start="random", learns=LOGITS)
FROM_TEACHER = Arm("svd start, no teacher")
LIVE = Arm("svd start, published loss", learns=LOGITS)
TAUGHT = (
    LIVE,
    Arm("svd start, published loss, teacher dropped after a fifth", learns=BRIEFLY),
    Arm("svd start, relations", learns=RELATIONS),
    Arm("svd start, hidden states", learns=STATES),
)
LONGER_ARM = Arm("svd start of a teacher of twice the steps", start=LONGER)
CANDIDATE_ARM = Arm("candidate start", start=CANDIDATE)
# What `make run` does.
DEFAULT = Arm("candidate start, and the time of the teacher", start=CANDIDATE, has_time_of=(TEACHER,))
# The same time, T's too, without any of it.
RANDOM_FOR_ALL = Arm("random start, and the time of T and the teacher", "random", has_time_of=(MAXIMUM_POINT, TEACHER))
ARMS = (RANDOM, PUBLISHED_ARM, FROM_TEACHER, *TAUGHT, LONGER_ARM, CANDIDATE_ARM, DEFAULT, RANDOM_FOR_ALL)
# Who is held against whom, one difference at a time: the loss and the start, each with the same steps before it; then
# the default with what has all of its time.
PAIRS = (
    (PUBLISHED_ARM, RANDOM),
    (FROM_TEACHER, RANDOM),
    *((arm, FROM_TEACHER) for arm in (*TAUGHT, LONGER_ARM, CANDIDATE_ARM)),
    (DEFAULT, FROM_TEACHER),
    (DEFAULT, RANDOM_FOR_ALL),
)
