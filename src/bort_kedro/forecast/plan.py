"""A forecast as a table, and in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bort_kedro.forecast.limits import Room, disk_bytes
from bort_kedro.forecast.memory import work_bytes
from bort_kedro.forecast.rates import NODE_SECONDS, Rates, device_seconds, wall_seconds
from bort_kedro.forecast.work import Work
from bort_kedro.reporting.markdown import large

COLUMNS = (
    *("stage", "what", "trainings", "finished", "steps", "tokens", "FLOPs", "time", "device\ntime"),
    *("memory", "disk"),
)
AT_MOST = "≤ "


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Args:
        works: Its trainings, in the order of the stages.
        rates: How long their steps take.
        room: What there is of memory and disk.
        assumptions: Of the trainings, as sentences.
        num_nodes: Of each stage that trains.
    """

    works: Sequence[Work]
    rates: Rates
    room: Room
    assumptions: Sequence[str] = ()
    num_nodes: Mapping[str, int] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, ...]]:
        """Cells of the table under `COLUMNS`, and the sum as the last row."""
        rows = [self._row(work) for work in self.works]
        limit = AT_MOST if any(work.is_limit for work in self.works) else ""
        wall, device = self.seconds(), sum(device_seconds(work, self.rates) for work in self.works)
        tokens, flops = sum(work.tokens for work in self.works), sum(work.flops for work in self.works)
        whole = ("sum", "", "", "", "", limit + large(tokens), f"{limit}{flops:.1e}", limit + time_words(wall))
        most = max((self._memory(work) for work in self.works), default=0)
        return [*rows, (*whole, limit + time_words(device), size_words(most), self._disk(limit))]

    def _disk(self, limit: str) -> str:
        return limit + size_words(sum(work.kept_bytes for work in self.works))

    def seconds(self, stage: str | None = None) -> float:
        """From beginning to end, one kind of training after the other, and what the nodes take beside them.

        Args:
            stage: That is asked about; None is all.
        """
        trained = sum(wall_seconds(work, self.rates) for work in self.works if stage in (None, work.stage))
        return trained + NODE_SECONDS * sum(count for name, count in self.num_nodes.items() if stage in (None, name))

    def _time(self, limit: str, seconds: float) -> str:
        return limit + time_words(seconds) if seconds else "–"

    def _memory(self, work: Work) -> int:
        return work_bytes(work, shares_memory=self.room.is_shared)

    def _row(self, work: Work) -> tuple[str, ...]:
        limit = AT_MOST if work.is_limit else ""
        return (
            work.stage,
            work.what,
            f"{limit}{work.num_trainings:,}",
            str(work.num_finished or "–"),
            f"{limit}{work.num_steps:,}",
            limit + large(work.tokens),
            f"{limit}{work.flops:.1e}",
            *(self._time(limit, seconds(work, self.rates)) for seconds in (wall_seconds, device_seconds)),
            size_words(self._memory(work)),
            limit + size_words(work.kept_bytes) if work.kept_bytes else "–",
        )

    def notes(self) -> list[str]:
        """What stands below the table."""
        needed = size_words(disk_bytes(self.works))
        said = [
            f"Times are those on {self.rates.said}. What is finished takes none.",
            "Tokens count padding; shapes are (layers, heads, hidden size, intermediate size).",
            f"Free space that is needed in any case, states of a training under way included: {needed}.",
        ]
        if any(work.is_limit for work in self.works):
            least = time_words(self._least().seconds())
            said.insert(
                0, f"≤ means at most: if all that can end early does so as soon as it can, the run takes {least}."
            )
        return [*said, *self.assumptions]

    def _least(self) -> Plan:
        return replace(self, works=[work.least for work in self.works])

    def short(self) -> list[str]:
        """A line for each stage that trains."""
        lines, trainings = [], [work for work in self.works if work.step.learns]
        for stage in dict.fromkeys(work.stage for work in trainings):
            works = [work for work in trainings if work.stage == stage]
            limit = "at most " if any(work.is_limit for work in works) else ""
            ended_early = f", {time_words(self._least().seconds(stage))} at the least" if limit else ""
            finished = sum(work.num_finished for work in works)
            count = sum(work.num_trainings for work in works)
            said = f", {finished} of them finished" if finished else ""
            lines.append(
                f"{stage}: {limit}{count} trainings{said}, {large(sum(work.tokens for work in works))} tokens, "
                f"{sum(work.flops for work in works):.1e} operations, "
                f"{time_words(self.seconds(stage))}{ended_early}, "
                f"{size_words(max(map(self._memory, works)))} of memory"
            )
        return lines


def time_words(seconds: float) -> str:
    """``4.2 s``, ``35.0 min`` or ``288 h``."""
    size, unit = (1, "s") if seconds < 60 else (60, "min") if seconds < 3600 else (3600, "h")
    value = seconds / size
    return f"{value:,.{0 if value >= 100 else 1 if value >= 1 else 2}f} {unit}"


def size_words(num_bytes: float) -> str:
    """``1.2 kB``, ``12.0 MB`` or ``3.4 GB``."""
    size, unit = next(
        (size, unit) for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if num_bytes >= size or unit == "kB"
    )
    return f"{num_bytes / size:,.1f} {unit}"
