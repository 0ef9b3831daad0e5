"""How long a step takes on this machine: some are taken, of the encoder itself or of a smaller one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bort_kedro.encoders.shapes import BertShape
from bort_kedro.forecast.work import Encoder, Step

if TYPE_CHECKING:
    from bort_kedro.forecast.taken_steps import Taken

# Operations of a step that is taken, at most: on a CPU, and elsewhere. A larger one is scaled down and its time up.
MOST_FLOPS = {"cpu": 4e9, "cuda": 2e13}
# What a smaller step has at the least; below it the time that no operation takes would be scaled up too.
LEAST_LENGTH, LEAST_VOCABULARY = 64, 4096


@dataclass
class ThisMachine:
    """The device that trainings would take here.

    Steps are taken when an encoder is first asked about in a precision and on so many threads; those of other sizes
    and forward passes alone are taken to go as their operations, states as their bytes.
    """

    _taken: dict[tuple[Encoder, str, int], tuple[Step, Taken]] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """See `rates.Rates`."""
        import torch

        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        return f"this machine ({name}), by steps taken just now"

    def seconds(self, step: Step) -> float:
        """See `rates.Rates`."""
        if step.teacher is not None:
            teacher = replace(step, encoder=step.teacher, teacher=None, learns=False)
            return self.seconds(replace(step, teacher=None)) + self.seconds(teacher)
        small, found = self._of(step)
        return step.flops * found.step / small.flops

    def beside(self, step: Step, num_states: int) -> float:
        """See `rates.Rates`."""
        small, found = self._of(step)
        share = step.encoder.weight_bytes / small.encoder.weight_bytes
        return found.beginning + num_states * found.state * share

    def _of(self, step: Step) -> tuple[Step, Taken]:
        """The step that was taken in the place of another, and what it took."""
        if device_type() == "cpu" and step.precision == "fp16":
            # Which a CPU does not train in; `kedro run` says so.
            step = replace(step, precision="no")
        key = step.encoder, step.precision, step.num_threads
        if key not in self._taken:
            # Imports all that trains, which a forecast of what is finished does without.
            from bort_kedro.forecast.taken_steps import taken

            small = smaller(replace(step, teacher=None, learns=True), MOST_FLOPS[device_type()])
            self._taken[key] = small, taken(small)
        return self._taken[key]


def device_type() -> str:
    """Where trainings run here."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def smaller(step: Step, most_flops: float) -> Step:
    """A step of no more operations, by fewer tokens, then a smaller vocabulary, then fewer layers."""

    def with_encoder(encoder: Encoder, step: Step) -> Step:
        return replace(step, encoder=encoder)

    def fits(step: Step) -> bool:
        return step.flops <= most_flops

    if not fits(step):
        length = min(step.length, LEAST_LENGTH)
        rows = max(1, int(most_flops / replace(step, tokens=length, length=length).flops))
        step = replace(step, tokens=min(rows * length, step.tokens), length=length, parts=1)
    if not fits(step):
        step = with_encoder(
            replace(step.encoder, vocabulary_size=min(step.encoder.vocabulary_size, LEAST_VOCABULARY)), step
        )
    while not fits(step) and (depth := step.encoder.shape.num_hidden_layers) > 1:
        step = with_encoder(replace(step.encoder, shape=_with_depth(step.encoder.shape, depth // 2)), step)
    return step


def _with_depth(shape: BertShape, depth: int) -> BertShape:
    return replace(shape, num_hidden_layers=depth)
