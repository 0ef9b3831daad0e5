"""What changed between runs: settings that differ, and every result side by side."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bort_kedro.evaluation.floors import FLOORS
from bort_kedro.frozen import JsonObject, TableRow
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.markdown import signed_points
from bort_kedro.reporting.report_certainty import error_text
from bort_kedro.reporting.report_sections import lead_over_floor, median_with_interval, score_with_interval
from bort_kedro.reporting.stage_costs import StageCost
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.reporting.templates import render
from bort_kedro.search.report import SearchReport

Part = TypeVar("Part")


@dataclass(frozen=True)
class RunRecord:
    """What one run left, by the datasets of the catalog; a part that it did not make is empty."""

    manifest: JsonObject
    search: SearchReport | None = None
    pretraining: PretrainingMetrics | None = None
    tasks: Sequence[TaskRow] = ()
    speed: Sequence[TableRow] = ()
    costs: Sequence[StageCost] = ()


def compare_runs(runs: Mapping[str, RunRecord]) -> str:
    """A Markdown page about two runs or more, by version in the order of the columns.

    With two runs each score has the change from the first to the second; its standard error takes both as independent,
    which is too large where both answer the same examples.

    Raises:
        ValueError: If there are fewer than two.
    """
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run(s) given: a comparison needs at least two")
    searches, pretrainings = ([getattr(run, part) for run in runs.values()] for part in ("search", "pretraining"))
    text = render(
        "comparison",
        versions=list(runs),
        settings=_settings([run.manifest for run in runs.values()]),
        searches=searches if any(searches) else [],
        others={name: of for search in searches if search for name, of in search.selected.beside_error.items()},
        pretrainings=pretrainings if any(pretrainings) else [],
        has_change=len(runs) == 2,
        tasks=[
            _task(*task) for task in _by_name({row.task: row for row in run.tasks} for run in runs.values()).items()
        ],
        encoders=_by_name({row["name"]: row for row in _told(run)} for run in runs.values()),
        chosen=[next((row for row in _told(run) if row["is_chosen"]), None) for run in runs.values()],
        stages=_by_name(_seconds(run) for run in runs.values()),
        error_of=error_text,
        lead_over=lead_over_floor,
        median_of=median_with_interval,
        score_of=score_with_interval,
    )
    return text + "\n"


def flattened(value: Any, path: str = "") -> dict[str, str]:
    """Nested parameters as text by dotted name; a list is one value."""
    if isinstance(value, Mapping):
        flat: dict[str, str] = {}
        for name, child in value.items():
            flat |= flattened(child, f"{path}.{name}" if path else str(name))
        return flat
    return {path: "null" if value is None else str(value)}


def _by_name(runs: Iterable[Mapping[str, Part]]) -> dict[str, list[Part | None]]:
    """What each run has of a name; None where it has nothing."""
    runs = list(runs)
    return {name: [run.get(name) for run in runs] for name in dict.fromkeys(name for run in runs for name in run)}


def _settings(manifests: Sequence[JsonObject]) -> dict[str, list[str | None]]:
    """Parameters, code, versions and device, as far as they differ."""
    # A run from before parameters were written down has only its seeds and a fingerprint of the others.
    name_of_set = "parameters" if all("parameters" in manifest for manifest in manifests) else "seeds"
    described = _by_name(
        flattened(
            {
                **manifest.get(name_of_set, {}),
                "configuration": manifest.get("configuration_hash"),
                "commit": manifest.get("git", {}).get("commit"),
                "changes not committed": manifest.get("git", {}).get("has_changes"),
                "environment": manifest.get("environment"),
                "python": manifest.get("python"),
                "package": manifest.get("packages", {}),
                "device": manifest.get("device", {}),
            }
        )
        for manifest in manifests
    )
    return {name: values for name, values in described.items() if len(set(values)) > 1}


def _task(name: str, rows: Sequence[TaskRow | None]) -> JsonObject:
    """A task in each run, the change where two have it, and its leads over floors and over rivals of any of them."""

    def others(of: Callable[[TaskRow], Mapping[str, Part]]) -> dict[str, list[Part | None]]:
        return _by_name(of(row) if row else {} for row in rows)

    return {
        "name": name,
        "rows": rows,
        "change": _change(*rows) if len(rows) == 2 else None,
        "floors": {FLOORS[floor].words: found for floor, found in others(lambda row: row.floors).items()},
        "rivals": others(lambda row: row.rivals),
    }


def _change(first: TaskRow | None, second: TaskRow | None) -> str | None:
    if first is None or second is None or first.metric != second.metric:
        return None
    error = math.hypot(first.standard_error, second.standard_error)
    return signed_points(second.score - first.score, error)


def _told(run: RunRecord) -> list[TableRow]:
    """Rows of the speed table that the report tells of."""
    return [row for row in run.speed if row.get("is_reference", True) and not row.get("has_head", False)]


def _seconds(run: RunRecord) -> dict[str, float]:
    """Training time of each stage."""
    stages = dict.fromkeys(cost.stage for cost in run.costs)
    return {stage: sum(cost.seconds for cost in run.costs if cost.stage == stage) for stage in stages}
