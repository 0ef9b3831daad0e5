"""Rounds of a method of fine-tuning, and the points that they are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bort_kedro.frozen import FrozenModel
from bort_kedro.tasks.units import Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Round:
    """What to do next.

    Args:
        number: From 0; replays are counted.
        settings: Places in Theta of those that are left, in rising order.
        is_replay: True if the round before did not help and is done again with other points.
        draws: Numbers of the rounds whose points are trained on beside the train split, in rising order, its own
            last; none in round 0.
        mistakes_of: Round whose best trial's mistakes its own points are made of; None in round 0.
    """

    number: int
    settings: tuple[int, ...]
    is_replay: bool
    draws: tuple[int, ...]
    mistakes_of: int | None

    @classmethod
    def first(cls, num_settings: int) -> Round:
        """Every setting, on the train split alone."""
        return cls(number=0, settings=tuple(range(num_settings)), is_replay=False, draws=(), mistakes_of=None)


class DrawReport(FrozenModel):
    """Counts of the points of a round; `Draw` says what each is, and ``num_kept`` are those left."""

    num_sources: int
    num_made: int
    num_copies: int
    num_repeated: int
    num_beyond: int
    num_kept: int


@dataclass(frozen=True)
class Draw:
    """The points of one round.

    Args:
        units: Their texts.
        targets: (N, C) what the teacher says of their rows.
        num_sources: Examples they were made of.
        num_made: Points made.
        num_copies: Points thrown away for being near-duplicates of dev or test.
        num_repeated: Points thrown away for standing there already.
        num_beyond: Points left out because the round had enough.
    """

    units: list[Unit]
    targets: NDArray[np.float64]
    num_sources: int
    num_made: int
    num_copies: int
    num_repeated: int
    num_beyond: int

    def report(self) -> DrawReport:
        """Its counts."""
        counts = {name: getattr(self, name) for name in DrawReport.model_fields if name != "num_kept"}
        return DrawReport(**counts, num_kept=len(self.units))
