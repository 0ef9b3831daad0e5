"""How long a step takes: on a device that is named, by its data sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bort_kedro.forecast.work import Step, Work
from bort_kedro.training.devices import DataSheet

# Share of a data sheet's peak that a training reaches: an assumption, which `kedro plan` says beside its hours.
# Published trainings of encoders lie between a tenth and a half of it.
ASSUMED_SHARE = 0.3
SECONDS_PER_HOUR = 3600.0


class Rates(Protocol):
    """How long a step takes on a device, and how sure that is."""

    @property
    def said(self) -> str:
        """On what, and by which assumption or measurement."""

    def seconds(self, step: Step) -> float:
        """Of one step on one device."""


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


def device_seconds(work: Work, rates: Rates) -> float:
    """Of all devices together, for the steps that are left; a device is one GPU, or all cores of a machine."""
    return work.steps_left * (1 + work.looks) * rates.seconds(work.step) if work.steps_left else 0.0


def wall_seconds(work: Work, rates: Rates) -> float:
    """From beginning to end."""
    return device_seconds(work, rates) / (work.side_by_side * work.num_devices)
