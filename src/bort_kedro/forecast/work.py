"""One step of a training and one kind of training as values, with what they take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bort_kedro.encoders.costs import count_parameters
from bort_kedro.encoders.shapes import BertShape
from bort_kedro.encoders.training_cost import forward_flops

# Bytes of a number in fp32, in which weights, gradients and moments are kept in every precision.
FULL_BYTES = 4
# Kinds of trainings that a node of fine-tuning may have: its own, and those on parts of train, of which the first two
# choose a method.
TRIALS, COMPARED_TEACHERS, COMPARED, TEACHERS_OF_PARTS = "trials", "compared teachers", "compared", "teachers of parts"


@dataclass(frozen=True)
class Encoder:
    """What is known of an encoder without building it.

    Args:
        shape: D, A, H, I.
        vocabulary_size: V.
        max_positions: Rows of the position embeddings.
    """

    shape: BertShape
    vocabulary_size: int
    max_positions: int

    @property
    def parameters(self) -> int:
        """Weights with embeddings and masked-LM head."""
        return count_parameters(
            self.shape, vocabulary_size=self.vocabulary_size, max_positions=self.max_positions
        ).total

    @property
    def weight_bytes(self) -> int:
        """Of the weights in fp32, as they are kept on a disk."""
        return FULL_BYTES * self.parameters


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    Args:
        encoder: That learns.
        tokens: Of the step, padding included.
        length: Tokens of a sequence.
        masked_share: Of the tokens that are predicted; 0 of a step that ends in a classifier, whose head is too small
            to count.
        precision: ``no``, ``bf16`` or ``fp16``.
        num_threads: CPU threads.
        parts: Into which its rows are divided to save memory.
        moments: Numbers that the optimiser keeps for each weight.
        recomputes: Whether activations are computed again in the backward pass.
        learns: False of a forward pass alone.
        teacher: That goes forward beside it; None where none does.
    """

    encoder: Encoder
    tokens: int
    length: int
    masked_share: float
    precision: str
    num_threads: int
    parts: int = 1
    moments: int = 2
    recomputes: bool = False
    learns: bool = True
    teacher: Encoder | None = None

    @property
    def flops(self) -> float:
        """Of the student forward and backward, which is twice forward, and of the teacher forward."""
        passes = 3 + self.recomputes if self.learns else 1
        return passes * self._forward(self.encoder) + (self._forward(self.teacher) if self.teacher else 0.0)

    def _forward(self, encoder: Encoder) -> float:
        predicted = round(self.masked_share * self.tokens)
        return forward_flops(
            encoder.shape,
            vocabulary_size=encoder.vocabulary_size,
            num_tokens=self.tokens,
            sum_of_squared_lengths=self.tokens * self.length,
            num_predicted=predicted,
            # A masked-LM step runs the last layer at the predicted positions alone.
            sum_of_predicted_lengths=predicted * self.length if predicted else None,
        )


def passed(step: Step, tokens: int, encoder: Encoder | None = None) -> Step:
    """A forward pass alone over so many tokens, by the encoder of a step or by another."""
    return replace(step, encoder=encoder or step.encoder, tokens=tokens, teacher=None, learns=False)


@dataclass(frozen=True)
class Work:
    """Trainings of one kind.

    Args:
        stage: Of the pipeline.
        node: That does it.
        what: Is trained.
        step: One of its steps.
        num_steps: Of one training; a mean where they differ.
        num_trainings: In all.
        num_finished: Of these, found finished on the disk.
        side_by_side: Trainings at a time.
        num_devices: That share a training.
        is_sharded: Whether they divide weights, gradients and moments.
        passes: Forward passes of each training that look at it, on its way and at its end, or run its teacher.
        num_looks: How often each training is scored on its way and at its end.
        num_states: That each training keeps on its way, the last included.
        keeps_whole: Whether each training keeps a whole state for good, the one before its learning rate falls.
        num_starts: How often processes are started for it.
        is_limit: Whether fewer steps or trainings may do, as early stopping and Agora decide.
        first_steps: Of a training of the first round, where there are rounds.
        least_steps: Of one training, that are taken in any case; None is all.
        least_trainings: That are needed in any case; None is all.
        variety: Shapes that are trained, where they are others than the step's own, which then is typical of them.
        other_bytes: That it leaves on the disk beside the weights of each training.
        is_teacher: Whether a teacher is fine-tuned.
        kind: What the last run's counts have it under; `TRIALS` is what the report of the node is of.
    """

    stage: str
    node: str
    what: str
    step: Step
    num_steps: int
    num_trainings: int = 1
    num_finished: int = 0
    side_by_side: int = 1
    num_devices: int = 1
    is_sharded: bool = False
    passes: tuple[Step, ...] = ()
    num_looks: int = 0
    num_states: int = 0
    keeps_whole: bool = False
    num_starts: int = 0
    is_limit: bool = False
    first_steps: int = 0
    least_steps: int | None = None
    least_trainings: int | None = None
    variety: tuple[BertShape, ...] = ()
    other_bytes: int = 0
    is_teacher: bool = False
    kind: str = TRIALS

    @property
    def shapes(self) -> list[dict[str, int]]:
        """Rows of the shapes that are trained."""
        return [shape.to_row() for shape in self.variety or (self.step.encoder.shape,)]

    @property
    def tokens(self) -> int:
        """Of all steps, padding included."""
        return self.step.tokens * self.num_steps * self.num_trainings

    @property
    def flops(self) -> float:
        """Of all steps."""
        return self.step.flops * self.num_steps * self.num_trainings

    @property
    def kept_bytes(self) -> int:
        """That all of it leaves on the disk: of each training that learns its weights, and the rest."""
        return self._kept_bytes(self.num_trainings)

    @property
    def bytes_to_come(self) -> int:
        """Of these, what is written in any case: a state under way, and what no finished training has left."""
        if self.num_finished >= self.num_trainings:
            return 0
        needed = self.num_trainings if self.least_trainings is None else self.least_trainings
        return self._kept_bytes(max(0, needed - self.num_finished))

    def _kept_bytes(self, num_trainings: int) -> int:
        copies = self.step.learns + self.keeps_whole * (1 + self.step.moments)
        return self.other_bytes + num_trainings * copies * self.step.encoder.weight_bytes

    @property
    def least(self) -> Work:
        """What is taken in any case, without what scores it."""
        needed = self.num_trainings if self.least_trainings is None else self.least_trainings
        return replace(
            self,
            num_trainings=max(needed, self.num_finished),
            num_steps=self.num_steps if self.least_steps is None else self.least_steps,
            passes=() if self.is_limit else self.passes,
            num_looks=0 if self.is_limit else self.num_looks,
        )

    @property
    def trainings_left(self) -> int:
        """That are not finished."""
        return self.num_trainings - self.num_finished
