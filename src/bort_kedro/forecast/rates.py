"""How long a step and a training take: on a device that is named, by its data sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bort_kedro.forecast.work import Step, Work
from bort_kedro.training.devices import DataSheet

# Share of a data sheet's peak that a training reaches: an assumption, which `kedro plan` says beside its hours.
# Published trainings of encoders lie between a tenth and a half of it.
ASSUMED_SHARE = 0.3
# Until a process that is started for trainings has imported what it needs, measured on two cores of a server CPU.
PROCESS_SECONDS = 4.0
# What a node takes beside its trainings, likewise: its data are opened, checked and saved, its tables and plots made.
NODE_SECONDS = 0.1
# What a look at dev takes beside its forward passes, likewise: answers are made of them, and scored.
LOOK_SECONDS = 0.005


class Rates(Protocol):
    """How long steps and trainings take on a device, and how sure that is."""

    @property
    def said(self) -> str:
        """On what, and by which assumption or measurement."""

    def seconds(self, step: Step) -> float:
        """Of one step on one device."""

    def beside(self, step: Step, num_states: int) -> float:
        """Seconds of a training of such steps beside these: it is built, begins, and keeps so many states."""


@dataclass(frozen=True)
class NamedDevice:
    """A device that need not be here.

    Args:
        sheet: What its maker says.
        share: Of the peak that is reached.
    """

    sheet: DataSheet
    share: float = ASSUMED_SHARE

    @property
    def said(self) -> str:
        """See `Rates`."""
        return f"{self.sheet.name}, assumed to reach {self.share:g} of the peak of its data sheet"

    def seconds(self, step: Step) -> float:
        """See `Rates`."""
        return step.flops / (self.share * self.sheet.peak(step.precision))

    def beside(self, step: Step, num_states: int) -> float:
        """See `Rates`; nothing is known of it."""
        return 0.0


def device_seconds(work: Work, rates: Rates) -> float:
    """Of all devices together, for the trainings that are left; a device is one GPU, or all cores of a machine."""
    if not work.trainings_left:
        return 0.0
    steps = work.num_steps * rates.seconds(work.step) + sum(map(rates.seconds, work.passes))
    looks = work.num_looks * LOOK_SECONDS
    return work.trainings_left * (steps + looks + rates.beside(work.step, work.num_states))


def wall_seconds(work: Work, rates: Rates) -> float:
    """From beginning to end, the start of processes included."""
    started = PROCESS_SECONDS * work.num_starts if work.trainings_left else 0.0
    return started + device_seconds(work, rates) / (work.side_by_side * work.num_devices)
