"""Sections of the report that show and judge results; `report` puts them together."""

from collections import Counter
from collections.abc import Iterable, Sequence

from bort_kedro.encoders.costs import count_head_operations
from bort_kedro.encoders.shapes import KNOWN_SHAPES, BertShape
from bort_kedro.evaluation.floors import FLOORS, floors_among
from bort_kedro.evaluation.scores import RivalScore
from bort_kedro.evaluation.tfidf import MOST_CHARACTERS, MOST_NGRAMS
from bort_kedro.frozen import JsonObject, TableRow
from bort_kedro.pretraining.report import PretrainingMetrics
from bort_kedro.reporting.markdown import number, percent, signed_points, with_interval
from bort_kedro.reporting.paper_claims import (
    BORT_KEYS,
    CLAIMS,
    SEQUENCE_LENGTH,
    VOCABULARY_SIZE,
    Claim,
    speed_claim_rows,
)
from bort_kedro.reporting.task_rows import TaskRow
from bort_kedro.reporting.templates import render
from bort_kedro.statistics import is_above_noise, is_missing
from bort_kedro.tasks.argument_names import ARGUMENT_PATTERN

RIVAL_NAMES = {
    "plain": "labelled examples alone",
    "distilled": "labelled examples with beliefs of teachers that had not seen them",
    "weak_supervision": "recorded labels as further rows of train",
    "random_augmentation": "new points of random examples, labelled by the teacher",
}


def verdict(rival: str, *, difference: float, standard_error: float) -> str:
    """Whether the student beats a rival by its difference in masked accuracy, with a paired error, said plainly."""
    return render(
        "verdict",
        rival=rival,
        difference=difference,
        standard_error=standard_error,
        beats=is_above_noise(difference, standard_error),
        is_beaten=is_above_noise(-difference, standard_error),
    )


def verdicts(metrics: PretrainingMetrics) -> list[str]:
    """Whether the student beats counting, and its twin."""
    rivals = {"the bigram baseline": metrics.student_minus_bigram, metrics.twin: metrics.student_minus_undistilled}
    return [
        verdict(rival, difference=lead.difference, standard_error=lead.standard_error)
        for rival, lead in rivals.items()
        if lead is not None
    ]


def pretraining_section(metrics: PretrainingMetrics) -> str:
    """The student beside its rivals, what a cached teacher left out, and what a trimmed vocabulary saves and costs."""
    taught, lead = metrics.student.seconds, metrics.student_minus_undistilled
    alone = metrics.undistilled.seconds if metrics.undistilled else 0.0
    is_taught = metrics.twin_lacks == "distillation" and taught and alone
    return render(
        "pretraining",
        metrics=metrics,
        verdicts=verdicts(metrics),
        is_clear=lead is not None and is_above_noise(abs(lead.difference), lead.standard_error),
        # What the teacher cost the student in time, since the comparison is at equal steps.
        slowdown=taught / alone if is_taught else None,
    )


def tasks_section(tasks: Sequence[TaskRow]) -> str:
    """Scores of the fine-tuned tasks on their test splits, and what other methods make of the same steps."""
    rivals = {name: title for name, title in RIVAL_NAMES.items() if any(name in row.rivals for row in tasks)}
    led = {row.task: [row.rivals[name] for name in rivals] for row in tasks if row.rivals}
    levels = (row.interval_level for row in tasks)
    return render(
        "tasks",
        tasks=tasks,
        floors=floors_among(row.floors for row in tasks),
        verdicts=floor_verdicts(tasks),
        most_characters=MOST_CHARACTERS,
        most_ngrams=MOST_NGRAMS,
        pattern=ARGUMENT_PATTERN.pattern,
        score_of=score_with_interval,
        lead_over=lead_over_floor,
        # Empty where no score has an interval.
        level=next((f"{100 * level:g} % " for level in levels if level is not None), ""),
        titles=rivals.values(),
        led=led,
        clear=_named(
            task
            for task, rivals in led.items()
            if all(is_above_noise(rival.lead, rival.lead_standard_error) for rival in rivals)
        ),
    )


