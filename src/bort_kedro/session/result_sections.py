"""What a run found, as sections of the terminal's screen: one for each stage that has something to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

from bort_kedro.evaluation.floors import floors_among
from bort_kedro.exports.formats import PYTORCH
from bort_kedro.reporting.markdown import MISSING, percent, signed_points, with_noise
from bort_kedro.reporting.report_certainty import effort_words, guarantee_sentence, runner_up_sentence
from bort_kedro.search.measures import MEASURES
from bort_kedro.session.screen import Section
from bort_kedro.statistics import is_missing

if TYPE_CHECKING:
    from bort_kedro.exports.report import ExportReport
    from bort_kedro.finetuning.report import FinetuningReport
    from bort_kedro.frozen import JsonObject
    from bort_kedro.pretraining.report import EncoderScore, PretrainingMetrics, TwinLacks
    from bort_kedro.reporting.task_rows import TaskRow
    from bort_kedro.search.report import Candidate, SearchReport, SizedShape
    from bort_kedro.tasks.splits import ExamplesReport

# Of the candidates, each by how its numbers are written.
COLUMNS = {
    "parameters": "{:,.0f}",
    "operations": "{:,.0f}",
    "latency_ms": "{:.2f}",
    **dict.fromkeys(MEASURES, "{:.3f}"),
    "w": "{:.4f}",
}
# The column of the student's twin.
TWINS: dict[TwinLacks, str] = {"distillation": "no teacher", "start": "random start", "nothing": "trained alike"}
# A column of examples, and how wide it may be.
LABELS, LABELS_WIDTH = "labels in train", 56


def search_section(report: SearchReport, candidates: Sequence[Candidate] = ()) -> Section:
    """The choice, the others by W, and T; of the candidates as many as the run has seen."""
    known = candidates or [report.selected, *([report.runner_up] if report.runner_up else [])]
    by_rank = sorted(known, key=lambda row: (row.is_selected, 0.0 if row.w is None else row.w), reverse=True)
    rows = [row for row in by_rank if row.is_trained]
    columns = {name: text for name, text in COLUMNS.items() if any(_cell(row, name, text) != MISSING for row in rows)}
    own = {"cost": "{:.4g}"} if report.own_cost else {}

    def cells(role: str, row: SizedShape) -> tuple[str, ...]:
        shape = f"{row} *" if getattr(row, "is_pareto", False) else str(row)
        return (role, shape, *(_cell(row, name, text) for name, text in (own | columns).items()))

    what = "Rows" if report.is_recorded else "Shapes"
    return Section(
        f"{what} (layers, heads, hidden, intermediate) by W over {report.error_measure}, {report.answer} chosen",
        ("", "shape, * Pareto front", *([report.own_cost] if report.own_cost else []), *map(_words, columns)),
        tuple(cells("chosen" if row.is_selected else "", row) for row in rows),
        cells("largest" if report.is_network else "made up", report.maximum_point),
        (
            runner_up_sentence(report).replace("**", ""),
            f"Strategy {report.strategy}, {effort_words(report)}. {guarantee_sentence(report)}",
        ),
        tuple(filter(None, ("w", report.own_cost, *MEASURES, "latency ms", "parameters", "operations"))),
    )


def _cell(row: SizedShape, name: str, text: str) -> str:
    value = getattr(row, name, None)
    return MISSING if is_missing(value) else text.format(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def pretraining_section(metrics: PretrainingMetrics, shape: str = "") -> Section:
    """The student, of a shape that may be unknown, beside its twin, what counting reaches, and the larger encoder."""
    is_guessed = metrics.student.accuracy is not None
    twin, lead = metrics.undistilled, metrics.student_minus_undistilled
    write, ahead = (signed_points, "points ahead") if is_guessed else (_signed, "nats ahead")
    columns = {
        f"student {shape}".strip(): _reached(metrics.student),
        **({TWINS[metrics.twin_lacks]: _reached(twin)} if twin else {}),
        **({ahead: write(lead.difference, lead.standard_error)} if lead else {}),
        "larger encoder": _reached(metrics.teacher),
        **({"word pairs counted": percent(metrics.bigram.accuracy)} if metrics.bigram else {}),
    }
    what = "hidden tokens predicted" if is_guessed else "distance from the larger encoder, in nats,"
    title = f"Pretraining {metrics.way}: {what} on unseen text"
    return Section(title, tuple(columns), (tuple(columns.values()),), by_rank=tuple(columns)[1:])


def _reached(score: EncoderScore) -> str:
    if score.accuracy is not None:
        return percent(score.accuracy, score.accuracy_standard_error)
    return with_noise(score.distance, score.distance_standard_error)


def _signed(difference: float, standard_error: float) -> str:
    return f"{difference:+.3f} ± {standard_error:.3f}"


def tasks_section(tasks: Sequence[TaskRow], exports: Mapping[str, ExportReport]) -> Section:
    """Each score beside the floors, plain fine-tuning and the fastest of the exports that the run has seen."""
    floors = floors_among(row.floors for row in tasks)
    others = {name: name if " " in floor.title else floor.title for name, floor in floors.items()}
    others |= {"plain": "plain"} if any("plain" in row.rivals for row in tasks) else {}
    metrics = {row.metric for row in tasks}
    of_all = _words(metrics.pop()) if len(metrics) == 1 else ""
    rows = []
    for row in tasks:
        rivals = row.floors | row.rivals
        beside = (percent(rivals[name].score) if name in rivals else MISSING for name in others)
        own_metric = () if of_all else (_words(row.metric),)
        fastest = (_fastest(exports[row.task]) if row.task in exports else MISSING,) if exports else ()
        rows.append((row.task, row.method, *own_metric, percent(row.score), _interval(row), *beside, *fastest))
    header = ("task", "method", *(() if of_all else ("metric",)), "score", "interval", *others.values())
    return Section(
        f"Tasks, {of_all or 'each by its metric'}, on test examples that fine-tuning never saw",
        (*header, *(("fastest export",) if exports else ())),
        tuple(rows),
        sentences=(_not_beaten(tasks, others),),
        by_rank=("interval", "plain", *others.values(), "fastest export", "method", "metric"),
    )


def _interval(row: TaskRow) -> str:
    """Of a score; its standard error where there is none, as of a single example."""
    if row.interval_low is None or row.interval_high is None:
        return f"± {100 * row.standard_error:.1f}"
    return f"{100 * row.interval_low:.1f} to {100 * row.interval_high:.1f}"


def _fastest(report: ExportReport) -> str:
    """Name, score, time and size of the fastest format that was not refused."""
    kept = {name: each for name, each in report.formats.items() if not each.is_refused and name != PYTORCH}
    if not kept:
        return "none"
    name, best = min(kept.items(), key=lambda item: item[1].median_ms)
    return f"{name} {percent(best.score_after)}, {best.median_ms:.2f} ms, {best.bytes / 1e6:.1f} MB"


def _not_beaten(tasks: Sequence[TaskRow], others: Mapping[str, str]) -> str:
    """Which scores are no better, beyond noise, than what stands beside them."""
    better = []
    for name, title in others.items():
        lost = [
            row.task
            for row in tasks
            if name in row.floors | row.rivals and not (row.floors | row.rivals)[name].is_beaten
        ]
        better += [f"{title} on {', '.join(lost)}"] if lost else []
    if not better:
        return "Every score is better, beyond its noise, than what stands beside it."
    return f"Not beaten beyond noise: {'; '.join(better)}."


def finetuning_section(reports: Mapping[str, FinetuningReport]) -> Section:
    """What fine-tuning reached on dev, where no test examples were scored yet."""
    rows = [
        (
            task,
            report.method,
            _words(report.metrics[0]),
            percent(report.best.dev_score) if report.best else MISSING,
            str(report.num_trials),
        )
        for task, report in reports.items()
    ]
    return Section(
        "Fine-tuned models, by the score on dev, by which they were chosen",
        ("task", "method", "metric", "on dev", "trainings"),
        tuple(rows),
        by_rank=("on dev", "method", "metric", "trainings"),
    )


def corpus_section(manifest: JsonObject) -> Section:
    """How much text there is."""
    splits = ", ".join(f"{split} {count:,}" for split, count in manifest["documents_by_split"].items())
    title = f"Corpus: {manifest['documents']:,} documents, {manifest['words']:,} words"
    return Section(title, sentences=(f"Documents by split: {splits}.",))


def examples_section(reports: Mapping[str, ExamplesReport]) -> Section:
    """How many examples each task has, and of which labels."""
    splits = ("train", "dev", "test")
    rows = [
        (
            task,
            *(MISSING if (split := getattr(report, name)) is None else f"{split.num_units:,}" for name in splits),
            MISSING if report.train is None else _counted(report.train.labels),
        )
        for task, report in reports.items()
    ]
    return Section("Examples of the tasks", ("task", *splits, LABELS), tuple(rows), by_rank=(LABELS,))


def _counted(labels: Mapping[str, int | float]) -> str:
    """As many labels with their rows as a screen has room for."""
    counts = [f"{name}: {count:{',' if isinstance(count, int) else '.4g'}}" for name, count in labels.items()]
    return shorten("; ".join(counts), LABELS_WIDTH, placeholder=" …")
