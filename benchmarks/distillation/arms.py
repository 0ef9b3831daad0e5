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
        has_teachers_time: Whether the student is trained longer by the time of the teacher that it does without.
    """

    name: str
    start: str = TEACHER
    learns: str = TOKENS
    has_teachers_time: bool = False

    @property
    def before(self) -> tuple[str, ...]:
        """What is trained before the student."""
        return STARTS[self.start] if self.learns == TOKENS else STARTS[TEACHER]


RANDOM = Arm("random start, no teacher", start="random")
PUBLISHED_ARM = Arm("random start, published loss", start="random", learns=LOGITS)
DEFAULT = Arm("svd start, no teacher")
LIVE = Arm("svd start, published loss", learns=LOGITS)
TAUGHT = (
    LIVE,
    Arm("svd start, published loss, teacher dropped after a fifth", learns=BRIEFLY),
    Arm("svd start, relations", learns=RELATIONS),
    Arm("svd start, hidden states", learns=STATES),
)
LONGER_ARM = Arm("svd start of a teacher of twice the steps", start=LONGER)
CANDIDATE_ARM = Arm("candidate start", start=CANDIDATE)
LONGER_CANDIDATE = Arm("candidate start, and the time of the teacher", start=CANDIDATE, has_teachers_time=True)
ARMS = (RANDOM, PUBLISHED_ARM, DEFAULT, *TAUGHT, LONGER_ARM, CANDIDATE_ARM, LONGER_CANDIDATE)
# Who is held against whom: what a start is worth, and everything else against the default.
PAIRS = (
    (PUBLISHED_ARM, RANDOM),
    (DEFAULT, RANDOM),
    *((arm, DEFAULT) for arm in ARMS if arm not in {RANDOM, PUBLISHED_ARM, DEFAULT}),
)