def floor_verdicts(tasks: Sequence[TaskRow]) -> list[JsonObject]:
    """Of each floor its words, the tasks that do not beat it, and how many do."""
    verdicts = []
    for name, floor in FLOORS.items():
        rows = [row for row in tasks if name in row.floors]
        lost = [row.task for row in rows if not row.floors[name].is_beaten]
        told = {"words": floor.words, "lost": _named(lost), "num_won": len(rows) - len(lost), "num_tasks": len(rows)}
        verdicts += [told] if rows else []
    return verdicts


def _named(tasks: Iterable[str]) -> str:
    return ", ".join(f"`{task}`" for task in tasks)


def score_with_interval(row: TaskRow) -> str:
    """A score as ``57.2 ± 0.9 % (55.2 to 59.2)``."""
    low, high = (None if end is None else 100 * end for end in (row.interval_low, row.interval_high))
    return with_interval(percent(row.score, row.standard_error), low, high, digits=1)


def lead_over_floor(floor: RivalScore) -> str:
    """Whether a floor is beaten, and by how many points: ``yes, +18.6 ± 1.2``."""
    return f"{'yes' if floor.is_beaten else 'no'}, {signed_points(floor.lead, floor.lead_standard_error)}"


def median_with_interval(row: TableRow) -> str:
    """A row of `speed_table` as ``2.00 (1.86 to 4.30)``, in milliseconds."""
    low, high = row.get("interval_low_ms"), row.get("interval_high_ms")
    return with_interval(number(row["median_ms"], 2), low, high, digits=2)


def chosen_row(speed: Sequence[TableRow]) -> TableRow:
    """The row of the chosen shape."""
    return next(row for row in speed if row["is_chosen"])


def speed_section(speed: Sequence[TableRow]) -> str:
    """Sizes and times of encoders."""
    chosen = chosen_row(speed)
    length, vocabulary_size = int(chosen["sequence_length"]), int(chosen["vocabulary_size"])
    head = count_head_operations(BertShape.from_row(chosen), vocabulary_size=vocabulary_size, num_positions=length)
    references = [key for key in ("bert_base", "bert_large") if is_missing(chosen[f"measured_vs_{key}"])]
    return render(
        "speed",
        speed=speed,
        chosen=chosen,
        median_of=median_with_interval,
        length=length,
        vocabulary_size=vocabulary_size,
        head_operations=head.total,
        untimed=", ".join(KNOWN_SHAPES[key].title for key in references),
    )


def paper_section(shape: BertShape, speed: Sequence[TableRow] = ()) -> str:
    """What the paper says, counted for each shape called Bort, and its speeds as measured here where they were."""
    borts = {key: KNOWN_SHAPES[key] for key in BORT_KEYS}
    best, num_fits = Counter(claim.nearest() for claim in CLAIMS).most_common(1)[0]
    return render(
        "paper",
        shapes=[f"{bort.title} {bort.shape}" for bort in borts.values()],
        claims=[_claim_cells(claim) for claim in CLAIMS],
        vocabulary_size=VOCABULARY_SIZE,
        sequence_length=SEQUENCE_LENGTH,
        num_fits=num_fits,
        best=KNOWN_SHAPES[best],
        released=borts["bort"].shape,
        own=next((bort.title for bort in borts.values() if bort.shape == shape), None),
        shape=shape,
        measured=[row for row in speed_claim_rows(speed) if not is_missing(row["measured"])],
    )


def _claim_cells(claim: Claim) -> list[str]:
    """A published figure beside the counts, the nearest of them bold."""
    unit = claim.unit if claim.unit == "x" else f" {claim.unit}"
    counts = {key: f"{claim.count(KNOWN_SHAPES[key].shape):.1f}{unit}" for key in BORT_KEYS}
    counts[claim.nearest()] = f"**{counts[claim.nearest()]}**"
    return [claim.statement, f"{claim.published:g}{unit}", *counts.values()]
