"""Findings one after the other within a budget of time: what each is, and how they are run."""

from __future__ import annotations

import sys
import time
import traceback
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
    """

    text: str
    figures: Sequence[Figure] = ()


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


def run_in_order(
    findings: Sequence[Finding],
    bench: Bench,
    *,
    minutes: float,
    on_outcomes: Callable[[list[Outcome]], None],
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run those that there is time for, the most important first.

    A finding is begun if the seconds it is expected to take are left; a shorter one after it may still be. One that
    fails is told with its fault, and the others go on.

    Args:
        findings: In order.
        bench: Handed to each.
        minutes: For all.
        on_outcomes: Told all outcomes so far after each.
        clock: Seconds from any origin.

    Returns:
        One outcome for each finding, in their order.
    """
    end = clock() + 60 * minutes
    outcomes: list[Outcome] = []
    for finding in findings:
        began = clock()
        if finding.seconds and began + finding.seconds > end:
            outcomes.append(Outcome(finding))
        else:
            found = _found(finding, bench)
            outcomes.append(Outcome(finding, found, clock() - began))
        on_outcomes(outcomes)
    return outcomes


def _found(finding: Finding, bench: Bench) -> Found:
    try:
        # Inside, since after some faults a device refuses even this.
        bench.device.clear()
        return finding.find(bench)
    # Whatever it is, on a device that none of this was run on: time on it is too dear to end here.
    except Exception as fault:
        traceback.print_exc(file=sys.stderr)
        said = (str(fault) or "no message").splitlines()[0]
        return Found(f"**failed**: {type(fault).__name__}: {said}", [Figure(finding.name, None, "", met=False)])
