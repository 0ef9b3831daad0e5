"""Findings one after the other within a budget of time: what each is, and how they are run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.page import Figure
from benchmarks.pretrain.cuda.bench import Bench


@dataclass(frozen=True)
class Found:
    """What a finding says.

    Args:
        text: For readers, in a sentence or two.
        figures: For programs.
        has_failed: Whether it says no more than why nothing was found.
    """

    text: str
    figures: Sequence[Figure] = ()
    has_failed: bool = False

    @classmethod
    def failed(cls, reason: str) -> Found:
        """Of a finding that found nothing."""
        return cls(f"**failed**: {reason}", has_failed=True)


@dataclass(frozen=True)
class Finding:
    """One thing to be found.

    Args:
        part: Of the page.
        name: Unlike that of any other.
        find: Finds it; what it leaves in the bench later ones may use.
        seconds: That it is expected to take; one of 0 is always run.
    """

    part: str
    name: str
    find: Callable[[Bench], Found]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of a finding.

    Args:
        finding: Which one.
        found: None where there was no time left.
        seconds: That it took.
    """

    finding: Finding
    found: Found | None = None
    seconds: float = 0.0

    @property
    def figures(self) -> Sequence[Figure]:
        """For programs; of one that failed, that it is missed."""
        if self.found is None:
            return ()
        return [Figure(self.finding.name, None, "", met=False)] if self.found.has_failed else self.found.figures


# Times the seconds that it is expected to take, after which a finding is ended.
PATIENCE = 3.0
# For one that is made of others.
LEAST_SECONDS = 30.0


def run_in_order(
    findings: Sequence[Finding],
    find: Callable[[int, float], Found],
    *,
    minutes: float,
    on_outcomes: Callable[[list[Outcome]], None],
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run those that there is time for, the most important first.

    A finding is begun if the seconds it is expected to take are left; a shorter one after it may still be. It has three
    times as long at most, and never more than is left. One that fails is told with its fault, and the others go on.

    Args:
        findings: In order.
        find: Given the number of a finding, from 0, and the seconds that it may take, says what it found.
        minutes: For all.
        on_outcomes: Told all outcomes so far after each.
        clock: Seconds from any origin.

    Returns:
        One outcome for each finding, in their order.
    """
    end = clock() + 60 * minutes
    outcomes: list[Outcome] = []
    for number, finding in enumerate(findings):
        began = clock()
        if finding.seconds and began + finding.seconds > end:
            outcomes.append(Outcome(finding))
        else:
            most = min(PATIENCE * finding.seconds, end - began) if finding.seconds else LEAST_SECONDS
            found = find(number, most)
            outcomes.append(Outcome(finding, found, clock() - began))
        on_outcomes(outcomes)
    return outcomes
